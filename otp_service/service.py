"""
The use cases: the only module that knows the order of steps.

Each call is one transition in the store, with what must be derived before it and told after it.  Handlers and the
worker come in here; nothing above knows scripts, nothing below knows what comes next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from secrets import token_urlsafe
from typing import Any

from otp_service.core import limits as names
from otp_service.core.client import Client
from otp_service.core.codes import code_digest, derive_code
from otp_service.core.errors import (
    AlreadyFinal,
    AlreadyRedeemed,
    ClaimsMismatch,
    CodeExpired,
    FieldError,
    GuessTooSoon,
    IdempotencyKeyReused,
    InvalidRequest,
    Locked,
    NotFound,
    NotVerified,
    RateLimited,
    Refusal,
    ResendTooSoon,
    SendsExhausted,
    StoreUnavailable,
    Unavailable,
    WrongCode,
)
from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.keyring import KeyRing
from otp_service.core.limits import PERSONAL, Decision, LimitBook, State
from otp_service.core.ports import OwnershipSource
from otp_service.core.result_token import Signer, TokenInvalid, claims_of
from otp_service.core.times import iso
from otp_service.core.verification import (
    REASON_CODES,
    STATUS_CODES,
    Delivery,
    Ownership,
    Purpose,
    Status,
    Verification,
)
from otp_service.storage import keys
from otp_service.storage.records import (
    EXTRA_PLACE,
    ID_PLACE,
    OUTCOME_CODES,
    PHONE_PLACE,
    TEST_SUFFIX,
    to_verification,
)
from otp_service.storage.store import Answer, NewVerification, Replay, SendLimits, Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

#: A phone's or ID number's limit tells its time only this roughly, so that nobody reads another's activity.
_PERSONAL_ROUNDING_S = 600
#: Behind the inline deadline, before the worker asks: the inline call and the worker never both ask.
_ASK_MARGIN_S = 2.0
_MAX_STALE_READS = 4

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who calls.

    Attributes:
        client: the portal.
        test: whether the key is a test key.
        address: a browser's address; None for a portal's back end, whose own address means nothing.
    """

    client: Client
    test: bool = False
    address: str | None = None

    @property
    def tenant(self) -> str:
        """The name the store knows: what test keys make is another tenant's."""
        return self.client.name + TEST_SUFFIX if self.test else self.client.name


@dataclass(frozen=True, slots=True)
class StartCommand:
    """A start with every field validated: E.164 phone, digits-only ID numbers, ISO birth date."""

    purpose: Purpose
    phone_number: str = field(repr=False)
    id_number: str | None = field(default=None, repr=False)
    previous_id_number: str | None = field(default=None, repr=False)
    full_name: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    end_user_ip: str | None = None
    reference: str | None = None
    locale: str = "vi"
    consent: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is derived and signed with; replaced as a whole when keys rotate."""

    ring: KeyRing
    signer: Signer


class VerificationService:
    """
    Starts, resends, checks, reads, cancels and redeems verifications, and asks who owns the SIM.

    Args:
        store: the transitions.
        secrets: returns the key ring and signer in force.
        limit_book: every limit with its overrides.
        purposes: the policies by name.
        source: answers who owns a SIM.
        metrics: what operations watch.
        issuer: the token's ``iss``.
        inline_deadline_s: how long a check waits for the source before the worker takes over.
        ask_backoff_s: after a source's error, the first wait; it doubles up to sixteen times that.
    """

    def __init__(
        self, store: Store, *, secrets: Callable[[], Secrets], limit_book: LimitBook,
        purposes: Mapping[str, Purpose], source: OwnershipSource, metrics: Metrics, issuer: str,
        inline_deadline_s: float = 3.0, ask_backoff_s: float = 2.0,
    ) -> None:
        self.store = store
        self.purposes = purposes
        self.issuer = issuer
        self._secrets = secrets
        self._book = limit_book
        self._source = source
        self._metrics = metrics
        self._inline_deadline_s = inline_deadline_s
        self._ask_backoff_ms = round(ask_backoff_s * 1000)
        self._address_names = lru_cache(maxsize=65_536)(self._name_address)

    @property
    def secrets(self) -> Secrets:
        """The key ring and signer in force."""
        return self._secrets()

    # -- start -------------------------------------------------------------------------------------------------

    async def start(self, caller: Caller, command: StartCommand, replay: Replay | None = None) -> Verification:
        """
        Start a verification: its SMS is queued durably when this returns (invariant 6).

        Raises RateLimited, IdempotencyKeyReused, Unavailable, StoreUnavailable.
        """
        ring = self.secrets.ring
        purpose, phone = command.purpose, command.phone_number
        shard = ring.shard(phone)
        verification_id = ring.new_id(shard)
        address, block = self._address_names(command.end_user_ip)
        answer = await self.store.start(
            NewVerification(
                id=verification_id, shard=shard, client=caller.tenant, purpose=purpose.name,
                phone_names=ring.names("phone", phone), group=_group(purpose, caller), block=block,
                life_ms=purpose.life_s * 1000, code_ms=purpose.code.validity_s * 1000,
                fields=self._fields(ring, verification_id, command),
                extra=_sealed_extra(ring, verification_id, command),
            ),
            self._send_limits(caller, purpose, phone, command.end_user_ip, address),
            replay,
        )
        self._count(answer.decisions)
        match answer.outcome:
            case "ok":
                self._metrics.verification_started(purpose.name)
                if answer.ended:
                    self._metrics.verification_finished(purpose.name, STATUS_CODES[answer.ended], None, 0.0)
                return _fresh(answer, caller, command, self._book.get(names.PHONE_COOLDOWN, phone).period_s)
            case "replay":
                return to_verification(ring, answer.id, answer.record, answer.now_ms)
            case "refused":
                raise _refusal(answer.decisions)
            case "reused":
                raise IdempotencyKeyReused
            case _:
                raise Unavailable

    def _fields(self, ring: KeyRing, verification_id: str, command: StartCommand) -> list[Any]:
        purpose, policy = command.purpose, command.purpose.code
        code = derive_code(ring, verification_id, 1, policy.length)
        fields: list[Any] = [
            "l", command.locale, "S", purpose.max_resends + 1, "m", purpose.max_attempts, "cl", policy.length,
            "P", ring.seal(verification_id, PHONE_PLACE, command.phone_number),
            "d", code_digest(ring, verification_id, code),
        ]
        if command.reference is not None:
            fields += ("r", command.reference)
        if command.id_number is not None:
            ids = ",".join(filter(None, (command.id_number, command.previous_id_number)))
            fields += ("I", ring.seal(verification_id, ID_PLACE, ids))
            fields += ("i", _id_digest(ring, verification_id, command.id_number))
        if purpose.checks_ownership:
            fields += (
                "o", 1, "ot", purpose.ownership_timeout_s * 1000,
                "od", round((self._inline_deadline_s + _ASK_MARGIN_S) * 1000),
            )
        if purpose.assisted:
            fields += ("A", 1)
        return fields

    # -- resend ------------------------------------------------------------------------------------------------

    async def resend(self, caller: Caller, verification_id: str, replay: Replay | None = None) -> Verification:
        """
        Queue a new code ("Gửi lại OTP"); the attempt budget stays.

        Raises NotFound, AlreadyFinal, SendsExhausted, ResendTooSoon, RateLimited, IdempotencyKeyReused, Unavailable.
        """
        ring = self.secrets.ring
        shard = self._shard(ring, verification_id)
        nonce = replay.name + replay.body if replay else token_urlsafe(16)
        address, block = self._address_names(caller.address)
        for _ in range(_MAX_STALE_READS):
            seen = await self._view(caller, shard, verification_id)
            purpose = self._purpose(seen.purpose)
            number = seen.send_number + 1
            code = derive_code(ring, verification_id, number, seen.code_length)
            answer = await self.store.resend(
                shard, verification_id, caller.tenant, nonce=nonce, replay=replay, send_number=number,
                digest=code_digest(ring, verification_id, code), grace_ms=purpose.code.previous_code_grace_s * 1000,
                block=block, limits=self._send_limits(caller, purpose, seen.phone_number, caller.address, address),
            )
            if answer.outcome != "stale":
                break
        self._count(answer.decisions)
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
                raise _refusal(answer.decisions, cooldown=ResendTooSoon)
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

        Raises NotFound, AlreadyFinal, Locked, CodeExpired, GuessTooSoon, RateLimited, WrongCode, IdempotencyKeyReused.
        """
        ring = self.secrets.ring
        shard = self._shard(ring, verification_id)
        guesses = None
        if caller.address is not None:
            name, _ = self._address_names(caller.address)
            guesses = (name, self._book.get(names.ADDRESS_GUESSES, caller.address))
        answer = await self.store.check(
            shard, verification_id, caller.tenant, nonce=replay.name + replay.body if replay else token_urlsafe(16),
            replay=replay, digest=code_digest(ring, verification_id, code), address=guesses,
        )
        self._count(answer.decisions)
        if answer.outcome == "ok":
            self._metrics.attempt(answer.record[b"u"].decode(), "right")
            return await self._proven(ring, shard, verification_id, answer)
        if answer.outcome == "replay":
            return to_verification(ring, verification_id, answer.record, answer.now_ms)
        raise self._wrong(ring, verification_id, answer)

    async def _proven(self, ring: KeyRing, shard: int, verification_id: str, answer: Answer) -> Verification:
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        if verification.status is not Status.CHECKING_OWNERSHIP:
            self._finished(verification)
            return verification
        try:
            return await self.ask_ownership(shard, verification_id, answer.record[b"I"], answer.record[b"P"])
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
                self._metrics.limit_decision(names.PHONE_FAILURES.name, State.REFUSED, None)
                label, refusal = "too_soon", GuessTooSoon(retry_after_s=_seconds(answer.number))
            case "refused":
                label, refusal = "too_soon", _refusal(answer.decisions)
            case "final":
                label, refusal = "final", self._final(ring, verification_id, answer)
            case "reused":
                return IdempotencyKeyReused()
            case _:
                return NotFound()
        self._metrics.attempt(record[b"u"].decode(), label)
        return refusal

    # -- ownership ---------------------------------------------------------------------------------------------

    async def ask_ownership(
        self, shard: int, verification_id: str, sealed_ids: bytes, sealed_phone: bytes,
    ) -> Verification:
        """
        Ask the source who owns the SIM and settle the answer; safe to call again at any point.

        The limits are spent first; refused, no source is asked.  A source in error never matches (invariant 8).
        """
        ring = self.secrets.ring
        id_numbers = tuple(ring.unseal(verification_id, ID_PLACE, sealed_ids).split(","))
        phone = ring.unseal(verification_id, PHONE_PLACE, sealed_phone)
        id_shard = ring.shard(id_numbers[0])
        id_keys = [keys.id_number(id_shard, name) for name in ring.names("id_number", id_numbers[0])]
        phone_limit = self._book.get(names.PHONE_OWNERSHIP_CHECKS, phone)
        id_limit = self._book.get(names.ID_OWNERSHIP_CHECKS)
        answer = await self.store.ask(shard, verification_id, id_keys, (phone_limit, id_limit))
        self._count(answer.decisions)
        if answer.outcome != "go":
            return self._settled(ring, verification_id, answer)
        evidence, seconds = await self._ask_source(ring, verification_id, answer.extra, phone, id_numbers)
        self._metrics.ownership_check(evidence.source, evidence.outcome, seconds)
        settled = await self.store.settle(
            shard, verification_id, id_keys, outcome=OUTCOME_CODES[evidence.outcome], source=evidence.source,
            assurance=evidence.assurance or "", backoff_ms=self._ask_backoff_ms,
        )
        _log.info(
            "ownership", verification_id=verification_id, source=evidence.source, outcome=evidence.outcome.value,
            note=evidence.note, settled=settled.outcome, duration_ms=round(seconds * 1000, 1),
        )
        return self._settled(ring, verification_id, settled)

    async def _ask_source(
        self, ring: KeyRing, verification_id: str, sealed_extra: bytes, phone: str, id_numbers: tuple[str, ...],
    ) -> tuple[Evidence, float]:
        extra = json.loads(ring.unseal(verification_id, EXTRA_PLACE, sealed_extra)) if sealed_extra else {}
        question = OwnershipQuestion(
            phone_number=phone, id_numbers=id_numbers, full_name=extra.get("full_name"),
            birth_date=extra.get("birth_date"), reference=verification_id,
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._inline_deadline_s):
                evidence = await self._source.ask(question)
        except TimeoutError:
            evidence = Evidence(OwnershipOutcome.ERROR, self._source.name, note="timeout")
        except Exception as error:  # noqa: BLE001 - whatever a source raises is "no answer", never a match
            _log.warning("ownership source failed", source=self._source.name, error=type(error).__name__)
            evidence = Evidence(OwnershipOutcome.ERROR, self._source.name, note="exception")
        return evidence, loop.time() - began

    def _settled(self, ring: KeyRing, verification_id: str, answer: Answer) -> Verification:
        if not answer.record:
            raise NotFound
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        self._finished(verification)
        return verification

    # -- get, cancel, redeem -----------------------------------------------------------------------------------

    async def get(self, caller: Caller, verification_id: str) -> Verification:
        """Read a verification as it stands by now; changes nothing.  Raises NotFound."""
        return await self._view(caller, self._shard(self.secrets.ring, verification_id), verification_id)

    async def cancel(self, caller: Caller, verification_id: str) -> Verification:
        """Cancel a live verification.  Raises NotFound, AlreadyFinal."""
        ring = self.secrets.ring
        answer = await self.store.cancel(self._shard(ring, verification_id), verification_id, caller.tenant)
        if answer.outcome == "not_found":
            raise NotFound
        if answer.outcome == "final":
            raise self._final(ring, verification_id, answer)
        return self._settled(ring, verification_id, answer)

    def token(self, verification: Verification) -> str | None:
        """Sign the verdict; None while there is none.  The claims are as of the store's clock."""
        if verification.status not in {Status.VERIFIED, Status.REJECTED}:
            return None
        return self.secrets.signer.sign(claims_of(verification, issuer=self.issuer), test=verification.test)

    async def redeem(
        self, caller: Caller, token: str, *, phone_number: str | None, id_number: str | None,
        replay: Replay | None = None,
    ) -> dict[str, Any]:
        """
        Redeem a verdict, once, for the phone and person the portal expects; returns its claims.

        Raises InvalidRequest, NotFound, NotVerified, AlreadyRedeemed, ClaimsMismatch, IdempotencyKeyReused.
        """
        secrets = self.secrets
        try:
            claims = secrets.signer.read(token, test=caller.test)
        except TokenInvalid as error:
            raise InvalidRequest(FieldError("token", "token_invalid")) from error
        if claims["aud"] != caller.client.name:
            raise NotFound
        verification_id = str(claims["sub"])
        shard = self._shard(secrets.ring, verification_id)
        answer = await self.store.redeem(
            shard, verification_id, caller.tenant, replay=replay,
            nonce=replay.name + replay.body if replay else token_urlsafe(16),
            id_digest=_id_digest(secrets.ring, verification_id, id_number) if id_number else b"",
            phone_agrees=phone_number is None or phone_number == claims["phone_number"],
            token_expires_ms=claims["exp"] * 1000,
        )
        match answer.outcome:
            case "ok" | "replay":
                verification = to_verification(secrets.ring, verification_id, answer.record, answer.now_ms)
                return claims_of(verification, issuer=self.issuer)
            case "not_verified":
                raise NotVerified(claims)
            case "already":
                raise AlreadyRedeemed
            case "mismatch":
                raise ClaimsMismatch
            case "id_required":
                raise InvalidRequest(FieldError("expect.id_number", "missing"))
            case "expired":
                raise InvalidRequest(FieldError("token", "token_expired"))
            case "reused":
                raise IdempotencyKeyReused
            case _:
                raise NotFound

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
        self._finished(verification)
        return AlreadyFinal(verification.status.value)

    def _finished(self, verification: Verification) -> None:
        """Count a verification in the call that ended it, and in no other."""
        if verification.finished_at_ms == verification.now_ms:
            self._metrics.verification_finished(
                verification.purpose, verification.status, verification.reason,
                (verification.now_ms - verification.created_at_ms) / 1000,
            )

    def ended(self, purpose: str, status: str, reason: str, age_ms: int) -> None:
        """Count a verification that the worker ended at its deadline; letters as the store has them."""
        why = REASON_CODES[reason] if reason else None
        self._metrics.verification_finished(purpose, STATUS_CODES[status], why, age_ms / 1000)

    def _count(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self._metrics.limit_decision(decision.limit.name, decision.state, decision.fill)

    def _name_address(self, address: str | None) -> tuple[str, str]:
        """Return the names of an address and of its block, both empty without an address."""
        if address is None:
            return "", ""
        ring, parsed = self.secrets.ring, ip_address(address)
        return (
            ring.address_name(names.address_subject(parsed)), ring.address_name(names.address_block(parsed)),
        )

    def _send_limits(
        self, caller: Caller, purpose: Purpose, phone: str, address: str | None, address_name: str,
    ) -> SendLimits:
        book, tenant = self._book, caller.tenant
        sends = names.PHONE_ASSISTED_SENDS if purpose.assisted else names.PHONE_SENDS
        return SendLimits(
            cooldown=book.get(names.PHONE_COOLDOWN, phone),
            sends=book.get(sends, phone),
            block=None if purpose.assisted else book.get(names.PHONE_BLOCK_SENDS, phone),
            total=book.get(names.PHONE_SENDS_TOTAL, phone),
            failures=book.get(names.PHONE_FAILURES),
            address=(address_name, book.get(names.ADDRESS_SENDS, address)) if address else None,
            client=(tenant, book.get(names.CLIENT_SENDS, caller.client.name)),
            service=book.get(names.SERVICE_SENDS),
        )


def _group(purpose: Purpose, caller: Caller) -> str:
    """Whose allowance a send counts against: the client's on this phone, or the assisted purposes' own."""
    return "a" if purpose.assisted else f"s:{caller.tenant}"


def _id_digest(ring: KeyRing, verification_id: str, id_number: str) -> bytes:
    return ring.digest(verification_id, "id_number", id_number)


def _sealed_extra(ring: KeyRing, verification_id: str, command: StartCommand) -> bytes:
    extra = {
        name: value
        for name, value in (
            ("full_name", command.full_name), ("birth_date", command.birth_date), ("consent", command.consent),
        )
        if value is not None
    }
    return ring.seal(verification_id, EXTRA_PLACE, json.dumps(extra, ensure_ascii=False)) if extra else b""


def _fresh(answer: Answer, caller: Caller, command: StartCommand, cooldown_s: float) -> Verification:
    """Return what has just been started, without reading it back."""
    purpose, now_ms = command.purpose, answer.now_ms
    return Verification(
        id=answer.id, client=caller.client.name, purpose=purpose.name, status=Status.PENDING, reason=None,
        locale=command.locale, reference=command.reference, phone_number=command.phone_number, test=caller.test,
        code_length=purpose.code.length, send_number=1, created_at_ms=now_ms,
        expires_at_ms=now_ms + purpose.life_s * 1000, code_expires_at_ms=now_ms + purpose.code.validity_s * 1000,
        resend_at_ms=now_ms + round(cooldown_s * 1000) if purpose.max_resends else None,
        sends_left=purpose.max_resends, attempts_left=purpose.max_attempts, delivery=Delivery.QUEUED,
        ownership=Ownership(), finished_at_ms=None, now_ms=now_ms,
    )


def _refusal(decisions: Sequence[Decision], cooldown: type[Refusal] | None = None) -> Refusal:
    """Tell the refusal that lasts longest, so that nobody comes back in vain."""
    refused = [decision for decision in decisions if decision.state is State.REFUSED]
    worst = max(refused, key=lambda decision: decision.retry_after_ms)
    seconds = _seconds(worst.retry_after_ms)
    if worst.limit.kind is names.PHONE_COOLDOWN:
        return cooldown(retry_after_s=seconds) if cooldown else RateLimited(limit="person", retry_after_s=seconds)
    if worst.limit.kind.subject in PERSONAL:
        rounded = -(-seconds // _PERSONAL_ROUNDING_S) * _PERSONAL_ROUNDING_S
        return RateLimited(limit="person", retry_after_s=rounded)
    headers = {"RateLimit": worst.header, "RateLimit-Policy": worst.limit.policy}
    return RateLimited(limit=worst.limit.name, retry_after_s=seconds, headers=headers)


def _seconds(ms: int) -> int:
    return max(1, -(-ms // 1000))
