"""
The fields of request bodies: what people and portals send in, the core's words out.

Each type is one reader for pydantic, which collects the errors of all fields.  A reader refuses with a code of
``[fields]`` in ``config/messages``; what it refuses is never repeated in a message.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any, Final, NoReturn, TypeVar

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from otp_service.core.citizen_id import IdNumber, MalformedIdNumber, parse_id_number
from otp_service.core.codes import normalise_code
from otp_service.core.errors import PhoneNotMobile
from otp_service.core.phone import MAX_INPUT, parse_mobile

_T = TypeVar("_T")

LOCALES: Final = ("vi", "en")

_NAME_MAX: Final = 100
_REFERENCE_BYTES: Final = 64
_NOTICE_BYTES: Final = 64
_REPLY_MAX: Final = 2000
_TOKEN_MAX: Final = 4096
_PURPOSE_MAX: Final = 32
_URL_MAX: Final = 512
_PROOF_MAX: Final = 4096
_ADDRESS_MAX: Final = 45

_VIETNAM_S: Final = 7 * 3600
_OLDEST_BIRTH: Final = date(1900, 1, 1)
_ISO_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_VIETNAMESE_DATE: Final = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
#: RFC 3339 section 5.6, a leap second excepted.
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})",
)


def refuse(code: str, **context: str) -> NoReturn:
    """Refuse a field with a code of ``[fields]``; ``context`` fills its sentence."""
    raise PydanticCustomError(code, "refused", context)


def _string(read: Callable[[str], _T]) -> PlainValidator:
    """Take a JSON string and nothing that only looks like one."""

    def validate(value: Any) -> _T:
        if type(value) is not str:
            refuse("wrong_type")
        return read(value)

    return PlainValidator(validate)


def _read_phone(text: str) -> str:
    try:
        return parse_mobile(text).e164
    except PhoneNotMobile as error:
        refuse("phone_not_mobile", **error.members)


def _read_id_number(text: str) -> IdNumber:
    try:
        return parse_id_number(text, today_year=time.gmtime(time.time() + _VIETNAM_S).tm_year)
    except MalformedIdNumber:
        refuse("id_number_malformed")


def _read_previous_id_number(text: str) -> IdNumber:
    """Take a CMND alone: with a CCCD, anybody's own number could stand in for somebody else's."""
    number = _read_id_number(text)
    if number.kind != "cmnd":
        refuse("previous_id_number_malformed")
    return number


def _read_code(text: str) -> str:
    code = normalise_code(text)
    if code is None:
        refuse("code_malformed")
    return code


@lru_cache(maxsize=8192)
def _read_address(text: str) -> str:
    """Return an address in its shortest form; an IPv4 address in IPv6 clothes (RFC 4291 section 2.5.5.2) is IPv4."""
    try:
        # A zone ("fe80::1%eth0") means something on one host only.
        address = ip_address(text) if len(text) <= _ADDRESS_MAX and "%" not in text else None
    except ValueError:
        address = None
    if address is None:
        refuse("address_malformed")
    if address.version == 6 and (mapped := address.ipv4_mapped):
        return str(mapped)
    return str(address)


def _read_name(text: str) -> str:
    """Return a name composed (NFC) and with single spaces, so that the same name always reads the same."""
    if any(unicodedata.category(char) == "Cc" for char in text):
        refuse("malformed")
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        refuse("too_short", min="1")
    if len(name) > _NAME_MAX:
        refuse("too_long", max=str(_NAME_MAX))
    if not name.isprintable():
        refuse("malformed")
    return name


def _read_birth_date(text: str) -> str:
    if match := _ISO_DATE.fullmatch(text):
        year, month, day = match.groups()
    elif match := _VIETNAMESE_DATE.fullmatch(text):
        day, month, year = match.groups()
    else:
        refuse("birth_date_malformed")
    try:
        born = date(int(year), int(month), int(day))
    except ValueError:
        refuse("birth_date_malformed")
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    if not _OLDEST_BIRTH <= born <= tomorrow:
        refuse("birth_date_malformed")
    return born.isoformat()


def _read_timestamp(text: str) -> str:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        refuse("timestamp_malformed")
    day, hour, offset = match.groups()
    try:
        datetime.fromisoformat(f"{day}T{hour}{offset.upper()}")
    except ValueError:
        refuse("timestamp_malformed")
    return text


def _short_text(most: int, *, size: Callable[[str], int] = len) -> PlainValidator:
    """Take printable text of at most ``most``; ``size`` says of what."""

    def read(text: str) -> str:
        if not text:
            refuse("too_short", min="1")
        if size(text) > most:
            refuse("too_long", max=str(most))
        if not text.isprintable():
            refuse("malformed")
        return text

    return _string(read)


def _read_reply(text: str) -> str:
    """Take a reply as people paste it: lines and tabs, whatever else their phones put in."""
    if not text.strip():
        refuse("too_short", min="1")
    if len(text) > _REPLY_MAX:
        refuse("too_long", max=str(_REPLY_MAX))
    return text


def _read_url(text: str) -> str:
    """Take what may be an absolute URL without fragment; whose host it may name is the client's to say."""
    if len(text) > _URL_MAX or not text.isascii() or not text.isprintable() or set(text) & set(' "<>\\^`{|}#;,'):
        refuse("url_malformed")
    return text


def _read_locale(text: str) -> str:
    if text not in LOCALES:
        refuse("locale_unknown")
    return text


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _schema(example: str, about: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": about, "examples": [example], **more})


PhoneText = Annotated[str, _string(_read_phone), _schema(
    "0900 000 001", "A Vietnamese mobile number in any form people type: `0…`, `84…`, `+84…`, with blanks or dots.",
    maxLength=MAX_INPUT,
)]
IdNumberText = Annotated[IdNumber, _string(_read_id_number), _schema(
    "052090000001", "12 digits (CCCD) or 9 digits (CMND); blanks and dots between them are taken.",
    maxLength=MAX_INPUT,
)]
PreviousIdNumberText = Annotated[IdNumber, _string(_read_previous_id_number), _schema(
    "210000003", "The CMND of 9 digits that the person had before the CCCD.", maxLength=MAX_INPUT,
)]
CodeText = Annotated[str, _string(_read_code), _schema(
    "123456", "The digits of the SMS; blanks and hyphens between them are taken.", maxLength=32,
)]
AddressText = Annotated[str, _string(_read_address), _schema(
    "203.0.113.7", "The end user's IPv4 or IPv6 address, as your server sees it.", maxLength=_ADDRESS_MAX,
)]
NameText = Annotated[str, _string(_read_name), _schema(
    "NGUYỄN VĂN A", "The name as the document has it.", minLength=1,
)]
BirthDateText = Annotated[str, _string(_read_birth_date), _schema(
    "1990-01-31", "`1990-01-31` or `31/01/1990`.", maxLength=10,
)]
TimestampText = Annotated[str, _string(_read_timestamp), _schema(
    "2026-01-31T08:00:00+07:00", "RFC 3339 with offset.", maxLength=35,
)]
ReferenceText = Annotated[str, _short_text(_REFERENCE_BYTES, size=_utf8_size), _schema(
    "hs-2026-000123", "Your own id for this flow, at most 64 bytes of UTF-8.  No personal data.",
    minLength=1, maxLength=_REFERENCE_BYTES,
)]
LocaleText = Annotated[str, _string(_read_locale), _schema(
    "vi", "The language of the SMS and of refusals; otherwise `Accept-Language` decides.", enum=list(LOCALES),
)]
NoticeText = Annotated[str, _short_text(_NOTICE_BYTES, size=_utf8_size), _schema(
    "2026-01", "Which version of the notice the person agreed to, at most 64 bytes of UTF-8.",
    minLength=1, maxLength=_NOTICE_BYTES,
)]
PurposeText = Annotated[str, _short_text(_PURPOSE_MAX), _schema(
    "registration", "The policy to follow: one of the purposes your client was given.",
    minLength=1, maxLength=_PURPOSE_MAX,
)]
TokenText = Annotated[str, _short_text(_TOKEN_MAX), _schema(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6…", "The `result_token` of an answer.", minLength=1, maxLength=_TOKEN_MAX,
)]
CallbackUrlText = Annotated[str, _string(_read_url), _schema(
    "https://api.example.vn/otp-webhooks", "Where the verdict is sent (Standard Webhooks): https, a registered host.",
    maxLength=_URL_MAX,
)]
ReturnUrlText = Annotated[str, _string(_read_url), _schema(
    "https://dichvucong.example.vn/dang-ky/ket-qua",
    "Where our page sends the browser at the end, with `verification_id` added: https, a registered host.",
    maxLength=_URL_MAX,
)]
ProofText = Annotated[str, _short_text(_PROOF_MAX), _schema(
    "eyJjaGFsbGVuZ2UiOnsicGFy…", "What the browser made of the `challenge` of `proof_required`; `none` for a browser "
    "that runs no JavaScript, to which a stricter address limit applies.", minLength=1, maxLength=_PROOF_MAX,
)]
ReplyText = Annotated[str, _string(_read_reply), _schema(
    "Ho ten: NGUYEN VAN A, Ngay sinh: 01/01/1990, So giay to: 052090000001",
    "What 1414 has answered to `TTTB`, as the phone shows it; it is read and forgotten.",
    minLength=1, maxLength=_REPLY_MAX,
)]
