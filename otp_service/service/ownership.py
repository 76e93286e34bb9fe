"""The ownership step: spend its limits, ask the source, settle what it said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from otp_service.core.errors import NotFound
from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.keyring import KeyRing
from otp_service.core.limits import ID_OWNERSHIP_CHECKS, PHONE_OWNERSHIP_CHECKS, LimitBook, State, exempt
from otp_service.core.magic_numbers import is_magic
from otp_service.core.ports import OwnershipSource
from otp_service.core.verification import Verification
from otp_service.service.tally import Tally
from otp_service.storage import keys
from otp_service.storage.records import EXTRA_PLACE, ID_PLACE, OUTCOME_CODES, PHONE_PLACE, to_verification
from otp_service.storage.store import Answer, Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_log = get_logger()


class OwnershipStep:
    """
    Asks who owns a SIM; the check does it inline, the worker where that came to nothing.

    Args:
        store: the transitions.
        ring: returns the key ring in force.
        limit_book: the limits of ownership checks.
        source: answers who owns a SIM.
        metrics: what operations watch.
        deadline_s: how long a source may take.
        backoff_s: after an error, the first wait; it doubles up to sixteen times that.
    """

    def __init__(
        self, store: Store, *, ring: Callable[[], KeyRing], limit_book: LimitBook, source: OwnershipSource,
        metrics: Metrics, deadline_s: float, backoff_s: float,
    ) -> None:
        self._store = store
        self._ring = ring
        self._book = limit_book
        self._source = source
        self._metrics = metrics
        self._tally = Tally(metrics)
        self._deadline_s = deadline_s
        self._backoff_ms = round(backoff_s * 1000)

    async def take(
        self, shard: int, verification_id: str, sealed_ids: bytes, sealed_phone: bytes,
    ) -> Verification:
        """
        Ask the source and settle the answer; safe to call again at any point.

        The limits are spent first; refused, no source is asked.  A source in error never matches (invariant 8).
        Raises NotFound when the verification is gone, StoreUnavailable.
        """
        ring = self._ring()
        id_numbers = tuple(ring.unseal(verification_id, ID_PLACE, sealed_ids).split(","))
        phone = ring.unseal(verification_id, PHONE_PLACE, sealed_phone)
        id_keys = [
            keys.id_number(ring.shard(number), name)
            for number in id_numbers for name in ring.names("id_number", number)
        ]
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
        evidence, seconds = await self._ask(ring, verification_id, answer.extra, phone, id_numbers)
        self._metrics.ownership_check(evidence.source, evidence.outcome, seconds)
        settled = await self._store.settle(
            shard, verification_id, id_keys, outcome=OUTCOME_CODES[evidence.outcome], source=evidence.source,
            assurance=evidence.assurance or "", backoff_ms=self._backoff_ms,
        )
        _log.info(
            "ownership", verification_id=verification_id, source=evidence.source, outcome=evidence.outcome.value,
            note=evidence.note, settled=settled.outcome, duration_ms=round(seconds * 1000, 1),
        )
        return self._seen(ring, verification_id, settled)

    async def _ask(
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
            async with asyncio.timeout(self._deadline_s):
                evidence = await self._source.ask(question)
                if not isinstance(evidence, Evidence):
                    raise TypeError(f"{type(evidence).__name__} is no Evidence")  # noqa: TRY301 - handled as any failure
        except TimeoutError:
            evidence = Evidence(OwnershipOutcome.ERROR, self._source.name, note="timeout")
        except Exception as error:  # noqa: BLE001 - whatever a source raises is "no answer", never a match
            _log.warning("ownership source failed", source=self._source.name, error=type(error).__name__)
            evidence = Evidence(OwnershipOutcome.ERROR, self._source.name, note="exception")
        return evidence, loop.time() - began

    def _seen(self, ring: KeyRing, verification_id: str, answer: Answer) -> Verification:
        if not answer.record:
            raise NotFound
        verification = to_verification(ring, verification_id, answer.record, answer.now_ms)
        if answer.ended:
            self._tally.finished(verification)
        return verification
