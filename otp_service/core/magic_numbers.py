"""
Phone numbers that produce one outcome each, for tests of whoever integrates: +84900000900 to +84900000929.

The Vietnamese numbering plan has no fictional range, so these are ordinary numbers that this service declares magic:
they mean something only where no SMS leaves the house (the demo, test keys, the fake gateway), and are ordinary
numbers to every gateway with ``real = True``.

::

    …900   accepted, delivered              …912   accepted, then reported failed
    …901   invalid_number                   …913   accepted, never reported
    …902   blocked                          …914   accepted, delivered 5 s later
    …903   template_rejected                …915   taken, but the answer is lost
    …904   sender_rejected                  …916   accepted after 2 s
    …905   authentication                   …917   taken, but the answer is garbage
    …906   balance                          …918   temporary the first time, then accepted
    …907   throttled                        …919 and all after it: kept free; accepted, delivered
    …908   duplicate
    …909   wrong_network
    …910   temporary
    …911   unknown

What a test key starts for one of them sends nothing, and its code is zeros alone (:func:`magic_code`).

After 915 and 917 the same message handed over again is a duplicate, as with any gateway that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otp_service.core.ports import DeliveryState, SendResult

_FIRST: Final = 900
_LAST: Final = 929
_PREFIX: Final = "+84900000"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    What a gateway does with one message.

    Attributes:
        result: what it answers.
        report: the delivery report that follows a message it took; None when none ever comes.
        report_after_ms: milliseconds until that report.
        latency_ms: milliseconds until its answer.
        lost: it takes the message and closes the connection without an answer.
        garbage: it takes the message and answers what nobody can read.
        fails_first: how many hand-overs of the message are answered ``temporary`` before ``result``.
    """

    result: SendResult = SendResult.ACCEPTED
    report: DeliveryState | None = None
    report_after_ms: int = 0
    latency_ms: int = 0
    lost: bool = False
    garbage: bool = False
    fails_first: int = 0


_TAKEN: Final = Behaviour(report=DeliveryState.DELIVERED)

#: IMPORTANT: a new SendResult gets a number here, and its line in the table at the top of this file.
_BEHAVIOURS: Final = {
    f"{_PREFIX}{_FIRST + offset}": behaviour
    for offset, behaviour in enumerate((
        _TAKEN,
        Behaviour(SendResult.INVALID_NUMBER),
        Behaviour(SendResult.BLOCKED),
        Behaviour(SendResult.TEMPLATE_REJECTED),
        Behaviour(SendResult.SENDER_REJECTED),
        Behaviour(SendResult.AUTHENTICATION),
        Behaviour(SendResult.BALANCE),
        Behaviour(SendResult.THROTTLED),
        Behaviour(SendResult.DUPLICATE),
        Behaviour(SendResult.WRONG_NETWORK),
        Behaviour(SendResult.TEMPORARY),
        Behaviour(SendResult.UNKNOWN),
        Behaviour(report=DeliveryState.FAILED),
        Behaviour(),
        Behaviour(report=DeliveryState.DELIVERED, report_after_ms=5_000),
        Behaviour(report=DeliveryState.DELIVERED, lost=True),
        Behaviour(report=DeliveryState.DELIVERED, latency_ms=2_000),
        Behaviour(report=DeliveryState.DELIVERED, garbage=True),
        Behaviour(report=DeliveryState.DELIVERED, fails_first=1),
    ))
}


def is_magic(e164: str) -> bool:
    """Whether the number lies in the magic range, also where nothing is assigned to it yet."""
    tail = e164.removeprefix(_PREFIX)
    return len(e164) == 12 and len(tail) == 3 and tail.isascii() and tail.isdigit() and _FIRST <= int(tail) <= _LAST


def behaviour(e164: str) -> Behaviour | None:
    """Return what a magic number produces; an unassigned one is accepted and delivered, others have None."""
    return _BEHAVIOURS.get(e164, _TAKEN) if is_magic(e164) else None


def magic_code(e164: str, length: int, *, test: bool) -> str | None:
    """Return the code of a test key's verification of a magic number, zeros alone; None for any other."""
    return "0" * length if test and is_magic(e164) else None
