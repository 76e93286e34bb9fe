"""The fake gateway as a test kit: its script, its magic numbers, its delivery reports."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportRequest,
    SendOutcome,
    SendResult,
    SmsMessage,
)
from otp_service.web.fake_gateway.handlers import run, serving
from otp_service.web.fake_gateway.inbox import Inbox
from otp_service.web.fake_gateway.provider import FakeProvider, Sms
from otp_service.web.fake_gateway.reports import MAX_PENDING
from otp_service.web.fake_gateway.script import Failures, ReportRule, Script, read_script
from sms_adapters.fake import FakeGateway

KEY = "report-key"
DELIVERED, FAILED, SENT = DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.SENT


@dataclass
class Clock:
    """Seconds that a test moves; a pause is written down and takes no time."""

    now_s: float = 1000.0
    paused: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    async def pause(self, seconds: float) -> None:
        """Wait without waiting."""
        self.paused.append(seconds)


def sms(number: int = 1, to: str = "+84900000001") -> Sms:
    """Make a hand-over."""
    return Sms(f"ref-{number}", to, f"Ma {number:06d}", 1)


def statuses(provider: FakeProvider, numbers: range) -> list[int]:
    """Hand messages over; returns the statuses of the answers, 0 for none."""
    replies = [provider.hand_over(sms(number)) for number in numbers]
    return [0 if reply.hang_up else reply.status for reply in replies]


def message(number: int, to: str = "+84900000001") -> SmsMessage:
    """Make an SMS as the worker hands it over."""
    return SmsMessage(to, f"Ma {number:06d}", "registration", (), f"ref-{number}", 1, 180)


@dataclass
class Kit:
    """The fake gateway over a socket, and the adapter that talks to it."""

    base: str
    http: aiohttp.ClientSession
    adapter: FakeGateway

    async def exchange(self, request: HttpRequest | SendOutcome) -> HttpResponse:
        """Make a request of the adapter's."""
        assert isinstance(request, HttpRequest)
        async with self.http.request(
            request.method, request.url, data=request.body or None, headers=request.headers,
        ) as answer:
            return HttpResponse(answer.status, {}, await answer.read())

    async def send(self, sms: SmsMessage) -> SendOutcome:
        """Hand a message over."""
        return self.adapter.parse_response(await self.exchange(self.adapter.build_request(sms)))

    async def get(self, path: str, **options: Any) -> Any:
        """Read a path as JSON."""
        async with self.http.get(self.base + path, **options) as answer:
            return await answer.json()


@asynccontextmanager
async def kit(provider: FakeProvider) -> AsyncIterator[Kit]:
    """Serve a provider."""
    async with serving(provider) as base, aiohttp.ClientSession() as http:
        yield Kit(base, http, FakeGateway(f"{base}/gateway", report_key=KEY))


class Callbacks:
    """Where delivery reports are posted to; ``status`` answers them."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.reports: list[DeliveryReport] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve; gives the URL."""
        app = web.Application()
        app.router.add_post("/reports", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/reports"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        callback = ReportRequest("POST", str(request.url), headers, {}, await request.read())
        self.reports += FakeGateway("http://127.0.0.1:9", report_key=KEY).parse_report(callback)
        return web.Response(status=self.status)


class TestScript:
    def test_default(self) -> None:
        """Without a script everything is taken and delivered at once; the same message again is a duplicate."""
        provider = FakeProvider()
        first, again = provider.hand_over(sms()), provider.hand_over(sms())
        message_id = orjson.loads(first.body)["id"]

        assert (200, 409, first.body, 0) == (first.status, again.status, again.body, first.latency_ms)
        assert [
            {"id": message_id, "reference": "ref-1", "state": "delivered", "code": "delivered"},
        ] == provider.reports(["unknown", message_id])

    def test_every(self) -> None:
        """Each third hand-over fails as the script says."""
        provider = FakeProvider(Script(fail=Failures(result=SendResult.BALANCE, every=3)))

        assert [200, 200, 400, 200, 200, 400] == statuses(provider, range(6))
        assert 4 == len(provider.inbox.messages())

    @pytest.mark.parametrize(("result", "status"), [
        (result, {"temporary": 503, "throttled": 429, "duplicate": 409}.get(result, 400))
        for result in SendResult if result is not SendResult.ACCEPTED
    ])
    def test_results(self, result: SendResult, status: int) -> None:
        """The adapter reads each scripted failure as what it stands for."""
        reply = FakeProvider(Script(fail=Failures(result=result, every=1))).hand_over(sms())
        outcome = FakeGateway("http://127.0.0.1:9").parse_response(HttpResponse(reply.status, {}, reply.body))

        assert (status, result) == (reply.status, outcome.result)

    def test_shares(self) -> None:
        """A seed decides which messages fail, and about the share of them do."""
        script = Script(fail=Failures(share=0.3), seed=1)
        said = statuses(FakeProvider(script), range(1000))

        assert said == statuses(FakeProvider(script), range(1000))
        assert 250 <= said.count(503) <= 350

    def test_lost_answers_and_garbage(self) -> None:
        """Lost and garbled answers come after the message was taken: handed over again it is a duplicate."""
        lost = FakeProvider(Script(lose_answers=1))
        garbled = FakeProvider(Script(garbage=1))
        [garbage, _] = [garbled.hand_over(sms()) for _ in "12"]
        outcome = FakeGateway("http://127.0.0.1:9").parse_response(HttpResponse(garbage.status, {}, garbage.body))

        assert [0, 409] == [0 if reply.hang_up else reply.status for reply in (lost.hand_over(sms()) for _ in "12")]
        assert (SendResult.UNKNOWN, True) == (outcome.result, outcome.maybe_sent)
        assert [1, 1] == [len(provider.inbox.messages()) for provider in (lost, garbled)]

    def test_throttle(self) -> None:
        """Above the rate it answers 429, which takes nothing; a second later there is room again."""
        clock = Clock()
        provider = FakeProvider(Script(throttle_per_s=2), clock=clock)

        assert [200, 200, 429] == statuses(provider, range(3))
        clock.now_s += 0.5
        assert [200, 429] == statuses(provider, range(3, 5))
        clock.now_s += 60
        assert [200, 200, 429] == statuses(provider, range(5, 8))

    def test_reports_later(self) -> None:
        """A message is on its way until its report is due; without a report for ever."""
        clock = Clock()
        provider = FakeProvider(Script(reports=ReportRule(state=FAILED, after_ms=1500)), clock=clock)
        late = orjson.loads(provider.hand_over(sms(1)).body)["id"]
        provider.play(Script(reports=ReportRule(share=0)))
        never = orjson.loads(provider.hand_over(sms(2)).body)["id"]

        assert ["sent", "sent"] == [one["state"] for one in provider.reports([late, never])]
        clock.now_s += 1.5
        assert ["failed", "sent"] == [one["state"] for one in provider.reports([late, never])]

    def test_playing_begins_anew(self) -> None:
        """Another script begins at its beginning, and the messages that were taken stay known."""
        script = Script(fail=Failures(every=2), seed=7, lose_answers=0.5)
        provider = FakeProvider(script)
        first = statuses(provider, range(6))
        provider.play(script)

        assert first == statuses(provider, range(10, 16))
        assert 409 == provider.hand_over(sms(0)).status

    def test_json(self) -> None:
        """Every member can be written as JSON, and what is shown can be written again."""
        script = Script(
            latency_ms=200, throttle_per_s=50, fail=Failures(result=SendResult.BLOCKED, every=10), lose_answers=0.01,
            garbage=0.02, seed=7,
            reports=ReportRule(state=FAILED, after_ms=1500, share=0.9, duplicates=1, out_of_order=True),
        )

        assert Script() == read_script("{}")
        assert script == read_script(orjson.dumps(script))
        assert script == read_script(
            b'{"latency_ms": 200, "throttle_per_s": 50, "fail": {"result": "blocked", "every": 10}, '
            b'"lose_answers": 0.01, "garbage": 0.02, "seed": 7, "reports": {"state": "failed", "after_ms": 1500, '
            b'"share": 0.9, "duplicates": 1, "out_of_order": true}}',
        )

    @pytest.mark.parametrize(("body", "members"), [
        ("", ["script"]), ("[]", ["script"]), ('{"latency": 1, "garbage": 2}', ["garbage", "latency"]),
        ('{"latency_ms": -1}', ["latency_ms"]), ('{"latency_ms": "5"}', ["latency_ms"]),
        ('{"throttle_per_s": 0}', ["throttle_per_s"]), ('{"fail": {}}', ["fail"]),
        ('{"fail": {"result": "accepted", "every": 1}}', ["fail.result"]),
        ('{"fail": {"every": 1, "share": 0.5}}', ["fail"]),
        ('{"fail": {"every": 0}}', ["fail.every"]), ('{"reports": {"state": "lost"}}', ["reports.state"]),
        ('{"reports": {"duplicates": 11}}', ["reports.duplicates"]),
    ])
    def test_bad_json(self, body: str, members: list[str]) -> None:
        """Every member that is wrong is named, unknown ones too."""
        with pytest.raises(ConfigurationError) as caught:
            read_script(body)

        assert members == sorted(line.partition(":")[0] for line in str(caught.value).splitlines())


class TestMagicNumbers:
    SCRIPT = Script(fail=Failures(result=SendResult.BLOCKED, every=1), latency_ms=100, throttle_per_s=0.001)

    @pytest.mark.parametrize(("tail", "results"), [
        ("900", ["accepted", "duplicate"]), ("901", ["invalid_number"] * 2), ("907", ["throttled"] * 2),
        ("908", ["duplicate"] * 2), ("910", ["temporary"] * 2), ("911", ["unknown"] * 2),
        ("912", ["accepted", "duplicate"]), ("915", ["hung up", "duplicate"]), ("917", ["unknown", "duplicate"]),
        ("918", ["temporary", "accepted", "duplicate"]), ("929", ["accepted", "duplicate"]),
    ])
    def test_results(self, tail: str, results: list[str]) -> None:
        """A magic number does what it stands for, whatever the script says."""
        provider = FakeProvider(self.SCRIPT)
        adapter = FakeGateway("http://127.0.0.1:9")
        replies = [provider.hand_over(sms(1, f"+84900000{tail}")) for _ in results]

        assert results == [
            "hung up" if one.hang_up else adapter.parse_response(HttpResponse(one.status, {}, one.body)).result
            for one in replies
        ]
        assert {0} == {reply.latency_ms for reply in replies}

    def test_time(self) -> None:
        """916 answers slowly, 914 is delivered late, 912 fails, 913 is never reported."""
        clock = Clock()
        provider = FakeProvider(clock=clock)
        ids = [
            orjson.loads(provider.hand_over(sms(tail, f"+84900000{tail}")).body)["id"] for tail in (912, 913, 914)
        ]

        assert 2000 == provider.hand_over(sms(916, "+84900000916")).latency_ms
        assert ["failed", "sent", "sent"] == [one["state"] for one in provider.reports(ids)]
        clock.now_s += 5
        assert ["failed", "sent", "delivered"] == [one["state"] for one in provider.reports(ids)]


class TestOverHttp:
    async def test_send_and_poll(self) -> None:
        """The adapter hands over, asks, and learns what became of its messages."""
        async with kit(FakeProvider()) as fake:
            accepted = [await fake.send(message(number)) for number in (1, 2)]
            ids = [outcome.provider_id or "" for outcome in accepted]
            found = fake.adapter.parse_poll(await fake.exchange(fake.adapter.build_poll([*ids, "other"])))
            duplicate = await fake.send(message(1))
            inbox = (await fake.get("/sms"))["messages"]

        assert [SendResult.ACCEPTED] * 2 == [outcome.result for outcome in accepted]
        assert [
            DeliveryReport(DELIVERED, one, f"ref-{number}", "delivered") for number, one in enumerate(ids, 1)
        ] == found
        assert (SendResult.DUPLICATE, ids[0]) == (duplicate.result, duplicate.provider_id)
        assert ["Ma 000002", "Ma 000001"] == [one["text"] for one in inbox]

    async def test_latency(self) -> None:
        """The script's latency and a magic number's pass before the answer."""
        clock = Clock()
        async with kit(FakeProvider(Script(latency_ms=200), pause=clock.pause)) as fake:
            await fake.send(message(1))
            await fake.send(message(2, "+84900000916"))

        assert [0.2, 2.0] == clock.paused

    async def test_lost_answer(self) -> None:
        """A lost answer is a closed connection; handed over again the message is a duplicate."""
        async with kit(FakeProvider()) as fake:
            with pytest.raises(aiohttp.ClientConnectionError):
                await fake.send(message(1, "+84900000915"))
            again = await fake.send(message(1, "+84900000915"))

        assert SendResult.DUPLICATE == again.result

    async def test_script(self) -> None:
        """The script is shown, changed, and refused as a whole when a member is wrong."""
        async with kit(FakeProvider(Script(seed=5))) as fake:
            before = await fake.get("/script")
            async with fake.http.put(f"{fake.base}/script", json={"fail": {"result": "balance", "every": 1}}) as put:
                changed = await put.json()
            async with fake.http.put(f"{fake.base}/script", json={"garbage": 2, "late": 1}) as bad:
                refused = bad.status, await bad.json()
            outcome = await fake.send(message(1))
            after = await fake.get("/script")

        assert orjson.loads(orjson.dumps(Script(seed=5))) == before
        assert {"result": "balance", "every": 1, "share": None} == changed["fail"]
        assert (422, ["garbage", "late"]) == (
            refused[0], sorted(line.partition(":")[0] for line in refused[1]["errors"]),
        )
        assert (changed, SendResult.BALANCE) == (after, outcome.result)

    @pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}])
    async def test_a_script_of_any_content_type(self, headers: dict[str, str]) -> None:
        """A script is taken as ``curl -T`` puts a file, without a Content-Type or with a wrong one."""
        async with kit(FakeProvider()) as fake, fake.http.put(
            f"{fake.base}/script", data=b'{"seed": 3}', headers=headers, skip_auto_headers=["Content-Type"],
        ) as put:
            changed = put.status, (await put.json())["seed"]

        assert (200, 3) == changed

    @pytest.mark.parametrize(("body", "said"), [
        (b'{"seed": 3', "script: Invalid JSON: EOF while parsing an object at line 1 column 10"),
        (b"", "script: Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (b"[]", "script: Input should be an object"),
        (b'{"fail": {}}', "fail: write one of every and share"),
    ])
    async def test_what_is_no_script(self, body: bytes, said: str) -> None:
        """What is no script is answered 422 with a sentence, and the one in force stays."""
        async with kit(FakeProvider(Script(seed=5))) as fake:
            async with fake.http.put(f"{fake.base}/script", data=body) as put:
                refused = put.status, (await put.json())["errors"]
            after = await fake.get("/script")

        assert (422, [said], 5) == (*refused, after["seed"])

    async def test_a_long_or_packed_script(self) -> None:
        """A script above 64 KiB is refused, whether its length is told or not; so is one that is packed."""
        async def in_chunks() -> AsyncIterator[bytes]:
            for _ in range(70):
                yield b" " * 1000
            yield b"{}"

        puts: list[dict[str, Any]] = [
            {"data": b" " * 70_000 + b"{}"}, {"data": in_chunks()},
            {"data": gzip.compress(b"{}"), "headers": {"Content-Encoding": "gzip"}},
        ]
        refused = []
        async with kit(FakeProvider(Script(seed=5))) as fake:
            for options in puts:
                async with fake.http.put(f"{fake.base}/script", **options) as put:
                    refused.append(put.status)
            after = await fake.get("/script")

        assert ([413, 413, 415], 5) == (refused, after["seed"])

    @pytest.mark.parametrize("result", ["accepted", "lost", 1, None, []])
    def test_refusals_to_choose_from(self, result: object) -> None:
        """Who writes a result that is no refusal reads which there are, and ``accepted`` is none of them."""
        with pytest.raises(ConfigurationError) as caught:
            read_script(orjson.dumps({"fail": {"result": result, "every": 1}}))

        assert (
            "fail.result: write one of invalid_number, blocked, template_rejected, sender_rejected, authentication, "
            "balance, throttled, duplicate, wrong_network, temporary, unknown"
        ) == str(caught.value)

    async def test_page(self) -> None:
        """A browser gets the inbox as a page, in which no text is markup."""
        provider = FakeProvider()
        provider.hand_over(Sms("r-1", "+84900000001", "<script>'&", 1))
        async with kit(provider) as fake, fake.http.get(
            f"{fake.base}/sms", headers={"Accept": "text/html,application/xhtml+xml"},
        ) as page:
            body = await page.text()

        assert "text/html; charset=utf-8" == page.headers["Content-Type"]
        assert "<pre>&lt;script&gt;&#x27;&amp;</pre>" in body
        assert "<script" not in body

    async def test_what_is_no_sms(self) -> None:
        """What is no SMS is refused and taken for none."""
        provider = FakeProvider()
        async with kit(provider) as fake, fake.http.post(f"{fake.base}/gateway", json={"to": "+84900000001"}) as answer:
            assert (400, {"error": "invalid_request"}) == (answer.status, await answer.json())

        assert [] == provider.inbox.messages()

    async def test_other_names(self) -> None:
        """On loopback it answers to this machine's own names alone: another name is DNS rebinding."""
        async with kit(FakeProvider()) as fake:
            for path in ("/sms", "/script", "/gateway/messages"):
                async with fake.http.get(fake.base + path, headers={"Host": "evil.example"}) as answer:
                    assert (403, {"error": "forbidden"}) == (answer.status, await answer.json())

    async def test_run(self) -> None:
        """It serves until it is stopped, and says when its port is taken."""
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run("127.0.0.1", 0, Script(seed=3), announce=ready.set_result))
        base = await ready
        async with aiohttp.ClientSession() as http, http.get(f"{base}/script") as answer:
            shown = await answer.json()
        with pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1"):
            await run("127.0.0.1", int(base.rpartition(":")[2]))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert 3 == shown["seed"]


class TestCallbacks:
    @pytest.mark.parametrize(("script", "number", "states"), [
        (Script(), "+84900000001", [DELIVERED]),
        (Script(reports=ReportRule(state=FAILED, duplicates=2)), "+84900000001", [FAILED] * 3),
        (Script(reports=ReportRule(duplicates=1, out_of_order=True)), "+84900000001", [DELIVERED, DELIVERED, SENT]),
        (Script(reports=ReportRule(share=0)), "+84900000001", []),
        (Script(reports=ReportRule(duplicates=1)), "+84900000912", [FAILED]),
        (Script(), "+84900000913", []),
        (Script(), "+84900000901", []),
        (Script(), "+84900000915", [DELIVERED]),
    ])
    async def test_reports(self, script: Script, number: str, states: list[DeliveryState]) -> None:
        """Signed reports are posted as the script or the magic number says."""
        callbacks = Callbacks()
        async with callbacks.listening() as url, FakeProvider(script, report_to=url, report_key=KEY) as provider:
            provider.hand_over(sms(1, number))
            await provider.reporter.settle()

        assert states == [report.state for report in callbacks.reports]
        assert {"ref-1"} >= {report.reference for report in callbacks.reports}

    async def test_time(self) -> None:
        """A report waits for as long as the script says."""
        clock, callbacks = Clock(), Callbacks()
        script = Script(reports=ReportRule(after_ms=1500))
        async with callbacks.listening() as url, FakeProvider(
            script, report_to=url, report_key=KEY, pause=clock.pause,
        ) as provider:
            provider.hand_over(sms())
            await provider.reporter.settle()

        assert ([1.5], 1) == (clock.paused, len(callbacks.reports))

    async def test_not_taken(self) -> None:
        """A report that is refused, or that nobody listens to, disturbs nothing."""
        callbacks = Callbacks(status=500)
        async with callbacks.listening() as url, FakeProvider(report_to=url, report_key=KEY) as provider:
            provider.hand_over(sms())
            await provider.reporter.settle()
        async with FakeProvider(report_to=url) as provider:
            provider.hand_over(sms())
            await provider.reporter.settle()

        assert 1 == len(callbacks.reports)


class TestBounds:
    async def test_reports_that_wait(self) -> None:
        """Invariant 14: ten thousand messages may wait for their reports; later ones are counted as dropped."""
        async with FakeProvider(
            Script(reports=ReportRule(after_ms=60_000)), report_to="http://127.0.0.1:9/reports",
        ) as provider:
            for number in range(MAX_PENDING + 3):
                provider.hand_over(sms(number))

            assert (MAX_PENDING, 3) == (len(provider.reporter._tasks), provider.reporter.dropped)
        assert 0 == len(provider.reporter._tasks)

    def test_memory(self) -> None:
        """Invariant 14: messages, fates and counts are all bounded."""
        provider = FakeProvider(inbox=Inbox(max_messages=5))
        for number in range(10_010):
            provider.hand_over(sms(number))
            provider.hand_over(sms(20_000 + number, "+84900000918"))

        assert (5, 10_000, 10_000) == (
            len(provider.inbox.messages()), len(provider._fates), len(provider._tried),
        )

    def test_private(self) -> None:
        """Neither number nor text stands in a repr (Invariant 5)."""
        provider = FakeProvider()
        provider.hand_over(sms(123456))
        shown = f"{sms(123456)!r}{provider.inbox.messages()!r}{provider!r}"

        assert "900000001" not in shown
        assert "Ma 123456" not in shown
