"""Who calls, and what they ask for, once every field is validated."""

from __future__ import annotations

from dataclasses import dataclass, field

from otp_service.core.client import Client
from otp_service.core.keyring import KeyRing
from otp_service.core.result_token import Signer
from otp_service.core.verification import Consent, Links, Purpose
from otp_service.storage.records import TEST_SUFFIX


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
    """
    A start with every field validated: E.164 phone, digits-only ID numbers, ISO birth date.

    ``proof`` is what the browser worked out, or ``NO_SCRIPT`` of ``service/proof.py``; ``links`` point to hosts that
    the client registered.
    """

    purpose: Purpose
    phone_number: str = field(repr=False)
    id_number: str | None = field(default=None, repr=False)
    previous_id_number: str | None = field(default=None, repr=False)
    full_name: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    end_user_ip: str | None = None
    reference: str | None = None
    locale: str = "vi"
    consent: Consent | None = None
    links: Links = field(default_factory=Links, repr=False)
    proof: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is derived and signed with; replaced as a whole when keys rotate."""

    ring: KeyRing
    signer: Signer
