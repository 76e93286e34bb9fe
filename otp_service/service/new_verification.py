"""What a start writes, and what it shows of it without reading it back."""

from __future__ import annotations

import json
from typing import Any

from otp_service.core.codes import code_digest, derive_code
from otp_service.core.keyring import KeyRing
from otp_service.core.magic_numbers import is_magic, magic_code
from otp_service.core.verification import Delivery, Ownership, Status, Verification
from otp_service.service.callers import Caller, StartCommand
from otp_service.storage.calls import Answer
from otp_service.storage.records import EXTRA_PLACE, ID_PLACE, PHONE_PLACE


def record_fields(
    ring: KeyRing, caller: Caller, verification_id: str, command: StartCommand, *, ask_after_ms: int,
) -> list[Any]:
    """Return names and values for the record; see ``scripts/_verification.lua``."""
    purpose, policy = command.purpose, command.purpose.code
    fields: list[Any] = [
        "l", command.locale, "S", purpose.max_resends + 1, "m", purpose.max_attempts, "cl", policy.length,
        "P", ring.seal(verification_id, PHONE_PLACE, command.phone_number),
    ]
    if not purpose.asks_before:
        fixed = magic_code(command.phone_number, policy.length, test=caller.test)
        code = fixed or derive_code(ring, verification_id, 1, policy.length)
        fields += ("d", code_digest(ring, verification_id, code))
    if command.consent is not None:
        fields += ("cn", command.consent.notice_version, "cg", command.consent.given_at)
    if command.reference is not None:
        fields += ("r", command.reference)
    if command.id_number is not None:
        ids = ",".join(filter(None, (command.id_number, command.previous_id_number)))
        fields += ("I", ring.seal(verification_id, ID_PLACE, ids))
        fields += ("i", id_digest(ring, verification_id, command.id_number))
    if purpose.checks_ownership:
        fields += (
            "o", 1, "ot", purpose.ownership_timeout_s * 1000,
            "od", ask_after_ms,
        )
    if purpose.assisted:
        fields += ("A", 1)
    if command.links.callback_url is not None:
        fields += ("H", 1)
    return fields


def phone_names(ring: KeyRing, caller: Caller, phone: str, verification_id: str) -> tuple[str, ...]:
    """Return what a phone is known by; each verification of a magic number has a phone of its own, so none waits."""
    if is_magic(phone):
        return ring.names("magic phone", f"{phone} {verification_id}")
    return ring.names("test phone" if caller.test else "phone", phone)


def id_digest(ring: KeyRing, verification_id: str, id_number: str) -> bytes:
    """Return what an ID number is compared by at redemption."""
    return ring.digest(verification_id, "id_number", id_number)


def sealed_extra(ring: KeyRing, verification_id: str, command: StartCommand) -> bytes:
    """Return name and birth date as they are kept beside the record; empty when neither was given."""
    extra = {
        name: value
        for name, value in (("full_name", command.full_name), ("birth_date", command.birth_date))
        if value is not None
    }
    return ring.seal(verification_id, EXTRA_PLACE, json.dumps(extra, ensure_ascii=False)) if extra else b""


def fresh(answer: Answer, caller: Caller, command: StartCommand, cooldown_ms: int) -> Verification:
    """Return what has just been started, without reading it back."""
    purpose, now_ms, sent = command.purpose, answer.now_ms, not command.purpose.asks_before
    return Verification(
        id=answer.id, client=caller.client.name, purpose=purpose.name,
        status=Status.PENDING if sent else Status.CHECKING_OWNERSHIP, reason=None,
        locale=command.locale, reference=command.reference, phone_number=command.phone_number, test=caller.test,
        code_length=purpose.code.length, send_number=int(sent), created_at_ms=now_ms,
        expires_at_ms=now_ms + purpose.life_s * 1000,
        code_expires_at_ms=now_ms + purpose.code.validity_s * 1000 if sent else None,
        resend_at_ms=now_ms + cooldown_ms if sent and purpose.max_resends else None,
        sends_left=purpose.max_resends, attempts_left=purpose.max_attempts, delivery=Delivery.QUEUED,
        ownership=Ownership(), finished_at_ms=None, now_ms=now_ms, asked_before=not sent, consent=command.consent,
    )
