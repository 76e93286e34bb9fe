"""
The rules of a verification's life in plain Python: the oracle that the engine is compared with.

Written from DESIGN 3, 4 and 5, not from the scripts: lists and loops instead of keys and hashes, no care for speed,
one caller at a time.  Every call returns how it is answered: ``("ok", …)``, or a refusal's code with its members.
Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otp_service.core.times import iso
from otp_service.core.verification import Purpose

MINUTE, DAY = 60_000, 86_400_000
COOLDOWN, CAP_SENDS, CAP_BLOCK, CAP_TOTAL, CAP_ASSISTED, CAP_CHECKS = 60_000, 5, 3, 20, 10, 5
MAX_FAILURES, FREE_FAILURES, FAILURES_KEPT = 100, 9, 30 * DAY
WAITS_MIN = (1, 2, 4, 8, 15)
ASK_BACKOFF, ASK_AFTER = 2000, 5000

Outcome = tuple[str, dict[str, Any]]
OK: Outcome = ("ok", {})


@dataclass(eq=False)
class Sms:
    """One SMS in a phone's log."""

    life: Life
    number: int
    at: int
    block: str
    proven: bool = False


@dataclass(eq=False)
class Phone:
    """What is remembered of a phone."""

    log: list[Sms] = field(default_factory=list)
    failures: int = 0
    failed_at: int = 0
    #: Of the failures in a row, those of verifications that one address block started: how many, and the last.
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget the failures."""
        self.failures, self.blocks = 0, {}

    def share(self, block: str, now: int) -> tuple[int, int]:
        """Return how many failures still count for a block, and when the last was."""
        count, last = self.blocks.get(block, (0, 0))
        return (count, last) if now - last < FAILURES_KEPT else (0, 0)

    def count(self, now: int) -> int:
        """Return the failures that still count."""
        return self.failures if now - self.failed_at < FAILURES_KEPT else 0

    def wait(self, now: int) -> int:
        """Return how long the next guess must wait."""
        count = self.count(now)
        if count >= MAX_FAILURES:
            return self.failed_at + FAILURES_KEPT - now
        if count <= FREE_FAILURES:
            return 0
        minutes = WAITS_MIN[min(count - FREE_FAILURES, len(WAITS_MIN)) - 1]
        return max(0, self.failed_at + minutes * MINUTE - now)


@dataclass(eq=False)
class Life:
    """One verification."""

    client: str
    phone: str
    purpose: Purpose
    id_number: str
    block: str
    created: int
    status: str = "pending"
    reason: str | None = None
    send_number: int = 1
    sends: int = 1
    guesses: int = 0
    delivery: str = "queued"
    arrived: bool = False
    code_expires: int = 0
    resend_at: int = 0
    before: tuple[int, int] = (0, 0)
    ownership: str = "not_checked"
    ownership_until: int = 0
    ask_at: int | None = None
    errors: int = 0
    redeemed: bool = False
    differences: int = 0

    @property
    def expires(self) -> int:
        """When it ends."""
        return self.created + self.purpose.life_s * 1000

    @property
    def group(self) -> str:
        """Whose allowance its SMS count against."""
        return "assisted" if self.purpose.assisted else self.client

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.status in {"pending", "checking_ownership"}

    def seen(self, now: int) -> tuple[str, str | None]:
        """Return status and reason as a reader sees them."""
        if self.status == "pending" and now >= self.expires:
            return ("expired" if self.arrived else "undeliverable"), None
        if self.status == "checking_ownership" and now >= self.ownership_until:
            known = self.ownership == "not_available"
            return "rejected", "subscriber_unknown" if known else "ownership_unavailable"
        return self.status, self.reason

    def end(self, status: str, reason: str | None = None) -> None:
        """Come to an end."""
        self.status, self.reason, self.ask_at = status, reason, None

    def meet(self, now: int) -> None:
        """Make the end that time has brought."""
        status, reason = self.seen(now)
        if status != self.status:
            self.end(status, reason)


class Model:
    """
    Every phone and verification of one service.

    Args:
        block_failures: how many of a phone's failures one address block may add before it gets no SMS to it.
    """

    def __init__(self, *, block_failures: int = 30) -> None:
        self.phones: dict[str, Phone] = {}
        self.lives: list[Life] = []
        self.queue: list[tuple[Life, int]] = []
        #: Ownership checks that count for their phone, and for their ID number.
        self.of_phones: list[tuple[Life, int]] = []
        self.of_people: list[tuple[Life, int]] = []
        self._block_failures = block_failures

    # -- sending -----------------------------------------------------------------------------------------------

    def start(self, client: str, phone: str, purpose: Purpose, id_number: str, block: str, now: int) -> Outcome | Life:
        """Start; returns the new life, or the refusal."""
        block = "" if purpose.assisted else block
        life = Life(client, phone, purpose, id_number, block, now)
        if refusal := self._no_send(life, now, cooldown="rate_limited"):
            return refusal
        for older in self.lives:
            if (older.client, older.phone, older.purpose) == (client, phone, purpose) and older.live:
                older.meet(now)
                if older.live:
                    older.end("cancelled")
        life.code_expires = now + purpose.code.validity_s * 1000
        self.lives.append(life)
        self._send(life, now)
        return life

    def resend(self, life: Life, client: str, now: int) -> Outcome:
        """Ask for another SMS."""
        if life.client != client:
            return "not_found", {}
        life.meet(now)
        if life.status != "pending":
            return "already_final", {"verification_status": life.status}
        if life.sends > life.purpose.max_resends:
            return "sends_exhausted", {"expires_at": iso(life.expires)}
        if refusal := self._no_send(life, now, cooldown="resend_too_soon"):
            return refusal
        grace = life.purpose.code.previous_code_grace_s * 1000
        if grace and now < life.code_expires:
            life.before = life.send_number, min(now + grace, life.code_expires)
        life.send_number += 1
        life.sends += 1
        life.code_expires = min(now + life.purpose.code.validity_s * 1000, life.expires)
        self._send(life, now)
        return OK

    def _send(self, life: Life, now: int) -> None:
        self._phone(life).log.append(Sms(life, life.send_number, now, life.block))
        life.delivery, life.resend_at = "queued", now + COOLDOWN
        self.queue.append((life, life.send_number))

    def _phone(self, life: Life) -> Phone:
        return self.phones.setdefault(life.phone, Phone())

    def _no_send(self, life: Life, now: int, *, cooldown: str) -> Outcome | None:
        phone = self._phone(life)
        log = phone.log
        mine = [sms for sms in log if sms.life.group == life.group and not sms.proven]
        waits = [("person", phone.wait(now) if phone.count(now) >= MAX_FAILURES else 0)]
        waits.append(("cooldown", opens(log, 1, COOLDOWN, now)))
        waits.append(("person", opens(mine, CAP_ASSISTED if life.purpose.assisted else CAP_SENDS, DAY, now)))
        if life.block:
            waits.append(("person", opens([sms for sms in mine if sms.block == life.block], CAP_BLOCK, DAY, now)))
        waits.append(("person", opens(log, CAP_TOTAL, DAY, now)))
        if life.block:
            count, last = phone.share(life.block, now)
            waits.append(("person", last + FAILURES_KEPT - now if count >= self._block_failures else 0))
        name, wait = max(waits, key=lambda one: one[1])
        if not wait:
            return None
        seconds = -(-wait // 1000)
        if name == "cooldown":
            return cooldown, {"retry_after": seconds} | ({"limit": "person"} if cooldown == "rate_limited" else {})
        return "rate_limited", {"limit": "person", "retry_after": -(-seconds // 600) * 600}

    def deliver(self, answer: str, now: int) -> list[tuple[Life, int]]:
        """Let a worker empty the queue; returns what the gateway is asked for, each as often as it is tried."""
        asked = []
        for life, number in self.queue:
            life.meet(now)
            newest = number == life.send_number
            if life.status == "pending" and newest and now < life.code_expires:
                asked += [(life, number)] * (3 if answer == "unclear" else 1)
                life.delivery = "sent" if answer == "accept" else "failed"
                life.arrived |= answer != "refuse"
                if answer == "refuse":
                    self._refund(life, number)
                    life.resend_at = now
            else:
                self._refund(life, number)
                if newest and life.delivery == "queued":
                    life.delivery = "failed"
                if newest:
                    life.resend_at = now
        self.queue.clear()
        return asked

    def _refund(self, life: Life, number: int) -> None:
        log = self._phone(life).log
        for sms in [sms for sms in log if sms.life is life and sms.number == number]:
            log.remove(sms)
            life.sends -= 1

    # -- guessing ----------------------------------------------------------------------------------------------

    def check(  # noqa: PLR0911 - one per answer, in the order of the contract
        self, life: Life, client: str, number: int, source: str, now: int,
    ) -> Outcome:
        """Guess with the code of SMS ``number`` (0: none of them); ``source`` is what the ownership source says."""
        if life.client != client:
            return "not_found", {}
        life.meet(now)
        if life.status == "locked":
            return "locked", {"verification_status": "locked", "attempts_left": 0}
        if life.status != "pending":
            return "already_final", {"verification_status": life.status}
        if now >= life.code_expires:
            left = self.sends_left(life)
            return "code_expired", {"resend_at": iso(life.resend_at) if left else None, "sends_left": left}
        phone = self._phone(life)
        if wait := phone.wait(now):
            return "guess_too_soon", {"retry_after": -(-wait // 1000)}
        before, until = life.before
        if number != life.send_number and not (number and number == before and now < until):
            return self._fail(life, phone, now)
        phone.forget()
        for sms in phone.log:
            sms.proven |= sms.life.group == life.group
        if not life.purpose.checks_ownership:
            life.end("verified")
            return OK
        life.status = "checking_ownership"
        longest = life.expires if life.purpose.assisted else now + life.purpose.ownership_timeout_s * 1000
        life.ownership_until = min(longest, life.expires)
        life.ask_at = now + ASK_AFTER
        self._ask(life, source, now)
        return OK

    def _fail(self, life: Life, phone: Phone, now: int) -> Outcome:
        life.guesses += 1
        if phone.count(now) == 0:
            phone.blocks.clear()
        phone.failures, phone.failed_at = phone.count(now) + 1, now
        if life.block:
            phone.blocks[life.block] = phone.share(life.block, now)[0] + 1, now
        left = life.purpose.max_attempts - life.guesses
        if left:
            return "wrong_code", {"attempts_left": left, "send_number": life.send_number}
        life.end("locked")
        return "locked", {"verification_status": "locked", "attempts_left": 0}

    # -- ownership and deadlines -------------------------------------------------------------------------------

    def work(self, source: str, now: int) -> None:
        """Do what the deadline worker does."""
        for life in self.lives:
            life.meet(now)
        due = [life for life in self.lives if life.ask_at is not None and life.ask_at <= now]
        for life in due:
            self._ask(life, source, now)

    def _ask(self, life: Life, source: str, now: int) -> None:
        of_phone = sum(one.phone == life.phone and now - at < DAY for one, at in self.of_phones)
        of_person = sum(one.id_number == life.id_number and now - at < DAY for one, at in self.of_people)
        if of_phone >= CAP_CHECKS or of_person >= CAP_CHECKS:
            life.end("rejected", "ownership_unavailable")
            return
        life.ownership = source
        if source in {"match", "mismatch"}:
            self.of_phones.append((life, now))
            self.of_people.append((life, now))
        match source:
            case "match":
                life.end("verified")
            case "mismatch":
                life.end("rejected", "sim_not_owned")
            case "not_available" if not life.purpose.assisted:
                life.end("rejected", "subscriber_unknown")
            case "not_available":
                life.ask_at = None
            case _:
                life.errors += 1
                wait = ASK_BACKOFF * 2 ** min(life.errors - 1, 4)
                life.ask_at = min(now + wait, life.ownership_until)

    # -- the rest ----------------------------------------------------------------------------------------------

    def cancel(self, life: Life, client: str, now: int) -> Outcome:
        """Cancel."""
        if life.client != client:
            return "not_found", {}
        life.meet(now)
        if life.live:
            life.end("cancelled")
        return OK if life.status == "cancelled" else ("already_final", {"verification_status": life.status})

    def redeem(  # noqa: PLR0911 - one per answer
        self, life: Life, issued: int, *, same_phone: bool, same_person: bool | None, now: int,
    ) -> Outcome:
        """Redeem a token of ``issued``; ``same_person`` is None when no ID number is told."""
        if now >= (issued // 1000 + 600) * 1000:
            return "invalid_request", {}
        if life.status == "rejected":
            return "not_verified", {}
        if life.redeemed:
            return "already_redeemed", {}
        if life.differences >= 3:
            return "claims_mismatch", {}
        if life.purpose.checks_ownership and same_person is None:
            return "invalid_request", {}
        if not same_phone or same_person is False:
            life.differences += 1
            return "claims_mismatch", {}
        life.redeemed = True
        return OK

    def reset(self, phone: str) -> None:
        """Reset a phone's limits, as an operator may."""
        found = self.phones.setdefault(phone, Phone())
        found.log.clear()
        found.forget()
        self.of_phones = [(life, at) for life, at in self.of_phones if life.phone != phone]

    @staticmethod
    def sends_left(life: Life) -> int:
        """Return how many SMS a live verification may still send."""
        return max(0, life.purpose.max_resends + 1 - life.sends)

    def render(self, life: Life, now: int) -> Mapping[str, Any]:
        """Return what a reader sees."""
        status, reason = life.seen(now)
        live = status in {"pending", "checking_ownership"}
        left = self.sends_left(life) if live else 0
        return {
            "status": status, "reason": reason, "send_number": life.send_number, "sends_left": left,
            "attempts_left": life.purpose.max_attempts - life.guesses if live else 0,
            "resend_at_ms": life.resend_at if left and status == "pending" else None,
            "code_expires_at_ms": life.code_expires, "expires_at_ms": life.expires, "delivery": life.delivery,
            "ownership": life.ownership,
        }


def opens(log: Iterable[Sms], count: int, period: int, now: int) -> int:
    """Return how long until one more SMS fits: 0 now, when fewer than ``count`` were sent in the last ``period``."""
    inside = sorted(sms.at for sms in log if now - sms.at < period)
    return inside[-count] + period - now if len(inside) >= count else 0
