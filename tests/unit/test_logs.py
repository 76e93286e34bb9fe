from __future__ import annotations

import datetime as dt
import io
import json
import logging
import re
import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
import structlog
import time_machine
from aiohttp.http_exceptions import BadStatusLine
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core import errors
from otp_service.core.ports import SmsMessage
from otp_service.core.verification import Status
from otp_service.telemetry import logs
from otp_service.telemetry.redaction import MAX_TEXT, MAX_TRACEBACK, REDACTED, redact, redact_text

VERIFICATION_ID = "3-k1-abcdefghijklmnopqrst234567"
CLIENT_TOKEN = "vt_Zm9vYmFyYmF6cXV4-_0123456789abcdef"
API_KEY = "otp_live_Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OQ"
JWS = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


def redacted(**fields: Any) -> dict[str, Any]:
    """Run the processor over one event."""
    return redact(None, "info", fields)


# The text of everything


@pytest.mark.parametrize("secret", [
    "0900000001", "84900000001", "+84900000001", "0084900000001", "0900 000 001", "0900.000.001", "0900-000-001",
    "(+84) 900 000 001", "+84 (0) 900-000-001", "090 000 0001", "0 9 0 0 0 0 0 0 0 1", "%2B84900000001",
    "%2B84%20900%20000%20001", "+84+900+000+001", "０９００００００１１", "0900\u00a0000\u202f001", "0900\u200b000001",
    "0900–000–001", "tel:+84-900-000-001", "84.900.000.001", "052090000001", "052 090 000 001", "210000000",
    "210 000 000", "21 00 00 000", "052.090.000.001", "123456", "12345678", "123 456", "123-456", "１２３４５６",
])
def test_numbers_are_masked_however_they_are_written(secret: str) -> None:
    """Invariant 5: phone numbers, ID numbers and codes are masked in the forms in which people type them."""
    clean = redact_text(f"gateway said: {secret}!")

    assert "gateway said: " == clean[:14]
    assert REDACTED in clean
    assert [] == re.findall(r"\d{3}", clean)


@pytest.mark.parametrize("secret", [
    CLIENT_TOKEN, API_KEY, API_KEY.replace("live", "test"), JWS, JWS.partition(".")[0],
])
@pytest.mark.parametrize("around", ["{}", "token {}.", "'{}'", "%22{}%22", "x{}", "Bearer {}", "token={}&x=1"])
def test_tokens_are_masked(secret: str, around: str) -> None:
    """Invariant 5: client tokens, API keys and verdicts are masked wherever they stand in a text."""
    clean = redact_text(around.format(secret))

    assert REDACTED in clean
    assert secret[6:] not in clean


@pytest.mark.parametrize(("text", "expected"), [
    ("Authorization: Bearer demo-portal-key", "Authorization: Bearer [redacted]"),
    ("/v1/delivery-reports/esms/s3cret-value?x=1", "/v1/delivery-reports/esms/[redacted]?x=1"),
    ("{'full_name': 'NGUYEN VAN A', 'locale': 'vi'}", "{'full_name': [redacted], 'locale': 'vi'}"),
    ('{"full_name": "Nguyễn \\"A\\"", "locale": "vi"}', '{"full_name": [redacted], "locale": "vi"}'),
    ("SmsMessage(to='x', text='Ma: y', segments=1)", "SmsMessage(to=[redacted], text=[redacted], segments=1)"),
    ("GET /?code=abc&api-key=k1&page=2", "GET /?code=[redacted]&api-key=[redacted]&page=2"),
    ("client_token=" + CLIENT_TOKEN, "client_token=[redacted]"),
    ("input_value={'full_name': 'Nguyễn A'}, input_type=dict]", "input_value=[redacted], input_type=dict]"),
    ("input_value={'full_name': 'Nguyễn", "input_value=[redacted]"),
])
def test_values_of_telling_names_are_masked(text: str, expected: str) -> None:
    """What is assigned to a denied name inside a text goes, even if it has no form of its own; the rest stays."""
    assert expected == redact_text(text)


@pytest.mark.parametrize("text", [
    "", "worker started", "purpose registration, 12 of 5000", "due 2026-01-31", f"job {VERIFICATION_ID} done",
    f"/v1/verifications/{VERIFICATION_ID}/check", "connect to 127.0.0.1:6379 refused", "192.168.100.200 is down",
    "10.20.130.240", 'File "app.py", line 1234, in main', "queue {s07}", "took 12.5 ms",
])
def test_harmless_text_survives(text: str) -> None:
    """Dates, verification ids, private addresses and small numbers stay readable."""
    assert text == redact_text(text)


def test_long_text_is_cut() -> None:
    """Invariant 14: a string has at most 2048 characters in the log, and the cut leaves no part of a number."""
    clean = redact_text("x" * (MAX_TEXT - 10) + " 0900 000 001")

    assert "x" * (MAX_TEXT - 10) + "…[cut]" == clean


# The keys


@pytest.mark.parametrize("key", [
    "phone_number", "to", "id_number", "previous_id_number", "full_name", "birth_date", "code", "text", "token",
    "client_token", "authorization", "Authorization", "api_key", "X-Api-Key", "secret", "webhook_secret",
    "tttb_reply", "body", "otp", "cccd", "phone_e164", "Set-Cookie", "input",
])
@pytest.mark.parametrize("value", ["x", 7, ["x"], {"a": "x"}, b"y", 1.5])
def test_denied_keys_never_show_their_value(key: str, value: object) -> None:
    """Invariant 5: what stands under a telling key is replaced unread, whatever its type and depth."""
    assert redacted(**{key: value}) == {key: REDACTED}
    assert redacted(outer=[{key: value}]) == {"outer": [{key: REDACTED}]}


def test_absent_values_of_denied_keys_show_as_absent() -> None:
    """That a field was not given is no secret."""
    assert {"id_number": None, "token": False} == redacted(id_number=None, token=False)


@pytest.mark.parametrize("code", ["wrong_code", "rate_limited", "locked", "internal", "unavailable"])
def test_code_of_a_problem_survives(code: str) -> None:
    """``code`` shows the stable codes of the contract, and nothing else."""
    assert {"code": code} == redacted(code=code)
    assert {"code": REDACTED} == redacted(code=code + "x")


def test_every_refusal_has_a_readable_code() -> None:
    """A refusal's code reaches the log, for each class of the error tree."""
    codes = [refusal.code for refusal in errors.Refusal.__subclasses__()]

    assert codes == [redacted(code=code)["code"] for code in codes]


def test_ids_survive_under_their_keys_only_in_their_shape() -> None:
    """A verification id, a UUID and 32 hexadecimal digits pass; a number that a caller put there does not."""
    assert {"verification_id": VERIFICATION_ID} == redacted(verification_id=VERIFICATION_ID)
    for request_id in ("0190f8a2-7c5d-7e11-a3b2-123456789012", "0190f8a27c5d7e11a3b2123456789012"):
        assert {"request_id": request_id} == redacted(request_id=request_id)
    assert {"verification_id": REDACTED} == redacted(verification_id="0900000001")
    assert {"request_id": REDACTED} == redacted(request_id="052090000001")


def test_numbers_pass_under_keys_that_say_what_they_measure() -> None:
    """Big integers are masked, unless the key names a unit; text under such a key is still searched."""
    assert {"duration_ms": 1234567.5, "size": 2_000_000, "age_s": 900000} == redacted(
        duration_ms=1234567.5, size=2_000_000, age_s=900000,
    )
    assert {"n": 42, "x": REDACTED, "y": REDACTED, "z": REDACTED} == redacted(
        n=42, x=84900000001, y=123456, z=900000001.0,
    )
    assert {"duration_ms": REDACTED} == redacted(duration_ms="0900000001")


def test_keys_are_redacted_too() -> None:
    """A mapping keyed by phone numbers does not leak them."""
    assert {"sends": {REDACTED: 3}} == redacted(sends={"0900000001": 3})
    assert {"sends": {REDACTED: 3}} == redacted(sends={84900000001: 3})


def test_message_for_a_gateway_shows_its_type_alone() -> None:
    """An object that the log does not know is never asked for its ``repr``."""
    message = SmsMessage(
        to="+84900000001", text="Ma 123456", template_key="otp", params=(), reference="r", send_number=1,
        validity_s=180,
    )

    assert {"message": "<SmsMessage>"} == redacted(message=message)


def test_known_objects_become_text() -> None:
    """Times, ids, enumerations, bytes and errors are logged as text, redacted."""
    expected = {
        "at": "2026-01-31 10:00:00+00:00", "state": "pending", "raw": f"to {REDACTED}",
        "error": f"ValueError: bad {REDACTED}", "many": ["pending"],
    }
    assert expected == redacted(
        at=dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC), state=Status.PENDING, raw=b"to 0900000001",
        error=ValueError("bad 123456"), many={Status.PENDING},
    ) | {"at": "2026-01-31 10:00:00+00:00"}
    assert "0900000001" not in str(redacted(which=uuid.UUID("00000000-0000-0000-0000-000900000001")))


def test_nesting_and_width_are_bounded() -> None:
    """Invariant 14: a cycle ends, and a container shows at most 64 members."""
    cycle: list[Any] = []
    cycle.append(cycle)

    assert len(json.dumps(redacted(cycle=cycle))) < 100
    assert 64 == len(redacted(many=list(range(1000)))["many"])
    assert 64 == len(redacted(many={str(n): n for n in range(1000)})["many"])


# Properties

SEPARATORS = ["", " ", "-", ".", "\u00a0", " - ", "–", "/", "%20"]


@st.composite
def spaced(draw: st.DrawFn, digits: st.SearchStrategy[str]) -> tuple[str, str]:
    """Draw digits, and a way to write them: in groups, with separators, in ordinary or full-width figures."""
    plain = draw(digits)
    separator = draw(st.sampled_from(SEPARATORS))
    cuts = draw(st.sets(st.integers(1, len(plain) - 1), max_size=4))
    written = "".join(separator * (n in cuts) + digit for n, digit in enumerate(plain))
    if draw(st.booleans()):
        written = "".join(chr(ord(c) - ord("0") + ord("０")) if c in "0123456789" else c for c in written)
        written = written.replace("%２０", "%20")
    return plain, draw(st.sampled_from(["", "+", "(", "tel:"])) + written


NATIONAL = st.from_regex(r"\A(3|5|7|8|9)[0-9]{8}\Z")
PHONES = spaced(st.tuples(st.sampled_from(["0", "84", "0084", "840"]), NATIONAL).map("".join))
IDS = spaced(st.from_regex(r"\A(0[0-9]{11}|[0-9]{9})\Z"))
CODES = st.from_regex(r"\A[0-9]{6,8}\Z").map(lambda code: (code, code))
#: Text that has no figures of its own, so that what is found after redaction must come from the secret.
TEXT = st.text(st.characters(exclude_categories=["Nd", "Cs"]), max_size=20)


@st.composite
def nested(draw: st.DrawFn, secrets: st.SearchStrategy[tuple[str, str]]) -> tuple[str, Any]:
    """Draw a secret, and a value that has it somewhere: in a text, as a number, as a key, at any depth."""
    plain, written = draw(secrets)
    leaf = draw(TEXT) + written + draw(TEXT)
    form = draw(st.sampled_from(["text", "bytes", "error", "number"]))
    value: Any = leaf
    if form == "bytes":
        value = leaf.encode()
    elif form == "error":
        value = ValueError(leaf)
    elif form == "number" and int(plain) > 99_999:
        value = int(plain)
    for _ in range(draw(st.integers(0, 8))):
        key = draw(TEXT)
        value = draw(st.sampled_from([
            [value], (1, value), {key: value}, {leaf: 1, "x": value}, {"status": "ok", "duration_ms": value}
            if not isinstance(value, int) else [value],
        ]))
    return plain, value


def figures(value: Any) -> Iterator[str]:
    """Every text of a value, keys included, reduced to its decimal figures."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from figures(key)
            yield from figures(member)
    elif isinstance(value, list):
        for member in value:
            yield from figures(member)
    else:
        yield "".join(str(unicodedata.decimal(c)) for c in str(value) if c.isdecimal())


@settings(deadline=None)  # a busy machine is no failure
@given(nested(st.one_of(PHONES, IDS, CODES)))
def test_no_number_survives_anywhere(case: tuple[str, Any]) -> None:
    """Invariant 5: no phone number, ID number or code survives in any value or key, at any depth, in any form."""
    plain, value = case

    clean = redacted(event=value, detail=value)

    assert [] == [text for text in figures(clean) if plain[-6:] in text]


@settings(deadline=None)  # a busy machine is no failure
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20) | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.frozensets(st.text()),
))
def test_anything_can_be_logged(value: Any) -> None:
    """Whatever is logged becomes one line of JSON: no value can make a request fail in its last step."""
    line = logs._render_json(None, "info", redacted(event="x", value=value))

    assert b"\n" not in line
    assert "x" == json.loads(line)["event"]


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet=st.sampled_from("0123456789 -.=eyJvt_:'\"\\/@(abc"), max_size=300))
def test_redaction_is_stable(text: str) -> None:
    """A text that is redacted twice (by structlog, then by a library's record) is masked no less."""
    once = redact_text(text)

    assert [] == re.findall(r"\d{6}", once)
    assert [] == re.findall(r"\d{6}", redact_text(once))


# Lines


class Lines:
    """What was logged, one object per line."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()

    @property
    def raw(self) -> str:
        """All of it."""
        return self.stream.getvalue().decode()

    @property
    def all(self) -> list[dict[str, Any]]:
        """Every line, parsed."""
        return [json.loads(line) for line in self.raw.splitlines()]

    @property
    def only(self) -> dict[str, Any]:
        """The one line that there is."""
        (line,) = self.all
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Configure logs as in production at level info, into memory."""
    lines = Lines()
    logs.configure(json=True, level="info", stream=lines.stream, cache=False)
    yield lines
    logs.reset()
    structlog.contextvars.clear_contextvars()


def test_line_is_one_object_in_utc(lines: Lines) -> None:
    """A line is one JSON object with event, level and a UTC time in milliseconds."""
    with time_machine.travel(dt.datetime(2026, 1, 31, 10, 0, 0, 123456, tzinfo=dt.UTC), tick=False):
        logs.get_logger().info("started\nand more", n=1)

    assert {
        "event": "started\nand more", "level": "info", "timestamp": "2026-01-31T10:00:00.123Z", "n": 1,
    } == lines.only
    assert lines.raw.count("\n") == 1


def test_own_lines_are_redacted(lines: Lines) -> None:
    """Invariant 5: no secret reaches a line, neither in the event nor in its fields nor in what is bound."""
    logs.get_logger(where="to 0900000001").warning("sent to 84900000001", text="Ma 123456", note="CCCD 052090000001")

    assert {
        "event": f"sent to {REDACTED}", "where": f"to {REDACTED}", "text": REDACTED, "note": f"CCCD {REDACTED}",
    }.items() <= lines.only.items()


def test_level_filters(lines: Lines) -> None:
    """Lines below the level are not written, neither ours nor a library's."""
    logs.get_logger().debug("ours")
    logging.getLogger("redis").debug("theirs")

    assert [] == lines.all


def test_unknown_level_refuses() -> None:
    """A level that does not exist is a configuration error that names those that do."""
    with pytest.raises(errors.ConfigurationError, match="debug, info, warning, error"):
        logs.configure(json=True, level="loud")


def test_library_records_are_redacted(lines: Lines) -> None:
    """Invariant 5: what libraries log is one JSON object as well, redacted, with the logger's name."""
    logging.getLogger("some.library").warning("lost %s for %s", "0900000001", CLIENT_TOKEN)

    assert {
        "event": f"lost {REDACTED} for {REDACTED}", "level": "warning", "logger": "some.library",
    }.items() <= lines.only.items()
    assert lines.only["timestamp"].endswith("Z")


def test_record_that_cannot_be_formatted_is_reported_without_its_arguments(
    lines: Lines, capsys: pytest.CaptureFixture[str],
) -> None:
    """Invariant 5: a broken record is named in the log; its arguments do not appear on standard error either."""
    logs.configure(json=True, level="info", stream=lines.stream, cache=False)  # again: pytest added its handler
    logging.getLogger("some.library").warning("%d sent", "0900000001")

    assert {"event": "log record lost", "level": "error", "logger": "some.library"}.items() <= lines.only.items()
    assert "0900000001" not in lines.raw
    assert "" == capsys.readouterr().err


def test_no_other_handler_stays(lines: Lines) -> None:
    """Invariant 5: a handler that somebody installed earlier would write unredacted, so it goes."""
    elsewhere = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(elsewhere))

    logs.configure(json=True, level="info", stream=lines.stream, cache=False)
    logging.getLogger("some.library").warning("to 0900000001")

    assert "" == elsewhere.getvalue()
    assert 1 == len(lines.all)


def fail(phone_number: str, code: str) -> None:
    """Raise with secrets in the message and in the locals."""
    attempts_of_this_citizen = {phone_number: code}
    raise LookupError(f"no entry for {phone_number} in {len(attempts_of_this_citizen)}")


@pytest.mark.parametrize("source", ["ours", "library"])
@pytest.mark.parametrize("json_lines", [True, False])
def test_tracebacks_are_redacted_and_show_no_locals(lines: Lines, source: str, json_lines: bool) -> None:
    """Invariant 5: a traceback keeps its frames and the error's type; neither message nor locals leak."""
    logs.configure(json=json_lines, level="info", stream=lines.stream, cache=False)
    secret = "ABCDEF"
    try:
        fail("0900000001", secret)
    except LookupError as error:
        error.add_note("while sending 123456")
        if source == "ours":
            logs.get_logger().exception("failed")
        else:
            logging.getLogger("some.library").exception("failed")

    assert "in fail" in lines.raw
    assert f"LookupError: no entry for {REDACTED} in 1" in lines.raw
    assert f"while sending {REDACTED}" in lines.raw
    assert "0900000001" not in lines.raw
    assert "ABCDEF" not in lines.raw


def test_validation_error_does_not_echo_its_input(lines: Lines) -> None:
    """Invariant 5: pydantic quotes the value that it refuses; a name has no form by which it could be masked."""
    class Body(pydantic.BaseModel):
        full_name: int

    try:
        Body.model_validate({"full_name": "Nguyễn Văn A"})
    except pydantic.ValidationError:
        logs.get_logger().exception("failed")

    assert "ValidationError" in lines.only["exception"]
    assert "Nguyễn" not in lines.raw


def test_long_traceback_keeps_its_end(lines: Lines) -> None:
    """Invariant 14: of a long traceback the end is kept, where the error stands, and never a torn token."""
    def deeper(n: int) -> None:
        if n == 0:
            raise ValueError("the end\n" + f"{CLIENT_TOKEN}\n" * 400 + "the very end")
        deeper(n - 1)

    try:
        deeper(3)
    except ValueError:
        logs.get_logger().exception("failed")

    exception = lines.only["exception"]
    assert exception.endswith("the very end")
    assert len(exception) <= MAX_TRACEBACK
    assert {REDACTED, "the very end"} == set(exception.splitlines())


def test_canonical_line_of_a_request(lines: Lines) -> None:
    """A request makes one line with its fields, what the context has bound, and nothing that is None."""
    structlog.contextvars.bind_contextvars(request_id="0190f8a27c5d7e11a3b2123456789012")

    logs.canonical(
        "request", method="POST", route="/v1/verifications/{id}/check", status=422, code="wrong_code",
        client="demo-portal", verification_id=VERIFICATION_ID, limit=None, duration_ms=1.23456,
    )

    line = lines.only
    del line["timestamp"]
    assert {
        "event": "request", "level": "info", "request_id": "0190f8a27c5d7e11a3b2123456789012", "method": "POST",
        "route": "/v1/verifications/{id}/check", "status": 422, "code": "wrong_code", "client": "demo-portal",
        "verification_id": VERIFICATION_ID, "duration_ms": 1.235,
    } == line


@pytest.mark.parametrize(("status", "level"), [(201, "info"), (429, "info"), (500, "error"), (503, "error")])
def test_canonical_line_of_a_failure_is_an_error(lines: Lines, status: int, level: str) -> None:
    """Failures of the service are errors; refusals, however many a stranger causes, are not."""
    logs.canonical("request", status=status)

    assert level == lines.only["level"]


def test_canonical_line_of_a_job(lines: Lines) -> None:
    """A job makes one line as well; it has no HTTP status."""
    logs.canonical("job", queue="sms", verification_id=VERIFICATION_ID, send_number=2, outcome="accepted")

    assert {
        "event": "job", "level": "info", "queue": "sms", "verification_id": VERIFICATION_ID, "send_number": 2,
        "outcome": "accepted",
    }.items() <= lines.only.items()


def test_access_log_is_off(lines: Lines) -> None:
    """There is no second line per request, and aiohttp can tell so before it formats one."""
    access = logging.getLogger("aiohttp.access")

    access.info("GET /v1/verifications?phone=0900000001")

    assert not access.isEnabledFor(logging.INFO)
    assert [] == lines.all


def test_malformed_request_makes_no_traceback(lines: Lines) -> None:
    """Invariant 14: bytes that are not HTTP cost no traceback and are not quoted; at debug they are told of."""
    server = logging.getLogger("aiohttp.server")
    error = BadStatusLine("0900000001 is no request")

    server.error("Error handling request from %s", "203.0.113.195", exc_info=error)
    assert [] == lines.all

    logs.configure(json=True, level="debug", stream=lines.stream, cache=False)
    server.error("Error handling request from %s", "203.0.113.195", exc_info=error)

    assert {"event": "malformed request: BadStatusLine", "level": "debug"}.items() <= lines.only.items()
    assert "exception" not in lines.only


def test_our_errors_below_aiohttp_keep_their_traceback(lines: Lines) -> None:
    """An error of ours that aiohttp reports is not taken for a malformed request."""
    logging.getLogger("aiohttp.server").error("Unhandled exception", exc_info=RuntimeError("ours"))

    assert "error" == lines.only["level"]
    assert "RuntimeError: ours" in lines.only["exception"]


def test_text_for_a_terminal_is_redacted_and_tame(lines: Lines) -> None:
    """Without JSON a line is text, redacted as well; control characters of a caller do not reach the terminal."""
    logs.configure(json=False, level="info", stream=lines.stream, cache=False)

    logs.get_logger().info("request", route="/x\x1b[2J", note="0900000001")
    logging.getLogger("some.library").warning("to 0900000001")

    assert 2 == lines.raw.count("\n")
    assert "0900000001" not in lines.raw
    assert "\x1b[2J" not in lines.raw


def test_lone_surrogate_is_logged(lines: Lines) -> None:
    """Text that UTF-8 cannot carry, as JSON escapes can smuggle in, is written escaped and breaks nothing."""
    logs.canonical("request", reference="\ud800", big_count=2**70)

    assert "\ud800" == lines.only["reference"]
    assert 2**70 == lines.only["big_count"]


def test_cached_loggers_follow_their_first_configuration() -> None:
    """By default a logger is made once and kept, as the performance page advises."""
    first, second = Lines(), Lines()
    logs.configure(json=True, level="info", stream=first.stream)
    logger = logs.get_logger()
    logger.info("one")
    logs.configure(json=True, level="info", stream=second.stream)
    logger.info("two")
    logs.reset()

    assert ["one", "two"] == [line["event"] for line in first.all]
    assert [] == second.all


@dataclass
class Citizen:
    """Something that prints its fields."""

    full_name: str


def test_repr_in_a_library_message_is_masked_by_its_names(lines: Lines) -> None:
    """A message that quotes an object shows the names of its fields, not what they hold."""
    logging.getLogger("asyncio").error("task failed: %r", Citizen(full_name="NGUYEN VAN A"))

    assert "task failed: Citizen(full_name=[redacted])" == lines.only["event"]
