"""The script at work: which call is late, refused, lost or spoilt, and how many there were."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from otp_service.web.operator.errors import GENERIC_CODES
from otp_service.web.operator.script import Answer, Faults, Garbage, Script

_PAGE: Final = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>\n"
_FAILED: Final = Answer(status=503)

#: The endpoints that are counted, as ``/asked`` shows them.
ENDPOINTS: Final = ("token", "match", "check", "retrieve-date", "sms")


@dataclass(frozen=True, slots=True)
class Fate:
    """
    What becomes of one call.

    Attributes:
        latency_ms: milliseconds until it is answered.
        down: its connection is closed.
        answer: what it is told instead of the truth.
        garbage: how the true answer is spoilt.
    """

    latency_ms: int = 0
    down: bool = False
    answer: Answer | None = None
    garbage: Garbage | None = None


class Stage:
    """
    Plays a script.

    Args:
        script: what goes wrong; :meth:`play` changes it.
        clock: seconds that only grow.

    Attributes:
        script: the script in force.
        asked: how many calls each endpoint got, answered or not.
    """

    def __init__(self, script: Script | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.asked: Counter[str] = Counter(dict.fromkeys(ENDPOINTS, 0))
        self._clock = clock
        self.play(script or Script())

    def play(self, script: Script) -> None:
        """Follow another script from its beginning."""
        self.script = script
        self._apis = _Acts(script, self._clock)
        self._token = _Acts(script.token, self._clock)

    def enter(self, endpoint: str) -> Fate:
        """Count a call and say what becomes of it."""
        self.asked[endpoint] += 1
        return (self._token if endpoint == "token" else self._apis).next()


class _Acts:
    """The faults of one kind of endpoint, call after call."""

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self._faults = faults
        self._clock = clock
        self._calls = 0
        self._room = self._most = max(1.0, faults.throttle.per_s) if faults.throttle else 0.0
        self._filled_at_s = clock()

    def next(self) -> Fate:
        faults = self._faults
        if faults.throttle is not None and not self._has_room(faults.throttle.per_s):
            return Fate(faults.latency_ms, answer=Answer(status=429, retry_after=faults.throttle.retry_after))
        self._calls += 1
        if faults.every is not None and self._calls % faults.every:
            return Fate(faults.latency_ms)
        answer = faults.answer
        if faults.every is not None and not faults.down and faults.garbage is None:
            answer = answer or _FAILED
        return Fate(faults.latency_ms, faults.down, answer, faults.garbage)

    def _has_room(self, rate: float) -> bool:
        """Take a call's room from the bucket, which holds a second's worth."""
        now_s = self._clock()
        self._room = min(self._most, self._room + (now_s - self._filled_at_s) * rate)
        self._filled_at_s = now_s
        if self._room < 1:
            return False
        self._room -= 1
        return True


def spoilt(body: bytes, kind: Garbage) -> tuple[bytes, str]:
    """Return a right JSON answer as nobody can read it, and its content type."""
    match kind:
        case Garbage.HTML:
            return _PAGE, "text/html"
        case Garbage.EMPTY:
            return b"", "application/json"
        case Garbage.TRUNCATED:
            return body[:len(body) // 2], "application/json"
        case Garbage.WRONG_TYPES:
            members: Mapping[str, Any] = orjson.loads(body)
            return orjson.dumps({name: _of_another_type(value) for name, value in members.items()}), "application/json"


def _of_another_type(value: object) -> object:
    """Return what careless software writes: ``true`` for ``"true"``, a word for a flag, a number for a text."""
    match value:
        case "true" | "false":
            return value == "true"
        case bool():
            return "yes" if value else "no"
        case str():
            return len(value)
        case _:
            return [value]


def told(answer: Answer, *, oauth: bool) -> tuple[dict[str, object], dict[str, str]]:
    """Return the body and the headers of a scripted answer."""
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    if oauth:
        return {"error": answer.code or "temporarily_unavailable"}, headers
    code = answer.code or GENERIC_CODES.get(answer.status, "UNKNOWN")
    return {"status": answer.status, "code": code, "message": "the script says so"}, headers
