"""
CAMARA KYC Match, ``POST /kyc-match/{version}/match``: do these data agree with the subscriber record?

Each attribute that is asked about is answered with ``"true"``, ``"false"`` or ``"not_available"``, and no other.  The
table knows the document, its kind, the full name and the birth date; scores, which are optional, it gives none.

==========  ==========================================================================================================
version     what differs
==========  ==========================================================================================================
``v0.4``    0.4.0: undeclared members are ignored; an operator may insist on the ID document (``strict_id``)
all others  as 0.5.0 is prepared: undeclared members are refused, ``bankAccountNumber`` and the form of countries and
            of the ID document are known, and nobody insists on the document
==========  ==========================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otp_service.core.birth_dates import compare_birth_dates
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.names import compare_names
from otp_service.web.operator.errors import ApiRefusal, invalid
from otp_service.web.operator.subscribers import OUT_OF_SERVICE, Subscriber, Subscribers, is_date

SCOPE: Final = "kyc-match:match"
DEFAULT_VERSION: Final = "v0.4"

_VERSION: Final = re.compile(r"v[0-9]{1,3}(\.[0-9]{1,3})?", re.ASCII)
_PHONE: Final = re.compile(r"\+[1-9][0-9]{4,14}", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}", re.ASCII)
_ACCOUNT: Final = re.compile(r"[A-Z]+:[A-Za-z0-9]+", re.ASCII)
_ID_DOCUMENT_MOST: Final = 50

_DOCUMENT_TYPES: Final = frozenset({
    "passport", "national_id_card", "residence_permit", "diplomatic_id", "driver_licence", "social_security_id",
    "other",
})
_GENDERS: Final = frozenset({"MALE", "FEMALE", "OTHER"})

_TEXTS: Final = (
    "idDocument", "name", "givenName", "familyName", "nameKanaHankaku", "nameKanaZenkaku", "middleNames",
    "familyNameAtBirth", "address", "streetName", "streetNumber", "postalCode", "region", "locality", "country",
    "houseNumberExtension", "cityOfBirth", "countryOfBirth", "nationality",
)

Check = Callable[[str], object]


def _any_text(_text: str) -> bool:
    return True


_IN_ALL_VERSIONS: Final[dict[str, Check]] = {
    **dict.fromkeys(_TEXTS, _any_text),
    "phoneNumber": _PHONE.fullmatch, "idDocumentType": _DOCUMENT_TYPES.__contains__, "idDocumentExpiryDate": is_date,
    "birthdate": is_date, "email": _EMAIL.fullmatch, "gender": _GENDERS.__contains__,
}
_IN_LATER_VERSIONS: Final[dict[str, Check]] = {
    **_IN_ALL_VERSIONS, "idDocument": lambda text: len(text) <= _ID_DOCUMENT_MOST, "country": _COUNTRY.fullmatch,
    "bankAccountNumber": _ACCOUNT.fullmatch,
}


@dataclass(frozen=True, slots=True)
class KycMatch:
    """
    The operation in one version.

    Attributes:
        version: as it stands in the path.
        strict_id: the ID document must be given and agree before anything else is compared; 0.4.0 alone has this.
    """

    version: str = DEFAULT_VERSION
    strict_id: bool = False

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise ConfigurationError("the version of KYC Match is written as in its path: v0.4")
        if self.strict_id and self.version != DEFAULT_VERSION:
            raise ConfigurationError(f"only KYC Match {DEFAULT_VERSION} can insist on the ID document")

    @property
    def path(self) -> str:
        """The path of the operation."""
        return f"/kyc-match/{self.version}/match"

    def answer(self, body: Mapping[str, Any], subscribers: Subscribers, *, wrong: bool = False) -> dict[str, str]:
        """
        Compare; ``wrong`` says the opposite of each ``"true"`` and ``"false"``.

        Raises ApiRefusal.
        """
        asked = self._checked(body)
        phone = asked.pop("phoneNumber", None)
        if not asked:
            raise ApiRefusal(400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION", "nothing to compare was given")
        subscriber = served(subscribers, phone)
        if self.strict_id:
            _insist(subscriber, asked.get("idDocument"))
        said = {f"{name}Match": _compared(name, value, subscriber) for name, value in asked.items()}
        return {name: _OPPOSITE[value] for name, value in said.items()} if wrong else said

    def _checked(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Return the declared members.  Raises ApiRefusal."""
        later = self.version != DEFAULT_VERSION
        checks = _IN_LATER_VERSIONS if later else _IN_ALL_VERSIONS
        if later and set(body) - set(checks):
            raise invalid("the body has members that the schema does not declare")
        asked = {name: value for name, value in body.items() if name in checks}
        for name, value in asked.items():
            if not isinstance(value, str) or not checks[name](value):
                raise invalid(f"{name} breaks its schema")
        return asked


def phone_of(body: Mapping[str, Any]) -> str | None:
    """Return a body's phone number, None where it has none.  Raises ApiRefusal."""
    phone = body.get("phoneNumber")
    if "phoneNumber" in body and not (isinstance(phone, str) and _PHONE.fullmatch(phone)):
        raise invalid("phoneNumber breaks its schema")
    return phone


def served(subscribers: Subscribers, phone: str | None) -> Subscriber:
    """Return the subscriber in service behind a phone.  Raises ApiRefusal."""
    if phone is None:
        # Our tokens are two-legged: they stand for a client and name no subscriber.
        raise ApiRefusal(422, "MISSING_IDENTIFIER", "phoneNumber is missing")
    subscriber = subscribers.find(phone)
    if subscriber is None:
        raise ApiRefusal(404, "IDENTIFIER_NOT_FOUND", "no subscriber of this operator has this number")
    if subscriber.status in OUT_OF_SERVICE:
        raise ApiRefusal(422, "SERVICE_NOT_APPLICABLE", "this SIM is out of service")
    return subscriber


_WORDS: Final = {
    OwnershipOutcome.MATCH: "true", OwnershipOutcome.MISMATCH: "false",
    OwnershipOutcome.NOT_AVAILABLE: "not_available",
}
_OPPOSITE: Final = {"true": "false", "false": "true", "not_available": "not_available"}


def _insist(subscriber: Subscriber, document: str | None) -> None:
    if document is None:
        raise ApiRefusal(403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_REQUIRED", "idDocument is required here")
    if _compared("idDocument", document, subscriber) != "true":
        raise ApiRefusal(403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH", "idDocument is not the subscriber's")


def _compared(name: str, value: str, subscriber: Subscriber) -> str:
    if not subscriber.known:
        return "not_available"
    match name:
        case "idDocument":
            return "true" if "".join(value.split()) == subscriber.id_number else "false"
        case "idDocumentType":
            return "true" if value == "national_id_card" else "false"  # a CCCD and a CMND both are
        case "name":
            return _WORDS[compare_names(value, subscriber.full_name)]
        case "birthdate":
            return _WORDS[compare_birth_dates(value, subscriber.birth_date)]
        case _:
            return "not_available"
