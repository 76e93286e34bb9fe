"""
Carries one queued SMS to a gateway: claims it, chooses, hands over, moves on, records.

A send is claimed before each attempt, so that a superseded, used or expired code is never sent, and two workers never
hold the same send.  The order of gateways follows from the message's reference (``core/routing.py``) and what comes
after a refusal from ``core/failover.py``; here is what touches the store and the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex

from otp_service.core.failover import Next, Trial
from otp_service.core.keyring import KeyRing
from otp_service.core.magic_numbers import is_magic
from otp_service.core.phone import Carrier, carrier_hint
from otp_service.core.ports import DeliveryState, SendOutcome, SendResult
from otp_service.core.routing import RouteBook
from otp_service.core.verification import STATUS_CODES, Delivery, Status, Verification
from otp_service.delivery.accounts import BUSY_S, TEST_ACCOUNT, Account, Accounts
from otp_service.delivery.composer import Composer
from otp_service.delivery.pacing import pause
from otp_service.delivery.poller import FIRST_POLL_MS
from otp_service.delivery.sender import Sender
from otp_service.delivery.shares import Shares
from otp_service.storage.calls import Answer, Taken
from otp_service.storage.queue import QueuedSms
from otp_service.storage.records import to_verification
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_LEASE_MARGIN_MS = 2000
_MAX_BACKOFF_S = 15.0
#: Sends that may wait in memory, per hand; those beyond wait in the queue, so that reading it never stops.
_MOST_PAUSING = 4

_log = get_logger()


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """
    How sends are tried.

    Attributes:
        attempts: hand-overs tried per send, over all gateways, before it counts as failed.
        backoff_s: seconds before all gateways are asked once more; it doubles, up to 15.
        concurrency: sends in hand at once, those that wait for another attempt not counted.
    """

    attempts: int = 8
    backoff_s: float = 1.0
    concurrency: int = 256


@dataclass(slots=True)
class _Job:
    """
    One send in hand.

    ``holder`` names this hand in the lease, ``magic`` says that the number's outcome says nothing of the gateway,
    ``waited`` that another holder's lease was waited for, ``again`` that another hand had it before; ``asked`` names
    the gateways this one has asked, ``carrier`` is the prefix's, ``asked_ms`` how long the last gateway took.
    """

    sms: QueuedSms
    holder: str = field(default_factory=lambda: token_hex(8))
    trial: Trial | None = None
    magic: bool = False
    waited: bool = False
    again: bool = False
    asked: set[str] = field(default_factory=set)
    carrier: Carrier | None = None
    asked_ms: int = 0

    @property
    def maybe_sent(self) -> bool:
        return self.trial is not None and self.trial.maybe_sent


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a send waits for: some seconds, then the turn at ``account``; or until one of ``candidates`` is free."""

    seconds: float = 0.0
    account: Account | None = None
    candidates: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether it waits at all."""
        return bool(self.seconds or self.candidates)


class Courier:
    """
    Delivers queued SMS.

    Args:
        store: the transitions.
        accounts: the gateways.
        routes: which of them serve a message.
        shares: how well each does.
        composer: writes the message.
        sender: hands it over.
        ring: opens the phone number.
        metrics: counts.
        policy: how sends are tried.
    """

    def __init__(
        self, *, store: Store, accounts: Accounts, routes: RouteBook, shares: Shares, composer: Composer,
        sender: Sender, ring: Callable[[], KeyRing], metrics: Metrics, policy: SendPolicy,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._routes = routes
        self._shares = shares
        self._composer = composer
        self._sender = sender
        self._ring = ring
        self._metrics = metrics
        self.policy = policy
        self._hands = asyncio.Semaphore(policy.concurrency)
        #: Set when the worker stops: nobody waits for a further attempt then.
        self.stopping = asyncio.Event()
        #: Sends that wait for their next attempt or for a busy gateway, and ask nobody.
        self.pausing = 0
        #: How long a claim holds: as long as the slowest gateway may take, and a margin.
        self.lease_ms = round(accounts.longest_timeout_s * 1000) + _LEASE_MARGIN_MS

    async def deliver(self, sms: QueuedSms) -> None:
        """See one send through, or leave it to whoever holds it.  Raises StoreUnavailable."""
        job = _Job(sms)
        wait: _Wait | None = _Wait()
        while wait is not None:
            if wait.idle and not await self._waited(wait):
                return  # its lease runs out, and whoever is free then takes it over
            async with self._hands:
                wait = await self._step(job, wait.account)

    async def _waited(self, wait: _Wait) -> bool:
        """Wait without keeping a hand from other sends; False when too many do already, or the worker stops."""
        if self.pausing >= _MOST_PAUSING * self.policy.concurrency:
            return False
        self.pausing += 1
        try:
            if wait.candidates:
                await self._accounts.any_free(wait.candidates)
            else:
                await pause(self.stopping, wait.seconds)
        finally:
            self.pausing -= 1
        return not self.stopping.is_set()

    async def _step(self, job: _Job, turn: Account | None) -> _Wait | None:
        """
        Claim, and ask one gateway: that whose turn is held, else one that is free.

        Returns what to wait for before the next step, None when there is none.  The claim comes after every wait:
        meanwhile the code may have been used, replaced, or run out.
        """
        claim = await self._claim(job)
        if claim.outcome == "wait" and not job.waited:
            # Another worker's hand, or a dead one's: look again when its lease is over.
            job.waited = True
            return _Wait(claim.number / 1000)
        if claim.outcome != "send":
            return None
        verification = to_verification(self._ring(), job.sms.verification_id, claim.record, claim.now_ms)
        if job.trial is None:
            self._metrics.queue_to_gateway(max(0, claim.now_ms - job.sms.queued_at_ms) / 1000)
            job.carrier = carrier_hint(verification.phone_number)
            job.magic = is_magic(verification.phone_number)
            job.again = claim.again
            job.trial = self._trial(self._order(job, verification))
        elif turn is None:
            # It has waited, and the shares have shifted meanwhile.
            job.trial.reorder(self._order(job, verification))
        account = turn
        if account is None:
            admitted = await self._accounts.admit(job.trial.candidates)
            if admitted is None:
                return await self._busy(job, job.trial)
            account, wait_s = admitted
            if wait_s:
                await self._put_off(job, wait_s + self.lease_ms / 1000)
                return _Wait(wait_s, account)
        if account.busy:
            return await self._busy(job, job.trial)
        async with account.turn():
            return await self._attempt(job, job.trial, account, verification, claim)

    async def _claim(self, job: _Job) -> Answer:
        sms = job.sms
        claim = await self._store.claim(
            sms.shard, sms.verification_id, sms.send_number, sms.entry, self.lease_ms, holder=job.holder,
            maybe_sent=job.maybe_sent,
        )
        if claim.outcome == "skip":
            reason = skip_reason(claim, sms.send_number)
            self._metrics.sms_skipped(reason)
            _log.info(
                "sms skipped", verification_id=sms.verification_id, send_number=sms.send_number, reason=reason,
            )
        return claim

    def _order(self, job: _Job, verification: Verification) -> tuple[str, ...]:
        order = self._routes.order(job.carrier, verification.purpose, self._shares.now, job.sms.reference)
        if verification.test and any(self._accounts[name].real for name in order):
            # A test key sends no real SMS (DESIGN 4).
            return (TEST_ACCOUNT,)
        return order

    def _trial(self, order: tuple[str, ...]) -> Trial:
        # Nobody reads what a test key sends, so little is tried again: its load must not hold live SMS up.
        attempts = min(2, self.policy.attempts) if order == (TEST_ACCOUNT,) else self.policy.attempts
        return Trial(order, attempts=attempts, deduplicating=self._accounts.deduplicating)

    async def _attempt(
        self, job: _Job, trial: Trial, account: Account, verification: Verification, claim: Answer,
    ) -> _Wait | None:
        """Ask one gateway under a claim, and record what it says."""
        message = self._composer.message(verification, job.sms, claim.number)
        began = asyncio.get_running_loop().time()
        outcome = await self._sender.send(account, message)
        job.asked_ms = round((asyncio.get_running_loop().time() - began) * 1000)
        if outcome.result is SendResult.DUPLICATE and not (job.again or job.magic or account.name in job.asked):
            # Nobody has asked it before: its memory of another message must not swallow this one.
            outcome = SendOutcome(SendResult.UNKNOWN, provider_code="not_a_duplicate", maybe_sent=True)
        job.asked.add(account.name)
        if outcome.taken:
            self._metrics.sms_segments(verification.purpose, message.segments)
        return await self._record(job, trial, account, outcome, claim)

    async def _record(
        self, job: _Job, trial: Trial, account: Account, outcome: SendOutcome, claim: Answer,
    ) -> _Wait | None:
        """Record an answer; returns what to wait for before the next attempt, None when there is none."""
        sms, step = job.sms, trial.note(account.name, outcome)
        wait_s = min(_MAX_BACKOFF_S, self.policy.backoff_s * 2.0 ** max(0, trial.rounds - 1))
        if step is Next.PAUSE and wait_s * 1000 >= claim.number:
            step = Next.FAILED
        if not job.magic:
            self._shares.heard(account.name, outcome)
        _log.info(
            "sms", verification_id=sms.verification_id, send_number=sms.send_number, gateway=account.name,
            carrier=job.carrier, result=outcome.result.value, provider_code=outcome.provider_code,
            provider_id=outcome.provider_id, attempt=trial.made, duration_ms=job.asked_ms,
            queue_ms=claim.now_ms - sms.queued_at_ms, next=step.value,
        )
        if step is Next.ON:
            return _Wait()
        if step is Next.PAUSE:
            await self._put_off(job, wait_s)
            return _Wait(wait_s)
        await self._store.sent(
            sms.shard, sms.verification_id, sms.send_number, sms.entry, outcome="a" if step is Next.DONE else "f",
            maybe_sent=trial.maybe_sent, holder=job.holder, taken=_taken(account, outcome) if outcome.taken else None,
        )
        return None

    async def _busy(self, job: _Job, trial: Trial) -> _Wait:
        """Keep the send until one of its gateways is free; where it is their pace that is full, for a moment."""
        await self._put_off(job, BUSY_S + self.lease_ms / 1000)
        busy = self._accounts.all_busy(trial.candidates)
        return _Wait(candidates=trial.candidates) if busy else _Wait(BUSY_S)

    async def _put_off(self, job: _Job, seconds: float) -> None:
        """Keep the send for this long without asking anybody."""
        sms = job.sms
        await self._store.sent(
            sms.shard, sms.verification_id, sms.send_number, sms.entry, outcome="r", maybe_sent=job.maybe_sent,
            holder=job.holder, retry_ms=round(seconds * 1000),
        )


def skip_reason(claim: Answer, send_number: int) -> str:
    """Say why a send is not carried out: ``gone``, the status that ended it, ``superseded`` or ``code_over``."""
    status = STATUS_CODES.get(claim.record.get(b"s", b"").decode())
    if status is None:
        return "gone"
    if status is not Status.PENDING:
        return status.value
    return "superseded" if int(claim.record[b"n"]) != send_number else "code_over"


def _taken(account: Account, outcome: SendOutcome) -> Taken:
    state = outcome.delivery
    return Taken(
        account.name, outcome.provider_id or "",
        Delivery(state.value) if state and state is not DeliveryState.SENT else None,
        FIRST_POLL_MS if account.poll_reports else None,
    )
