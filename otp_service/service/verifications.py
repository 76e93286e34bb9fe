"""
A verification's life as its callers drive it: each call is one transition in the store.

What must be derived stands before it, what must be told and counted after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from secrets import token_urlsafe
from typing import Any

from otp_service.core.codes import code_digest, derive_code
from otp_service.core.errors import (
    AlreadyFinal,
    CodeExpired,
    FieldError,
    GuessTooSoon,
    IdempotencyKeyReused,
    InvalidRequest,
    Locked,
    NotFound,
    Refusal,
    ResendTooSoon,
    SendsExhausted,
    StoreUnavailable,
    Unavailable,
    WrongCode,
)
from otp_service.core.keyring import KeyRing
from otp_service.core.limits import PHONE_FAILURES, LimitBook, State
from otp_service.core.magic_numbers import is_magic, magic_code
from otp_service.core.times import iso
from otp_service.core.verification import Links, Purpose, Status, Verification
from otp_service.service.allowances import Allowances, send_group
from otp_service.service.attestation import Attestation
from otp_service.service.callers import Caller, Secrets, StartCommand
from otp_service.service.new_verification import fresh, phone_names, record_fields, sealed_extra
from otp_service.service.ownership import Inquirer, OwnershipStep
from otp_service.service.proof import Proofs
from otp_service.service.refusals import refusal_of, whole_seconds
from otp_service.service.tally import Tally
from otp_service.service.verdicts import Verdicts
from otp_service.storage.calls import Answer, AskBefore, NewVerification, Replay
from otp_service.storage.records import open_links, seal_links, to_verification
from otp_service.storage.store import Store
from otp_service.telemetry.metrics import Metrics

#: Behind the inline deadline, before the worker asks: the inline call and the worker never both ask.
_ASK_MARGIN_S = 2.0
_MAX_STALE_READS = 4


class VerificationService:
    """
    Starts, resends, checks, reads and cancels verifications, and asks who owns the SIM.

    Args:
        store: the transitions.
        secrets: returns the key ring and signer in force.
        limit_book: every limit with its overrides.
        purposes: the policies by name.
        inquirer: asks who owns a SIM.
        metrics: what operations watch.
        issuer: the token's ``iss``.
        inline_deadline_s: how long a check waits for the sources before the worker takes over.
        worker_deadline_s: how long the worker gives them.
        ask_backoff_s: after a source's error, the first wait; it doubles up to sixteen times that.
        proof_cost: PBKDF2 iterations of one step of a proof of work.
        demo: whether every caller may use magic numbers, not test keys alone.
    """

    def __init__(
        self, store: Store, *, secrets: Callable[[], Secrets], limit_book: LimitBook,
        purposes: Mapping[str, Purpose], inquirer: Inquirer, metrics: Metrics, issuer: str,
        inline_deadline_s: float = 3.0, worker_deadline_s: float = 15.0, ask_backoff_s: float = 2.0,
        proof_cost: int = 300, demo: bool = False,
    ) -> None:
        self.store = store
        self._demo = demo
        self.purposes = purposes
        self._secrets = secrets
        self._metrics = metrics
        self._tally = Tally(metrics)
        self._allowances = Allowances(limit_book, self._ring)
        self._proofs = Proofs(limit_book, self._ring, lambda one: self._allowances.address(one)[0], cost=proof_cost)
        self._ask_after_ms = round((inline_deadline_s + _ASK_MARGIN_S) * 1000)
        self._ownership = OwnershipStep(
            store, ring=self._ring, limit_book=limit_book, purposes=purposes, inquirer=inquirer, metrics=metrics,
            backoff_s=ask_backoff_s,
        )
        self._inline_deadline_s = inline_deadline_s
        verdicts = Verdicts(store, secrets, issuer)
        #: The verdict as a token; its claims; and redeeming it.
        self.token, self.read_verdict, self.redeem = verdicts.token, verdicts.read, verdicts.redeem
        #: What an official has read on the citizen's phone.
        self.attest = Attestation(store, self._ring, self._ownership).take
        #: The ownership step and the count of what ended at its deadline, for the worker.
        self.ask_ownership = partial(self._ownership.take, deadline_s=worker_deadline_s)
        self.ended = self._tally.ended

    @property
    def secrets(self) -> Secrets:
        """The key ring and signer in force."""
        return self._secrets()

    def _ring(self) -> KeyRing:
        return self._secrets().ring

    # -- start -------------------------------------------------------------------------------------------------

    async def start(self, caller: Caller, command: StartCommand, replay: Replay | None = None) -> Verification:
        """
        Start a verification: its SMS is queued durably when this returns (invariant 6).

        Where ownership is asked before the code, that question is what is queued; it is asked at once, within the
        inline deadline.

        Raises InvalidRequest for a magic number of a live key, ProofRequired, RateLimited, IdempotencyKeyReused,
        Unavailable, StoreUnavailable.
        """
        ring = self.secrets.ring
        purpose, phone = command.purpose, command.phone_number
        shard = ring.shard(phone)
        verification_id = ring.new_id(shard)
        if is_magic(phone) and not (caller.test or self._demo):
            raise InvalidRequest(FieldError("phone_number", "test_number"))
        gate = self._proofs.gate(caller, command, repeatable=replay is not None)
        _, block = self._allowances.address(command.end_user_ip)
        fields = record_fields(ring, caller, verification_id, command, ask_after_ms=self._ask_after_ms)
        answer = await self.store.start(
            NewVerification(
                id=verification_id, shard=shard, client=caller.tenant, purpose=purpose.name,
                phone_names=phone_names(ring, caller, phone, verification_id),
                group=send_group(purpose, caller), block=block,
                life_ms=purpose.life_s * 1000, code_ms=purpose.code.validity_s * 1000,
                fields=fields, extra=sealed_extra(ring, verification_id, command),
                links=seal_links(ring, verification_id, command.links), gate=gate,
                before=self._before(purpose) if purpose.asks_before else None,
            ),
            self._allowances.sends(caller, purpose, phone, command.end_user_ip),
            replay,
        )
        self._tally.decisions(answer.decisions)
        match answer.outcome:
            case "ok":
                self._metrics.verification_started(purpose.name)
                if answer.older:
                    self._tally.ended(purpose.name, answer.older, "", 0)
                if purpose.asks_before:
                    return await self._asked_inline(shard, answer, caller, command, fields)
                return fresh(answer, caller, command, self._allowances.cooldown_ms(phone))
            case "replay":
                return to_verification(ring, answer.id, answer.record, answer.now_ms)
            case "refused":
                raise refusal_of(answer.decisions)
            case "proof":
                raise self._proofs.required(caller, command)
            case "reused":
                raise IdempotencyKeyReused
            case _:
                raise Unavailable

    def _before(self, purpose: Purpose) -> AskBefore:
        within_s = purpose.life_s if purpose.assisted else purpose.ownership_timeout_s
        return AskBefore(within_s * 1000, self._ask_after_ms)

    async def _asked_inline(
        self, shard: int, answer: Answer, caller: Caller, command: StartCommand, fields: list[Any],
    ) -> Verification:
        """Ask who owns the SIM right after the start; the worker asks where that comes to nothing."""
        sealed = dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            return await self._ownership.take(
                shard, answer.id, sealed["I"], sealed["P"], deadline_s=self._inline_deadline_s,
            )
        except StoreUnavailable:
            # What was acknowledged stands: the question is queued.
            return fresh(answer, caller, command, 0)

    # -- resend ------------------------------------------------------------------------------------------------

    async def resend(self, caller: Caller, verification_id: str, replay: Replay | None = None) -> Verification:
        """
        Queue a new code ("Gửi lại OTP"); the attempt budget stays.

        Raises NotFound, AlreadyFinal, SendsExhausted, ResendTooSoon, RateLimited, IdempotencyKeyReused, Unavailable.
        """
        ring = self.secrets.ring
        shard = self._shard(ring, verification_id)
        nonce = replay.name + replay.body if replay else token_urlsafe(16)
        _, block = self._allowances.address(caller.address)
        for _ in range(_MAX_STALE_READS):
            seen = await self._view(caller, shard, verification_id)
            purpose = self._purpose(seen.purpose)
            number = seen.send_number + 1
            fixed = magic_code(seen.phone_number, seen.code_length, test=caller.test)
            code = fixed or derive_code(ring, verification_id, number, seen.code_length)
            answer = await self.store.resend(
                shard, verification_id, caller.tenant, nonce=nonce, replay=replay, send_number=number,
                digest=code_digest(ring, verification_id, code), grace_ms=purpose.code.previous_code_grace_s * 1000,
                block=block, limits=self._allowances.sends(caller, purpose, seen.phone_number, caller.address),
            )
            if answer.outcome != "stale":
                break
        self._tally.decisions(answer.decisions)
        match answer.outcome:
            case "ok" | "replay":
                return to_verification(ring, verification_id, answer.record, answer.now_ms)
            case "not_found":
                raise NotFound
            case "final":
                raise self._final(ring, verification_id, answer)
            case "exhausted":
                raise SendsExhausted(expires_at=iso(int(answer.record[b"e"])))
            case "refused":
                raise refusal_of(answer.decisions, cooldown=ResendTooSoon)
            case "reused":
                raise IdempotencyKeyReused
            case _:
                raise Unavailable

    # -- check -------------------------------------------------------------------------------------------------

    async def check(
        self, caller: Caller, verification_id: str, code: str, replay: Replay | None = None,
    ) -> Verification:
        """
        Evaluate a guess; a right one goes on to the ownership check, inline within its deadline.

        Raises NotFound, AlreadyFinal, Locked, CodeExpired, InvalidRequest for another number of digits, GuessTooSoon,
        RateLimited, WrongCode, IdempotencyKeyReused.
        """
        ring = self.secrets.ring
        shard = self._shard(ring, verification_id)
        answer = await self.store.check(
            shard, verification_id, caller.tenant, nonce=replay.name + replay.body if replay else token_urlsafe(16),
            replay=replay, digest=code_digest(ring, verification_id, code), length=len(code),
            address=self._allowances.guesses(caller.address),
        )
        self._tally.decisions(answer.decisions)
        if answer.outcome == "ok":
            self._metrics.attempt(answer.record[b"u"].decode(), "right")
            return await self._proven(ring, shard, verification_id, answer)
        if answer.outcome == "replay":
            # The reply to a right guess was lost: go on where it stood, so that nobody waits for the worker.
            return await self._proven(ring, shard, verification_id, answer)
        raise self._wrong(ring, verification_id, answer)

    async def _proven(self, ring: KeyRing, shard: int, verification_id: str, answer: Answer) -> Verification:
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        # What a source has answered once, even by an error, is the worker's: repeating the call asks nobody again.
        if verification.status is not Status.CHECKING_OWNERSHIP or b"w" in answer.record:
            if answer.ended:
                self._tally.finished(verification)
            return verification
        try:
            return await self._ownership.take(
                shard, verification_id, answer.record[b"I"], answer.record[b"P"], deadline_s=self._inline_deadline_s,
            )
        except StoreUnavailable:
            # The guess is written and the job is queued: the worker settles it, nothing is lost.
            return verification

    def _wrong(self, ring: KeyRing, verification_id: str, answer: Answer) -> Refusal:
        record = answer.record
        refusal: Refusal
        match answer.outcome:
            case "wrong":
                label, refusal = "wrong", WrongCode(attempts_left=answer.number, send_number=int(record[b"n"]))
            case "locked_now":
                label, refusal = "wrong", Locked()
                self._metrics.verification_finished(
                    record[b"u"].decode(), Status.LOCKED, None, (answer.now_ms - int(record[b"b"])) / 1000,
                )
            case "locked":
                label, refusal = "locked", Locked()
            case "expired":
                seen = to_verification(ring, verification_id, record, answer.now_ms)
                resend_at = iso(seen.resend_at_ms) if seen.resend_at_ms else None
                label, refusal = "expired", CodeExpired(resend_at=resend_at, sends_left=seen.sends_left)
            case "too_soon":
                self._metrics.limit_decision(PHONE_FAILURES.name, State.REFUSED, None)
                label, refusal = "too_soon", GuessTooSoon(retry_after_s=whole_seconds(answer.number))
            case "refused":
                label, refusal = "too_soon", refusal_of(answer.decisions)
            case "final":
                label, refusal = "final", self._final(ring, verification_id, answer)
            case "malformed":
                return InvalidRequest(FieldError("code", "code_malformed"))
            case "reused":
                return IdempotencyKeyReused()
            case _:
                return NotFound()
        self._metrics.attempt(record[b"u"].decode(), label)
        return refusal

    # -- get, cancel -----------------------------------------------------------------------------------------

    async def get(self, caller: Caller, verification_id: str) -> Verification:
        """Read a verification as it stands by now; changes nothing.  Raises NotFound."""
        return await self._view(caller, self._shard(self.secrets.ring, verification_id), verification_id)

    async def view(self, caller: Caller, verification_id: str) -> tuple[Verification, Links]:
        """Read a verification with where it leads; changes nothing.  Raises NotFound."""
        ring = self.secrets.ring
        shard = self._shard(ring, verification_id)
        answer, reason = await self.store.read_with_links(shard, verification_id, caller.tenant)
        if not answer.record:
            raise NotFound
        verification = to_verification(
            ring, verification_id, answer.record, answer.now_ms, status=answer.outcome, reason=reason,
        )
        return verification, open_links(ring, verification_id, answer.extra)

    async def cancel(self, caller: Caller, verification_id: str) -> Verification:
        """Cancel a live verification.  Raises NotFound, AlreadyFinal."""
        ring = self.secrets.ring
        answer = await self.store.cancel(self._shard(ring, verification_id), verification_id, caller.tenant)
        if answer.outcome == "not_found":
            raise NotFound
        if answer.outcome == "final":
            raise self._final(ring, verification_id, answer)
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        if answer.ended:
            self._tally.finished(verification)
        return verification

    # -- shared ------------------------------------------------------------------------------------------------

    async def _view(self, caller: Caller, shard: int, verification_id: str) -> Verification:
        answer, reason = await self.store.read(shard, verification_id, caller.tenant)
        if not answer.record:
            raise NotFound
        return to_verification(
            self.secrets.ring, verification_id, answer.record, answer.now_ms, status=answer.outcome, reason=reason,
        )

    @staticmethod
    def _shard(ring: KeyRing, verification_id: str) -> int:
        shard = ring.parse_id(verification_id)
        if shard is None:
            raise NotFound
        return shard

    def _purpose(self, name: str) -> Purpose:
        # A purpose taken out of the configuration still serves what was started under it.
        return self.purposes.get(name) or Purpose(name)

    def _final(self, ring: KeyRing, verification_id: str, answer: Answer) -> AlreadyFinal:
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        if answer.ended:
            self._tally.finished(verification)
        return AlreadyFinal(verification.status.value)
