"""The made-up operator's script: how it is read, and which calls it lets fail."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from support.operator import Clock

from otp_service.core.errors import ConfigurationError
from otp_service.web.operator.faults import Fate, Stage, spoilt, told
from otp_service.web.operator.script import Answer, Faults, Garbage, Script, Throttle, TokenFaults, read_script, shown


def fates(stage: Stage, calls: int, endpoint: str = "match") -> str:
    """Make calls; returns a letter for each: d down, the first digit of an answer, g garbage, or a dot."""
    said = [stage.enter(endpoint) for _ in range(calls)]
    return "".join(
        "d" if one.down else str(one.answer.status)[0] if one.answer else "g" if one.garbage else "." for one in said
    )


class TestReading:
    def test_everything(self) -> None:
        """Every member can be written as JSON, and what is shown can be read again."""
        script = Script(
            latency_ms=300, throttle=Throttle(per_s=5, retry_after="Mon, 01 Jun 2026 00:00:00 GMT"), wrong=True,
            answer=Answer(status=503, code="BUSY", retry_after=2), every=3,
            swaps={"+84900000001": 12.0, "+84900000002": datetime(2026, 1, 31, 1, tzinfo=UTC)},
            token=TokenFaults(reject=True, lasts_calls=2, lasts_s=1.5, garbage=Garbage.HTML),
        )
        written = (
            '{"latency_ms": 300, "throttle": {"per_s": 5, "retry_after": "Mon, 01 Jun 2026 00:00:00 GMT"},'
            ' "wrong": true, "answer": {"status": 503, "code": "BUSY", "retry_after": 2}, "every": 3,'
            ' "swaps": {"0900000001": 12, "+84 90 000 0002": "2026-01-31T08:00:00+07:00"},'
            ' "token": {"reject": true, "lasts_calls": 2, "lasts_s": 1.5, "garbage": "html"}}'
        )

        assert script == read_script(written)
        assert script == read_script(shown(script))
        assert Script() == read_script("{}")

    @pytest.mark.parametrize(("written", "lines"), [
        ('{"latency": 1}', ["latency: Unexpected keyword argument"]),
        ('{"latency_ms": -1, "down": 1}', [
            "latency_ms: Input should be greater than or equal to 0", "down: Input should be a valid boolean",
        ]),
        ('{"down": true, "garbage": "html"}', ["script: write one of down, answer and garbage"]),
        ('{"token": {"answer": {"status": 99}}}', [
            "token.answer.status: Input should be greater than or equal to 200",
        ]),
        ('{"throttle": {"per_s": 1, "retry_after": "\\n"}}', [
            "throttle.retry_after: write seconds, or what the header shall say, in ASCII",
        ]),
        ('{"swaps": {"0256000001": 1}}', ["swaps: write Vietnamese mobile numbers"]),
        ('{"swaps": {"0900000001": "2026-01-31T08:00:00"}}', [
            "swaps: write hours ago, or a moment with its time zone: 2026-01-31T08:00:00Z",
        ]),
    ])
    def test_mistakes(self, written: str, lines: list[str]) -> None:
        """Every mistake is told, by its member, and no phone number is repeated."""
        with pytest.raises(ConfigurationError) as refused:
            read_script(written)

        assert lines == str(refused.value).splitlines()

    def test_no_json(self) -> None:
        """What is no JSON object is told in one line."""
        for written in (b"latency_ms = 1", b"[]", b"\xff", b""):
            with pytest.raises(ConfigurationError, match=r"^script: .*"):
                read_script(written)

    def test_private(self) -> None:
        """Phone numbers stand in no repr (Invariant 5)."""
        assert "900000001" not in repr(read_script('{"swaps": {"0900000001": 12}}'))


class TestStage:
    @pytest.mark.parametrize(("script", "said"), [
        (Script(), "......"),
        (Script(down=True), "dddddd"),
        (Script(answer=Answer(status=404)), "444444"),
        (Script(garbage=Garbage.EMPTY), "gggggg"),
        (Script(every=3), "..5..5"),
        (Script(every=2, down=True), ".d.d.d"),
        (Script(every=2, garbage=Garbage.HTML), ".g.g.g"),
        (Script(every=2, answer=Answer(status=404)), ".4.4.4"),
        (Script(token=TokenFaults(down=True)), "......"),
    ])
    def test_which_calls_fail(self, script: Script, said: str) -> None:
        """All calls fail, or each n-th; the token's faults are its own."""
        assert said == fates(Stage(script), 6)

    def test_token(self) -> None:
        """The token endpoint follows its own faults, and counts its own calls."""
        stage = Stage(Script(down=True, token=TokenFaults(every=2)))

        assert (".5.5", "dddd") == (fates(stage, 4, "token"), fates(stage, 4))

    def test_throttle(self) -> None:
        """Above the rate the answer is 429 with the Retry-After; a second later there is room again."""
        clock = Clock()
        stage = Stage(Script(throttle=Throttle(per_s=2, retry_after=7)), clock)

        assert "..4" == fates(stage, 3)
        assert Fate(answer=Answer(status=429, retry_after=7)) == stage.enter("check")
        clock.now_s += 0.5
        assert ".4" == fates(stage, 2)
        clock.now_s += 60
        assert "..4" == fates(stage, 3)

    def test_latency(self) -> None:
        """Every answer is late, the refused ones too."""
        stage = Stage(Script(latency_ms=5, throttle=Throttle(per_s=1)))

        assert [5, 5] == [stage.enter("match").latency_ms for _ in range(2)]

    def test_playing_begins_anew(self) -> None:
        """Another script begins at its beginning; the counts go on."""
        stage = Stage(Script(every=2))
        first = fates(stage, 3)
        stage.play(Script(every=2))

        assert (".5.", ".5.") == (first, fates(stage, 3))
        assert {"token": 0, "match": 6, "check": 0, "retrieve-date": 0, "sms": 0} == stage.asked


class TestAnswers:
    def test_spoilt(self) -> None:
        """Garbage is a page, half an answer, an empty one, or members of other types."""
        body = orjson.dumps({"idDocumentMatch": "true", "swapped": False, "latestSimChange": None, "expires_in": 60})
        page, kind = spoilt(body, Garbage.HTML)

        assert (b"<!DOCTYPE", "text/html") == (page[:9], kind)
        assert (body[:len(body) // 2], "application/json") == spoilt(body, Garbage.TRUNCATED)
        assert (b"", "application/json") == spoilt(body, Garbage.EMPTY)
        assert {
            "idDocumentMatch": True, "swapped": "no", "latestSimChange": [None], "expires_in": [60],
        } == orjson.loads(spoilt(body, Garbage.WRONG_TYPES)[0])

    def test_every_kind_spoils(self) -> None:
        """No kind of garbage leaves an answer as it was."""
        body = orjson.dumps({"nameMatch": "true"})

        assert [] == [kind for kind in Garbage if spoilt(body, kind) == (body, "application/json")]

    @pytest.mark.parametrize(("answer", "oauth", "document", "headers"), [
        (Answer(status=503), False, {"status": 503, "code": "UNAVAILABLE"}, {}),
        (Answer(status=429, code="QUOTA_EXCEEDED", retry_after="soon"), False,
         {"status": 429, "code": "QUOTA_EXCEEDED"}, {"Retry-After": "soon"}),
        (Answer(status=418, retry_after=0), False, {"status": 418, "code": "UNKNOWN"}, {"Retry-After": "0"}),
        (Answer(status=503), True, {"error": "temporarily_unavailable"}, {}),
        (Answer(status=400, code="invalid_scope"), True, {"error": "invalid_scope"}, {}),
    ])
    def test_told(
        self, answer: Answer, oauth: bool, document: dict[str, object], headers: dict[str, str],
    ) -> None:
        """A scripted answer is an ErrorInfo, or an OAuth error at the token endpoint."""
        said, sent = told(answer, oauth=oauth)
        said.pop("message", None)

        assert (document, headers) == (said, sent)


def test_default_faults() -> None:
    """Nothing goes wrong by default."""
    assert Fate() == Stage().enter("match")
    assert Faults() == Faults(latency_ms=0, down=False, every=None)
