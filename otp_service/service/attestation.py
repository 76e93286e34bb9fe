"""What an official has read on a citizen's phone: the reply of 1414 as evidence of who owns the SIM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from secrets import token_urlsafe
from typing import Final

from otp_service.core.errors import AlreadyFinal, Forbidden, IdempotencyKeyReused, NotFound, Unavailable
from otp_service.core.evidence import Evidence, OwnershipOutcome
from otp_service.core.keyring import KeyRing
from otp_service.core.tttb.evidence import AttestedReply, Confidence, weigh
from otp_service.core.tttb.reply import read_reply
from otp_service.core.verification import STATUS_CODES, Status, Verification
from otp_service.service.callers import Caller
from otp_service.service.ownership import OwnershipStep
from otp_service.storage.calls import Answer, Replay
from otp_service.storage.records import to_verification
from otp_service.storage.store import Store

#: The name of this source in verdicts, logs and metrics.
ATTESTED: Final = "attested"

_CHECKING = next(letter for letter, status in STATUS_CODES.items() if status is Status.CHECKING_OWNERSHIP)
_NOTHING = Evidence(OwnershipOutcome.NOT_AVAILABLE, ATTESTED)


class Attestation:
    """
    Takes replies of 1414 for verifications that an official assists.

    Args:
        store: the transitions.
        ring: returns the key ring in force.
        step: settles what was read.
    """

    def __init__(self, store: Store, ring: Callable[[], KeyRing], step: OwnershipStep) -> None:
        self._store = store
        self._ring = ring
        self._step = step

    async def take(
        self, caller: Caller, verification_id: str, tttb_reply: str, replay: Replay | None = None,
    ) -> tuple[Verification, AttestedReply | None]:
        """
        Read a reply, settle what it says and forget it.

        Only while the sources have answered that they do not know, or not at all: what they have said stands.
        Returns how the verification stands, and what the purpose makes of the reply (None when this call was made
        before).
        Raises NotFound, Forbidden where nobody assists, AlreadyFinal, Unavailable while the sources are being asked,
        IdempotencyKeyReused.
        """
        ring = self._ring()
        shard = ring.parse_id(verification_id)
        if shard is None:
            raise NotFound
        answer = await self._store.read_with_extra(shard, verification_id, caller.tenant)
        if not answer.record:
            raise NotFound
        if b"A" not in answer.record or b"o" not in answer.record:
            raise Forbidden
        found, evidence = self._weighed(verification_id, answer, tttb_reply)
        settled = await self._step.attest(
            shard, verification_id, answer, evidence, replay=replay,
            nonce=replay.name + replay.body if replay else token_urlsafe(16),
        )
        verification = to_verification(ring, verification_id, settled.record, settled.now_ms)
        match settled.outcome:
            case "ok" | "waits":
                return verification, found
            case "replay":
                return verification, None
            case "reused":
                raise IdempotencyKeyReused
            case "refused":
                raise Unavailable
            case _:
                raise AlreadyFinal(verification.status.value)

    def _weighed(
        self, verification_id: str, answer: Answer, tttb_reply: str,
    ) -> tuple[AttestedReply | None, Evidence]:
        if answer.outcome != _CHECKING:
            # Nothing is left to compare with; the script knows whether this very call was made before.
            return None, _NOTHING
        found = weigh(read_reply(tttb_reply), self._step.question(verification_id, answer))
        evidence = self._step.judged(
            answer, Evidence(found.outcome, ATTESTED, found.assurance, found.note, found.fields),
        )
        if evidence.outcome is OwnershipOutcome.NOT_AVAILABLE:
            found = replace(found, confidence=Confidence.NONE)
        return replace(found, outcome=evidence.outcome, note=evidence.note), evidence
