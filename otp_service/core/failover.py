"""
One send's way through the gateways: who is asked next, when to pause, when to give up.

* A refusal that another gateway may heal moves on at once.
* A refusal of the number itself ends the send: no other gateway knows better.
* A gateway that drops duplicates and whose answer was lost at once is asked again, once: that costs no second SMS.
* When all have refused, those that may change their mind are asked again after a pause that doubles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum

from otp_service.core.ports import HEALED_ELSEWHERE, RETRYABLE, SendOutcome


class Next(StrEnum):
    """What follows an attempt."""

    DONE = "done"
    ON = "on"
    PAUSE = "pause"
    FAILED = "failed"


class Trial:
    """
    The attempts of one send.

    Args:
        order: the gateways, best first; see :meth:`RouteBook.order`.
        attempts: how many hand-overs there may be in all.
        deduplicating: the gateways that drop a second hand-over with the same reference.

    Attributes:
        made: hand-overs so far.
        rounds: how often every gateway has refused: pauses double with it.
        maybe_sent: whether some gateway may have the message.
    """

    def __init__(self, order: Sequence[str], *, attempts: int, deduplicating: Collection[str] = ()) -> None:
        self._order = tuple(order)
        self._attempts = attempts
        self._deduplicating = deduplicating
        self._left = list(order)
        self._again: set[str] = set()
        self._asked_again = False
        self.made = 0
        self.rounds = 0
        self.maybe_sent = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Who may be asked now, best first; never empty while the last ``note`` said ON or PAUSE."""
        return tuple(self._left)

    def reorder(self, order: Sequence[str]) -> None:
        """Take another order of the same gateways: their shares have shifted while this send waited."""
        place = {name: at for at, name in enumerate(order)}
        self._order = tuple(sorted(self._order, key=lambda name: place.get(name, len(place))))
        if not self._asked_again:
            self._left.sort(key=self._order.index)

    def note(self, name: str, outcome: SendOutcome) -> Next:
        """Take an answer in and say what follows."""
        self.made += 1
        self._left.remove(name)
        self.maybe_sent = self.maybe_sent or outcome.maybe_sent
        if outcome.taken:
            return Next.DONE
        if outcome.result not in HEALED_ELSEWHERE or self.made >= self._attempts:
            return Next.FAILED
        if outcome.lost and name in self._deduplicating and not self._asked_again:
            self._asked_again = True
            self._left.insert(0, name)
        elif outcome.result in RETRYABLE:
            self._again.add(name)
        if self._left:
            return Next.ON
        if not self._again:
            return Next.FAILED
        self._left = [name for name in self._order if name in self._again]
        self._again.clear()
        self.rounds += 1
        return Next.PAUSE
