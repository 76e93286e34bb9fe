"""The claims of a result token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from otp_service.client.members import Members, mapping_of, text_of
from otp_service.client.verification import Status

#: What people put between digits, and the forms in which a Vietnamese number is written plainly.
_SEPARATORS: Final = dict.fromkeys(map(ord, " .-()/"))
_PLAIN: Final = re.compile(r"(?:(?:\+|00)?84)?0?([1-9][0-9]{8})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """
    What a verdict says; times are UTC.

    Attributes:
        issuer: which service; a test key's verdicts have another.
        audience: your client's name.
        verification_id: whose verdict it is.
        token_id: constant per verification, however often its token was signed.
        phone_number: E.164, such as ``+84900000001``.
        reference: your own id for this flow.
        assurance: how strong the proof is: ``phone_possession``, ``operator_match``, …
        ownership_confirmed: whether some evidence says that the SIM is the person's; False where the purpose asked for
            possession of the phone alone.
        members: all of them, as signed.
    """

    issuer: str
    audience: str
    verification_id: str
    token_id: str
    issued_at: datetime
    expires_at: datetime
    purpose: str
    status: Status
    reference: str | None
    phone_number: str = field(repr=False)
    phone_number_verified: bool
    assurance: str | None
    ownership_confirmed: bool
    members: Mapping[str, Any] = field(repr=False)

    @property
    def verified(self) -> bool:
        """Whether the verdict is a yes."""
        return self.status is Status.VERIFIED and self.phone_number_verified


def read_claims(found: Any) -> Claims:
    """Read claims.  Raises MemberInvalid."""
    members = Members(found)
    verification = mapping_of(mapping_of(found, "verified_claims") or {}, "verification") or {}
    return Claims(
        issuer=members.text("iss"), audience=members.text("aud"), verification_id=members.text("sub"),
        token_id=members.text("jti"), issued_at=members.seconds("iat"), expires_at=members.seconds("exp"),
        purpose=members.text("purpose"), status=Status(members.text("status")),
        reference=members.text_or_none("reference"), phone_number=members.text("phone_number"),
        phone_number_verified=found.get("phone_number_verified") is True,
        assurance=text_of(verification, "assurance_level"),
        ownership_confirmed="subscriber_match" in _classifications(verification), members=found,
    )


def differ(phone_number: str, other: str) -> bool:
    """Say whether two numbers are certainly not the same; one that is not written plainly may be any."""
    one, another = _e164(phone_number), _e164(other)
    return one is not None and another is not None and one != another


def _e164(text: str) -> str | None:
    match = _PLAIN.fullmatch(text.translate(_SEPARATORS))
    return f"+84{match[1]}" if match else None


def _classifications(verification: Mapping[str, Any]) -> list[str | None]:
    """Return what was examined (OpenID Identity Assurance Schema Definition 1.0, ``assurance_details``)."""
    details = (mapping_of(verification, "assurance_process") or {}).get("assurance_details")
    found = details if isinstance(details, list) else []
    return [text_of(one, "assurance_classification") for one in found if isinstance(one, dict)]
