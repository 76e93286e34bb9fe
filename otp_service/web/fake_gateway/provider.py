"""The fake gateway's mind: what it answers to a message and what it reports of it, by script or magic number."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from secrets import token_hex
from typing import Final, Self

import orjson

from otp_service.core import magic_numbers
from otp_service.core.magic_numbers import Behaviour
from otp_service.core.ports import DeliveryState, SendResult
from otp_service.web.fake_gateway.inbox import Inbox
from otp_service.web.fake_gateway.reports import Reporter, report
from otp_service.web.fake_gateway.script import ReportRule, Script

_MAX_FATES: Final = 10_000
_GARBAGE: Final = b'<html><body>OK</body></html>\x00\xff{"id":'
_IN_ORDER: Final = ReportRule()

#: Everything else that a gateway refuses is 400.
_STATUSES: Final = {SendResult.THROTTLED: 429, SendResult.TEMPORARY: 503, SendResult.DUPLICATE: 409}


@dataclass(frozen=True, slots=True)
class Sms:
    """One hand-over."""

    reference: str
    to: str = field(repr=False)
    text: str = field(repr=False)
    send_number: int


@dataclass(frozen=True, slots=True)
class Reply:
    """How a hand-over is answered: after ``latency_ms``, or by closing the connection."""

    status: int
    body: bytes = b""
    latency_ms: int = 0
    hang_up: bool = False


@dataclass(frozen=True, slots=True)
class _Fate:
    """What becomes of a message that was taken: ``state`` from ``at_s`` on, None for ever on its way."""

    reference: str
    state: DeliveryState | None
    at_s: float


class FakeProvider:
    """
    Takes messages by a script; close it, or use it with ``async with``, where it posts reports.

    Args:
        script: what it does; :meth:`play` changes it.
        inbox: where messages arrive.
        report_to: URL that delivery reports are posted to; empty posts none.
        report_key: signs them.
        clock: seconds that only grow.
        pause: waits for seconds.

    Attributes:
        script: the script in force.
        inbox: what was taken.
        reporter: posts the reports.
    """

    def __init__(
        self, script: Script | None = None, *, inbox: Inbox | None = None, report_to: str = "", report_key: str = "",
        clock: Callable[[], float] = time.monotonic, pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.inbox = inbox or Inbox()
        self.reporter = Reporter(report_to, report_key, pause=pause)
        self.pause = pause
        self._clock = clock
        self._tried: OrderedDict[str, int] = OrderedDict()
        self._fates: OrderedDict[str, _Fate] = OrderedDict()
        self.play(script or Script())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the reports that are waiting."""
        await self.reporter.close()

    def play(self, script: Script) -> None:
        """Follow another script from its beginning; messages that were taken keep their fate."""
        self.script = script
        self._random = Random(script.seed)  # noqa: S311 - a script's shares, no secret
        self._handed_over = 0
        self._tokens = max(1.0, script.throttle_per_s or 0)
        self._filled_at_s = self._clock()

    def hand_over(self, sms: Sms) -> Reply:
        """Take or refuse one message.  A reference that was taken before is a duplicate with its first id."""
        magic = magic_numbers.behaviour(sms.to)
        latency_ms = magic.latency_ms if magic else self.script.latency_ms
        if magic is None and not self._within_throttle():
            return _refusal(SendResult.THROTTLED, latency_ms)
        if (known := self.inbox.id_of(sms.reference)) is not None:
            return Reply(409, orjson.dumps({"id": known}), latency_ms)
        behaviour = magic or self._scripted()
        if behaviour.fails_first and self._count(sms.reference) <= behaviour.fails_first:
            return _refusal(SendResult.TEMPORARY, latency_ms)
        if behaviour.result is not SendResult.ACCEPTED:
            return _refusal(behaviour.result, latency_ms)
        message_id, _ = self.inbox.add(sms.reference, to=sms.to, text=sms.text, send_number=sms.send_number)
        self._decide(message_id, sms.reference, behaviour, _IN_ORDER if magic else self.script.reports)
        body = _GARBAGE if behaviour.garbage else orjson.dumps({"id": message_id})
        return Reply(200, body, latency_ms, hang_up=behaviour.lost)

    def reports(self, message_ids: list[str]) -> list[dict[str, str]]:
        """Return what is known of messages, those that are unknown left out."""
        now_s = self._clock()
        found = [(one, self._fates[one]) for one in message_ids if one in self._fates]
        return [
            report(one, fate.reference, fate.state if fate.state and now_s >= fate.at_s else DeliveryState.SENT)
            for one, fate in found
        ]

    def _within_throttle(self) -> bool:
        """Take a token from the bucket, which holds a second's worth."""
        rate = self.script.throttle_per_s
        if rate is None:
            return True
        now_s = self._clock()
        self._tokens = min(max(1.0, rate), self._tokens + (now_s - self._filled_at_s) * rate)
        self._filled_at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _scripted(self) -> Behaviour:
        """Decide by the script; always the same number of draws, so that a seed gives the same messages the same."""
        script = self.script
        self._handed_over += 1
        failed, lost, garbage, reported = [self._random.random() for _ in range(4)]
        fail = script.fail
        result = SendResult.ACCEPTED
        if fail and (self._handed_over % fail.every == 0 if fail.every else failed < (fail.share or 0)):
            result = fail.result
        return Behaviour(
            result, script.reports.state if reported < script.reports.share else None, script.reports.after_ms,
            lost=lost < script.lose_answers, garbage=garbage < script.garbage,
        )

    def _decide(self, message_id: str, reference: str, behaviour: Behaviour, rule: ReportRule) -> None:
        """Remember what becomes of a message, and report it."""
        at_s = self._clock() + behaviour.report_after_ms / 1000
        self._fates[message_id] = _Fate(reference, behaviour.report, at_s)
        if len(self._fates) > _MAX_FATES:
            self._fates.popitem(last=False)
        if behaviour.report is None:
            return
        states = [behaviour.report] * (1 + rule.duplicates)
        if rule.out_of_order:
            states.append(DeliveryState.SENT)
        self.reporter.later(behaviour.report_after_ms, message_id, reference, states)

    def _count(self, reference: str) -> int:
        """Count a hand-over; returns how many there were of this message."""
        self._tried[reference] = self._tried.pop(reference, 0) + 1
        if len(self._tried) > _MAX_FATES:
            self._tried.popitem(last=False)
        return self._tried[reference]


def _refusal(result: SendResult, latency_ms: int) -> Reply:
    body = {"id": f"sms-{token_hex(8)}"} if result is SendResult.DUPLICATE else {"error": result.value}
    return Reply(_STATUSES.get(result, 400), orjson.dumps(body), latency_ms)
