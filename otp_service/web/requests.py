"""
Request bodies: read, checked as a whole, and turned into what the use cases take.

All bad fields are told at once: pydantic collects those that can be judged alone, and the rules that need the purpose
are added to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otp_service.core.client import Client
from otp_service.core.errors import FieldError, Forbidden, InvalidRequest, PhoneNotMobile
from otp_service.core.verification import Consent, Links, Purpose
from otp_service.core.webhooks import allows_port
from otp_service.service import StartCommand
from otp_service.web.fields import (
    AddressText,
    BirthDateText,
    CallbackUrlText,
    CodeText,
    IdNumberText,
    LocaleText,
    NameText,
    NoticeText,
    PhoneText,
    PreviousIdNumberText,
    ProofText,
    PurposeText,
    ReferenceText,
    ReplyText,
    ReturnUrlText,
    TimestampText,
    TokenText,
)

#: Bad fields of one answer, and characters of a name that is told back: a body is not echoed at length.
MAX_ERRORS: Final = 32
_FIELD_NAME_MAX: Final = 64

#: Members of a start that come with a later version: refused, because ignoring them would promise something.
_LATER: Final = frozenset({"official_id"})

#: What pydantic calls it → our code, a key of ``[fields]``.
_CODES: Final = {"missing": "missing", "extra_forbidden": "unknown_field", "model_type": "wrong_type"}

_Body = TypeVar("_Body", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ConsentBody(_Strict):
    """What the person agreed to, and when."""

    notice_version: NoticeText
    given_at: TimestampText


class StartBody(_Strict):
    """Who holds which phone, and what for."""

    phone_number: PhoneText
    purpose: PurposeText
    id_number: IdNumberText | None = Field(None, description="Required where the purpose checks ownership.")
    previous_id_number: PreviousIdNumberText | None = Field(
        None, description="The CMND before; the subscriber record may still carry it.  Yours to know as one person's.",
    )
    full_name: NameText | None = None
    birth_date: BirthDateText | None = None
    end_user_ip: AddressText | None = Field(
        None, description="The end user's address; required unless an official assists.",
    )
    reference: ReferenceText | None = None
    locale: LocaleText | None = None
    consent: ConsentBody | None = Field(None, description="Required where the purpose says so.")
    callback_url: CallbackUrlText | None = None
    return_url: ReturnUrlText | None = None
    proof: ProofText | None = None


class ResendBody(_Strict):
    """Nothing: the body may be absent or an empty object."""


class CheckBody(_Strict):
    """A guess."""

    code: CodeText


class EvidenceBody(_Strict):
    """What an official has read on the citizen's phone."""

    tttb_reply: ReplyText


class Expect(_Strict):
    """Whom the verdict must be about."""

    phone_number: PhoneText | None = None
    id_number: IdNumberText | None = Field(None, description="Required where ownership was checked.")


class RedeemBody(_Strict):
    """A verdict, and whom it must be about."""

    token: TokenText
    expect: Expect | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A start that may be made, and what looked odd about its ID numbers: (field, code)."""

    command: StartCommand
    warnings: tuple[tuple[str, str], ...]


def read_start(
    raw: Mapping[str, Any], *, client: Client, purposes: Mapping[str, Purpose], locale: str,
    also: Sequence[FieldError] = (),
) -> Start:
    """
    Read the body of a start.

    ``locale`` is the language that body and headers ask for; ``also`` are errors found outside the body.

    Raises InvalidRequest, PhoneNotMobile when the phone is all that is wrong, and Forbidden when the purpose exists
    but is not the client's.
    """
    purpose = _purpose(raw, client, purposes)
    body, errors = _validate(StartBody, raw, also)
    if lacking := [*_purpose_errors(raw, purpose), *_link_errors(raw, client)]:
        seen = {error.field for error in errors}
        errors += [error for error in lacking if error.field not in seen]
    if body is None or purpose is None or errors:
        raise _refusal(errors)
    consent = body.consent
    command = StartCommand(
        purpose=purpose, phone_number=body.phone_number, id_number=body.id_number.number if body.id_number else None,
        previous_id_number=body.previous_id_number.number if body.previous_id_number else None,
        full_name=body.full_name, birth_date=body.birth_date, end_user_ip=body.end_user_ip, reference=body.reference,
        locale=locale,
        consent=Consent(consent.notice_version, consent.given_at) if consent else None,
        links=Links(body.callback_url or client.webhook_url, body.return_url), proof=body.proof,
    )
    return Start(command, _warnings(body))


def read_body(model: type[_Body], raw: Mapping[str, Any], also: Sequence[FieldError] = ()) -> _Body:
    """Read any other body.  Raises InvalidRequest."""
    body, errors = _validate(model, raw, also)
    if body is None or errors:
        raise InvalidRequest(*errors[:MAX_ERRORS])
    return body


def _purpose(raw: Mapping[str, Any], client: Client, purposes: Mapping[str, Purpose]) -> Purpose | None:
    """Return the purpose a body names, None when there is none of that name."""
    name = raw.get("purpose")
    purpose = purposes.get(name) if type(name) is str else None
    if purpose is not None and purpose.name not in client.purposes:
        raise Forbidden
    return purpose


def _purpose_errors(raw: Mapping[str, Any], purpose: Purpose | None) -> list[FieldError]:
    """Say what the purpose asks for and the body lacks."""
    if purpose is None:
        return [FieldError("purpose", "purpose_unknown")]
    errors = []
    if purpose.checks_ownership and raw.get("id_number") is None:
        errors.append(FieldError("id_number", "id_number_required"))
    if not purpose.assisted and raw.get("end_user_ip") is None:
        errors.append(FieldError("end_user_ip", "address_required"))
    if purpose.consent_required and raw.get("consent") is None:
        errors.append(FieldError("consent", "consent_required"))
    return errors


def _link_errors(raw: Mapping[str, Any], client: Client) -> list[FieldError]:
    """Say which links point to hosts that the client did not register."""
    errors = [
        FieldError(field, "host_not_registered")
        for field, hosts in (("callback_url", client.webhook_hosts), ("return_url", client.return_hosts))
        if type(url := raw.get(field)) is str and not client.allows_host(url, hosts)
    ]
    callback = raw.get("callback_url")
    if type(callback) is str and not errors and not allows_port(callback):
        errors.append(FieldError("callback_url", "url_malformed"))
    if not errors and callback is not None and not client.webhook_secrets:
        errors.append(FieldError("callback_url", "webhook_secret_missing"))
    return errors


def _validate(
    model: type[_Body], raw: Mapping[str, Any], also: Sequence[FieldError],
) -> tuple[_Body | None, list[FieldError]]:
    try:
        return model.model_validate(raw), list(also)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return None, [*also, *(_field_error(detail["loc"], detail["type"], detail.get("ctx")) for detail in found)]


def _field_error(loc: tuple[int | str, ...], kind: str, context: Mapping[str, str] | None) -> FieldError:
    name = ".".join(str(part)[:_FIELD_NAME_MAX] for part in loc)
    if kind == "extra_forbidden" and name in _LATER:
        return FieldError(name, "not_supported")
    params = dict(context or {})
    return FieldError(name, _CODES.get(kind, kind), tuple(params.items()), params.get("suggestion"))


def _refusal(errors: Sequence[FieldError]) -> InvalidRequest | PhoneNotMobile:
    if len(errors) == 1 and (only := errors[0]).code == "phone_not_mobile":
        return PhoneNotMobile(only.suggestion)
    return InvalidRequest(*errors[:MAX_ERRORS])


def _warnings(body: StartBody) -> tuple[tuple[str, str], ...]:
    return tuple(
        (field, code)
        for field, number in (("id_number", body.id_number), ("previous_id_number", body.previous_id_number))
        if number is not None
        for code in number.warnings
    )
