"""The claims of a result token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from otp_service.client.members import Members, mapping_of, text_of
from otp_service.client.verification import Status


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


def _classifications(verification: Mapping[str, Any]) -> list[str | None]:
    """Return what was examined (OpenID Identity Assurance Schema Definition 1.0, ``assurance_details``)."""
    details = (mapping_of(verification, "assurance_process") or {}).get("assurance_details")
    found = details if isinstance(details, list) else []
    return [text_of(one, "assurance_classification") for one in found if isinstance(one, dict)]
