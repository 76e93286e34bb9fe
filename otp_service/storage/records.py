"""What stands in a verification's record, read back into the words of the core."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from otp_service.core.keyring import KeyRing
from otp_service.core.verification import (
    DELIVERY_CODES,
    REASON_CODES,
    STATUS_CODES,
    Consent,
    Delivery,
    Links,
    Ownership,
    Status,
    Verification,
)

#: A record as the store holds it: see ``scripts/_verification.lua`` for its fields.
Record = dict[bytes, bytes]

OUTCOME_CODES = {"match": "m", "mismatch": "x", "not_available": "n", "error": "e"}
#: What settles a check as a match that the purpose refuses because the SIM was changed lately.
RISK_CODE = "k"
DELIVERY_LETTERS = {delivery: letter for letter, delivery in DELIVERY_CODES.items()}
_OUTCOMES = {code.encode(): outcome for outcome, code in OUTCOME_CODES.items()}

#: What a test key makes is another tenant's: ``c`` ends with this, and live keys do not see it.
TEST_SUFFIX = "~"

#: Places that sealed data is bound to.
PHONE_PLACE, ID_PLACE, EXTRA_PLACE, LINKS_PLACE = "phone", "id", "extra", "links"


def to_record(flat: Sequence[bytes]) -> Record:
    """Turn a flat HGETALL reply into a record."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def to_verification(
    ring: KeyRing, verification_id: str, record: Mapping[bytes, bytes], now_ms: int,
    *, status: str | None = None, reason: str | None = None,
) -> Verification:
    """
    Read a record as it stands at ``now_ms``.

    ``status`` and ``reason`` (letters) are what the record has become by now, when nothing has written it yet.
    Raises SealBroken when the phone cannot be opened.
    """
    shown = STATUS_CODES[status or record[b"s"].decode()]
    why = reason if status else record.get(b"q", b"").decode()
    tenant = record[b"c"].decode()
    sends_left = max(0, int(record[b"S"]) - int(record[b"k"]))
    may_resend = shown is Status.PENDING and sends_left > 0
    resend_at = record.get(b"ra")
    return Verification(
        id=verification_id,
        client=tenant.removesuffix(TEST_SUFFIX),
        purpose=record[b"u"].decode(),
        status=shown,
        reason=REASON_CODES[why] if why else None,
        locale=record[b"l"].decode(),
        reference=_text(record, b"r"),
        phone_number=ring.unseal(verification_id, PHONE_PLACE, record[b"P"]),
        test=tenant.endswith(TEST_SUFFIX),
        code_length=int(record[b"cl"]),
        send_number=int(record[b"n"]),
        created_at_ms=int(record[b"b"]),
        expires_at_ms=int(record[b"e"]),
        code_expires_at_ms=int(record[b"x"]) if b"x" in record else None,
        resend_at_ms=int(resend_at) if may_resend and resend_at else None,
        sends_left=sends_left if not shown.final else 0,
        attempts_left=max(0, int(record[b"m"]) - int(record[b"g"])) if not shown.final else 0,
        delivery=DELIVERY_CODES.get(record[b"y"].decode(), Delivery.QUEUED),
        ownership=_ownership(record),
        finished_at_ms=int(record[b"f"]) if b"f" in record else None,
        now_ms=now_ms,
        asked_before=b"bf" in record,
        consent=Consent(record[b"cn"].decode(), record[b"cg"].decode()) if b"cn" in record else None,
    )


def seal_links(ring: KeyRing, verification_id: str, links: Links) -> bytes:
    """Seal where a verification leads; empty when it leads nowhere."""
    told = {
        name: url
        for name, url in (("callback_url", links.callback_url), ("return_url", links.return_url)) if url is not None
    }
    return ring.seal(verification_id, LINKS_PLACE, json.dumps(told)) if told else b""


def open_links(ring: KeyRing, verification_id: str, sealed: bytes) -> Links:
    """Open what :func:`seal_links` made.  Raises SealBroken."""
    return Links(**json.loads(ring.unseal(verification_id, LINKS_PLACE, sealed))) if sealed else Links()


def _ownership(record: Mapping[bytes, bytes]) -> Ownership:
    outcome = record.get(b"w")
    if outcome is None:
        return Ownership()
    return Ownership(_OUTCOMES[outcome], _text(record, b"ws"), _text(record, b"wa"), int(record[b"wt"]))


def _text(record: Mapping[bytes, bytes], field: bytes) -> str | None:
    value = record.get(field)
    return value.decode() if value else None
