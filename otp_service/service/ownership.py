"""The ownership step: spend its limits, ask who knows, settle what was said; or what an official has read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Protocol

from otp_service.core.codes import code_digest, derive_code
from otp_service.core.errors import NotFound
from otp_service.core.evidence import (
    ComparedField,
    Evidence,
    OwnershipOutcome,
    OwnershipQuestion,
    SimSwapEffect,
    judged,
)
from otp_service.core.keyring import KeyRing
from otp_service.core.limits import (
    ID_OWNERSHIP_CHECKS,
    PHONE_COOLDOWN,
    PHONE_OWNERSHIP_CHECKS,
    LimitBook,
    Mode,
    State,
    exempt,
)
from otp_service.core.magic_numbers import is_magic, magic_code
from otp_service.core.verification import Purpose, Verification
from otp_service.service.tally import Tally
from otp_service.storage import keys
from otp_service.storage.calls import Answer, Attested, FirstCode, Replay, Settlement
from otp_service.storage.records import (
    EXTRA_PLACE,
    ID_PLACE,
    OUTCOME_CODES,
    PHONE_PLACE,
    RISK_CODE,
    TEST_SUFFIX,
    Record,
    to_verification,
)
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_log = get_logger()


class Inquirer(Protocol):
    """Asks whoever may know; ``inquiry/chain.py`` is one."""

    async def ask(self, question: OwnershipQuestion, *, deadline_s: float) -> Evidence:
        """Answer within ``deadline_s``; what sources fail in is ``Evidence(ERROR)``, never raised."""


class OwnershipStep:
    """
    Asks who owns a SIM; the check does it inline, the worker where that came to nothing.

    Args:
        store: the transitions.
        ring: returns the key ring in force.
        limit_book: the limits of ownership checks.
        purposes: the policies by name.
        inquirer: asks the sources.
        metrics: what operations watch.
        backoff_s: after an error, the first wait; it doubles up to sixteen times that.
    """

    def __init__(
        self, store: Store, *, ring: Callable[[], KeyRing], limit_book: LimitBook, purposes: Mapping[str, Purpose],
        inquirer: Inquirer, metrics: Metrics, backoff_s: float,
    ) -> None:
        self._store = store
        self._ring = ring
        self._book = limit_book
        self._purposes = purposes
        self._inquirer = inquirer
        self._metrics = metrics
        self._tally = Tally(metrics)
        self._backoff_ms = round(backoff_s * 1000)

    async def take(
        self, shard: int, verification_id: str, sealed_ids: bytes, sealed_phone: bytes, *, deadline_s: float,
    ) -> Verification:
        """
        Ask and settle the answer; safe to call again at any point.

        The limits are spent first; refused, no source is asked.  A source in error never matches (invariant 8).
        Raises NotFound when the verification is gone, StoreUnavailable.
        """
        ring = self._ring()
        id_numbers = tuple(ring.unseal(verification_id, ID_PLACE, sealed_ids).split(","))
        phone = ring.unseal(verification_id, PHONE_PLACE, sealed_phone)
        id_keys = _id_keys(ring, id_numbers)
        limits = self._book.get(PHONE_OWNERSHIP_CHECKS, phone), self._book.get(ID_OWNERSHIP_CHECKS)
        if is_magic(phone):
            limits = exempt(limits[0]), exempt(limits[1])
        answer = await self._store.ask(shard, verification_id, id_keys, limits, len(ring.ids))
        self._tally.decisions(answer.decisions)
        if answer.outcome != "go":
            if answer.outcome == "refused":
                refused = [decision.limit.name for decision in answer.decisions if decision.state is State.REFUSED]
                _log.info("ownership", verification_id=verification_id, outcome="refused", limit=",".join(refused))
            return self._seen(ring, verification_id, answer)
        purpose = self._purpose(answer.record)
        evidence = _answered_before(answer.record) or await self._ask(
            purpose, _question(ring, verification_id, answer, purpose, phone, id_numbers), deadline_s,
        )
        settled = await self._settle(shard, verification_id, id_keys, answer.record, phone, evidence)
        self._tell(verification_id, purpose, evidence, settled)
        return self._seen(ring, verification_id, settled)

    async def attest(
        self, shard: int, verification_id: str, answer: Answer, evidence: Evidence, *, nonce: str,
        replay: Replay | None,
    ) -> Answer:
        """
        Settle what an official has read about a verification that has been read.

        ``evidence`` is as the purpose judges it (:meth:`judged`).  It never overrides what a source has said; see
        ``scripts/settle.lua`` for the outcomes.  Raises StoreUnavailable.
        """
        ring, record = self._ring(), answer.record
        phone = ring.unseal(verification_id, PHONE_PLACE, record[b"P"])
        purpose = self._purpose(record)
        settled = await self._settle(
            shard, verification_id, [], record, phone, evidence, attested=Attested(nonce, replay),
        )
        if settled.ended:
            self._tally.finished(to_verification(ring, verification_id, settled.record, settled.now_ms))
        if settled.outcome != "replay":
            self._metrics.ownership_check(evidence.source, evidence.outcome)
            self._tell(verification_id, purpose, evidence, settled)
        return settled

    def judged(self, answer: Answer, evidence: Evidence) -> Evidence:
        """Return what the purpose of a verification that has been read makes of evidence."""
        return judged(evidence, self._purpose(answer.record).evidence)

    def question(self, verification_id: str, answer: Answer) -> OwnershipQuestion:
        """Return what is asked about a verification that has been read with its extra."""
        ring, record = self._ring(), answer.record
        phone = ring.unseal(verification_id, PHONE_PLACE, record[b"P"])
        id_numbers = tuple(ring.unseal(verification_id, ID_PLACE, record[b"I"]).split(","))
        return _question(ring, verification_id, answer, self._purpose(record), phone, id_numbers)

    async def _ask(self, purpose: Purpose, question: OwnershipQuestion, deadline_s: float) -> Evidence:
        if purpose.consent_required and question.consent is None:
            # The purpose asks for consent only since this verification was started.
            return Evidence(OwnershipOutcome.ERROR, "", note="no_consent")
        return judged(await self._inquirer.ask(question, deadline_s=deadline_s), purpose.evidence)

    async def _settle(
        self, shard: int, verification_id: str, id_keys: list[str], record: Record, phone: str, evidence: Evidence,
        *, attested: Attested | None = None,
    ) -> Answer:
        refused = (
            evidence.outcome is OwnershipOutcome.MATCH and evidence.sim_swapped is True
            and self._purpose(record).evidence.sim_swap is SimSwapEffect.REJECT
        )
        return await self._store.settle(shard, verification_id, id_keys, Settlement(
            outcome=RISK_CODE if refused else OUTCOME_CODES[evidence.outcome], source=evidence.source,
            assurance=evidence.assurance or "", backoff_ms=self._backoff_ms,
            alone_ms=round((evidence.retry_after_s or 0) * 1000), sim_swapped=evidence.sim_swapped is True,
            attested=attested, first_code=self._first_code(verification_id, record, phone),
        ))

    def _first_code(self, verification_id: str, record: Record, phone: str) -> FirstCode | None:
        """Return the code that a match sends, where none was made yet."""
        if record.get(b"bf") != b"w":
            return None
        ring, length = self._ring(), int(record[b"cl"])
        fixed = magic_code(phone, length, test=_is_test(record))
        cooldown = self._book.get(PHONE_COOLDOWN, phone)
        return FirstCode(
            digest=code_digest(ring, verification_id, fixed or derive_code(ring, verification_id, 1, length)),
            cooldown_ms=0 if is_magic(phone) else cooldown.period_ms, enforced=cooldown.mode is Mode.ENFORCE,
        )

    def _tell(self, verification_id: str, purpose: Purpose, evidence: Evidence, settled: Answer) -> None:
        if evidence.sim_swapped is True:
            self._metrics.sim_swap(purpose.name, purpose.evidence.sim_swap)
        _log.info(
            "ownership", verification_id=verification_id, source=evidence.source, outcome=evidence.outcome.value,
            note=evidence.note, assurance=evidence.assurance, settled=settled.outcome,
            agrees=_fields(evidence, OwnershipOutcome.MATCH), differs=_fields(evidence, OwnershipOutcome.MISMATCH),
            sim_swapped=evidence.sim_swapped,
        )

    def _purpose(self, record: Record) -> Purpose:
        # A purpose taken out of the configuration still serves what was started under it.
        name = record[b"u"].decode()
        return self._purposes.get(name) or Purpose(name)

    def _seen(self, ring: KeyRing, verification_id: str, answer: Answer) -> Verification:
        if not answer.record:
            raise NotFound
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        if answer.ended:
            self._tally.finished(verification)
        return verification


def _question(
    ring: KeyRing, verification_id: str, answer: Answer, purpose: Purpose, phone: str, id_numbers: tuple[str, ...],
) -> OwnershipQuestion:
    extra = json.loads(ring.unseal(verification_id, EXTRA_PLACE, answer.extra)) if answer.extra else {}
    rules, record = purpose.evidence, answer.record
    return OwnershipQuestion(
        phone_number=phone, id_numbers=id_numbers, full_name=extra.get(ComparedField.FULL_NAME),
        birth_date=extra.get(ComparedField.BIRTH_DATE), reference=verification_id, purpose=purpose.name,
        test=_is_test(record), consent=record[b"cn"].decode() if b"cn" in record else None,
        sim_swap_max_age_h=None if rules.sim_swap is SimSwapEffect.IGNORE else rules.sim_swap_max_age_h,
        sim_swap_decides=rules.sim_swap is SimSwapEffect.REJECT, min_assurance=rules.min_assurance,
    )


def _answered_before(record: Record) -> Evidence | None:
    """Return the match that only waits for its code to be sent; see ``scripts/settle.lua``."""
    if record.get(b"w") != OUTCOME_CODES[OwnershipOutcome.MATCH].encode():
        return None
    return Evidence(
        OwnershipOutcome.MATCH, record[b"ws"].decode(), record[b"wa"].decode() or None, note="waited_to_send",
        sim_swapped=True if b"sw" in record else None,
    )


def _fields(evidence: Evidence, outcome: OwnershipOutcome) -> str | None:
    """Return the names of the fields that came to this, for the log."""
    return " ".join(sorted(field for field, found in evidence.fields.items() if found is outcome)) or None


def _id_keys(ring: KeyRing, id_numbers: tuple[str, ...]) -> list[str]:
    return [
        keys.id_number(ring.shard(number), name)
        for number in id_numbers for name in ring.names("id_number", number)
    ]


def _is_test(record: Record) -> bool:
    return record[b"c"].decode().endswith(TEST_SUFFIX)
