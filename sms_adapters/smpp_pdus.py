"""
What stands in the PDUs of SMPP 3.4: numbers and statuses, texts, ``submit_sm``, delivery receipts.

Nothing here does I/O.  Source: see ``sms_adapters/smpp.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from otp_service.core.ports import DeliveryReport, DeliveryState, SendResult, SmsMessage
from otp_service.core.reading import international, provider_code
from otp_service.core.sms_length import GSM7_BASIC, GSM7_EXTENSION, is_gsm7
from sms_adapters.reading import provider_id

try:
    from smpp34 import DeliverSm, SmppError, SubmitSm, decode
except ModuleNotFoundError:  # an extra: the gateway's constructor says which
    INSTALLED = False
else:
    INSTALLED = True

# -- numbers of the standard ---------------------------------------------------------------------------------------

HEADER: Final = Struct(">IIII")  # command_length, command_id, command_status, sequence_number

RESPONSE: Final = 0x8000_0000
GENERIC_NACK: Final = 0x8000_0000
SUBMIT_SM: Final = 0x0000_0004
DELIVER_SM: Final = 0x0000_0005
UNBIND: Final = 0x0000_0006
BIND_TRANSCEIVER: Final = 0x0000_0009
OUTBIND: Final = 0x0000_000B
ENQUIRE_LINK: Final = 0x0000_0015
ALERT_NOTIFICATION: Final = 0x0000_0102

OK: Final = 0x00
INVALID_COMMAND: Final = 0x03
WRONG_BIND_STATE: Final = 0x04
TRY_AGAIN: Final = 0x64    # ESME_RX_T_APPN
NEVER_AGAIN: Final = 0x65  # ESME_RX_P_APPN

#: Every command_status of section 5.1.3 but success: its name and what it says about a message or a bind.  A status
#: about a PDU that we never send, or about a field that is ours to get right, is UNKNOWN: another gateway may succeed.
_STATUSES: Mapping[int, tuple[str, SendResult]] = {
    0x01: ("ESME_RINVMSGLEN", SendResult.TEMPLATE_REJECTED),
    0x02: ("ESME_RINVCMDLEN", SendResult.UNKNOWN),
    0x03: ("ESME_RINVCMDID", SendResult.UNKNOWN),
    0x04: ("ESME_RINVBNDSTS", SendResult.TEMPORARY),
    0x05: ("ESME_RALYBND", SendResult.TEMPORARY),
    0x06: ("ESME_RINVPRTFLG", SendResult.UNKNOWN),
    0x07: ("ESME_RINVREGDLVFLG", SendResult.UNKNOWN),
    0x08: ("ESME_RSYSERR", SendResult.TEMPORARY),
    0x0A: ("ESME_RINVSRCADR", SendResult.SENDER_REJECTED),
    0x0B: ("ESME_RINVDSTADR", SendResult.INVALID_NUMBER),
    0x0C: ("ESME_RINVMSGID", SendResult.UNKNOWN),
    0x0D: ("ESME_RBINDFAIL", SendResult.AUTHENTICATION),
    0x0E: ("ESME_RINVPASWD", SendResult.AUTHENTICATION),
    0x0F: ("ESME_RINVSYSID", SendResult.AUTHENTICATION),
    0x11: ("ESME_RCANCELFAIL", SendResult.UNKNOWN),
    0x13: ("ESME_RREPLACEFAIL", SendResult.UNKNOWN),
    0x14: ("ESME_RMSGQFUL", SendResult.TEMPORARY),  # often the inbox of one subscriber
    0x15: ("ESME_RINVSERTYP", SendResult.SENDER_REJECTED),
    0x33: ("ESME_RINVNUMDESTS", SendResult.UNKNOWN),
    0x34: ("ESME_RINVDLNAME", SendResult.UNKNOWN),
    0x40: ("ESME_RINVDESTFLAG", SendResult.UNKNOWN),
    0x42: ("ESME_RINVSUBREP", SendResult.UNKNOWN),
    0x43: ("ESME_RINVESMCLASS", SendResult.TEMPLATE_REJECTED),  # it carries no text in parts
    0x44: ("ESME_RCNTSUBDL", SendResult.UNKNOWN),
    0x45: ("ESME_RSUBMITFAIL", SendResult.TEMPORARY),
    0x48: ("ESME_RINVSRCTON", SendResult.SENDER_REJECTED),
    0x49: ("ESME_RINVSRCNPI", SendResult.SENDER_REJECTED),
    0x50: ("ESME_RINVDSTTON", SendResult.UNKNOWN),
    0x51: ("ESME_RINVDSTNPI", SendResult.UNKNOWN),
    0x53: ("ESME_RINVSYSTYP", SendResult.AUTHENTICATION),
    0x54: ("ESME_RINVREPFLAG", SendResult.UNKNOWN),
    0x55: ("ESME_RINVNUMMSGS", SendResult.UNKNOWN),
    0x58: ("ESME_RTHROTTLED", SendResult.THROTTLED),
    0x61: ("ESME_RINVSCHED", SendResult.UNKNOWN),
    0x62: ("ESME_RINVEXPIRY", SendResult.UNKNOWN),
    0x63: ("ESME_RINVDFTMSGID", SendResult.UNKNOWN),
    0x64: ("ESME_RX_T_APPN", SendResult.TEMPORARY),
    0x65: ("ESME_RX_P_APPN", SendResult.UNKNOWN),
    0x66: ("ESME_RX_R_APPN", SendResult.UNKNOWN),
    0x67: ("ESME_RQUERYFAIL", SendResult.UNKNOWN),
    0xC0: ("ESME_RINVOPTPARSTREAM", SendResult.UNKNOWN),
    0xC1: ("ESME_ROPTPARNOTALLWD", SendResult.UNKNOWN),
    0xC2: ("ESME_RINVPARLEN", SendResult.UNKNOWN),
    0xC3: ("ESME_RMISSINGOPTPARAM", SendResult.UNKNOWN),
    0xC4: ("ESME_RINVOPTPARAMVAL", SendResult.UNKNOWN),
    0xFE: ("ESME_RDELIVERYFAILURE", SendResult.TEMPORARY),
    0xFF: ("ESME_RUNKNOWNERR", SendResult.UNKNOWN),
}

#: interface_version 3.4 and no address_range: receipts of everything that we submit.
_ANY_ADDRESS = b"\x34\x00\x00\x00"

#: The header of a part counts them in one octet.
PARTS_MAX: Final = 255


class Pdu(NamedTuple):
    """A PDU as it came: ``octets`` are all of it."""

    command: int
    status: int
    sequence: int
    octets: bytes

    @property
    def body(self) -> bytes:
        """What follows the header."""
        return self.octets[HEADER.size:]


class Unreadable(Exception):
    """A PDU is not what the standard says."""


class SaysNothing(Exception):
    """A receipt names no message, or no state that is known."""


@dataclass(frozen=True, slots=True)
class IdForm:
    """The bases in which message ids are written, None where they are compared as they are."""

    answers: int | None = None
    receipts: int | None = None


#: By the option ``id_form``.
ID_FORMS: Final = {"same": IdForm(), "hex": IdForm(10, 16), "decimal": IdForm(16, 10)}


def status_name(status: int) -> str:
    """Return the standard's name of a command_status, its number where it has none."""
    return _STATUSES[status][0] if status in _STATUSES else f"0x{status:08X}"


def status_result(status: int, unlisted: SendResult) -> SendResult:
    """Return what a command_status that refuses means; ``unlisted`` for one of a vendor."""
    return _STATUSES[status][1] if status in _STATUSES else unlisted


def bind_body(system_id: str, password: str, system_type: str) -> bytes:
    """Write a bind_transceiver, without its header."""
    return b"".join(text.encode("ascii") + b"\0" for text in (system_id, password, system_type)) + _ANY_ADDRESS


def answered_id(body: bytes, id_form: IdForm) -> str | None:
    """Read the message id of a submit_sm_resp; None where there is none that could be kept."""
    return provider_id(_decimal(body.partition(b"\0")[0].decode("latin-1"), id_form.answers))


# -- texts ---------------------------------------------------------------------------------------------------------

#: Code points of the GSM 7-bit alphabet, one octet each, as data_coding 0 carries them; 0x1B is the escape.
_SEPTETS = {char: bytes((code + (code >= 0x1B),)) for code, char in enumerate(GSM7_BASIC)} | {
    char: bytes((0x1B, code))
    for char, code in zip(GSM7_EXTENSION, b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", strict=True)
}


def encode(text: str) -> tuple[int, list[bytes]]:
    """
    Return data_coding and the octets of each part.

    160 septets or 140 octets of UCS-2 are one SMS; a longer text is cut to leave room for a header of 6 octets (3GPP
    TS 23.040 section 9.2.3.24.1), and neither an escaped character nor a surrogate pair is cut in two.
    """
    gsm7 = is_gsm7(text)
    single, part = (160, 153) if gsm7 else (140, 134)
    units = [_SEPTETS[char] if gsm7 else char.encode("utf-16-be", "surrogatepass") for char in text]
    if sum(map(len, units)) <= single:
        return (0 if gsm7 else 8), [b"".join(units)]
    parts = [b""]
    for unit in units:
        if len(parts[-1]) + len(unit) > part:
            parts.append(b"")
        parts[-1] += unit
    return (0 if gsm7 else 8), parts


@dataclass(frozen=True, slots=True)
class Fields:
    """What is the same in every submit_sm."""

    sender: str
    service_type: str
    source_ton: int
    source_npi: int
    dest_ton: int
    dest_npi: int


def submit_bodies(fields: Fields, message: SmsMessage, data_coding: int, parts: Sequence[bytes]) -> Iterator[bytes]:
    """Write the submit_sm of each part, without its header."""
    # The same on every retry, so that a phone does not put parts of two hand-overs together wrongly.
    concatenation = sha256(message.reference.encode()).digest()[0]
    for number, part in enumerate(parts, start=1):
        header = bytes((5, 0, 3, concatenation, len(parts), number)) if len(parts) > 1 else b""
        pdu = SubmitSm(
            fields.sender, international(message.to), header + part, service_type=fields.service_type,
            source_addr_ton=fields.source_ton, source_addr_npi=fields.source_npi, dest_addr_ton=fields.dest_ton,
            dest_addr_npi=fields.dest_npi, esm_class=0x40 if header else 0, data_coding=data_coding,
            validity_period=_validity(message.validity_s), registered_delivery=int(number == len(parts)),
        )
        yield pdu.encode()[HEADER.size:]


def _validity(validity_s: int) -> str:
    """Write a time from now (section 7.1.1.2): YYMMDDhhmmss, a tenth, 00 and R."""
    minutes, seconds = divmod(max(1, validity_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"0000{days:02}{hours:02}{minutes:02}{seconds:02}000R"


# -- receipts ------------------------------------------------------------------------------------------------------

_RECEIPTED_MESSAGE_ID = 0x001E
_NETWORK_ERROR_CODE = 0x0423
_MESSAGE_PAYLOAD = 0x0424
_MESSAGE_STATE = 0x0427

#: message_state (section 5.2.28) as receipts write it, and what it says.  ACCEPTD is used for "the next network has
#: it", and UNKNOWN says nothing: neither may open a resend, so both are "on its way".
_STATES: Mapping[str, DeliveryState] = {
    "ENROUTE": DeliveryState.SENT,
    "DELIVRD": DeliveryState.DELIVERED,
    "EXPIRED": DeliveryState.FAILED,
    "DELETED": DeliveryState.FAILED,
    "UNDELIV": DeliveryState.FAILED,
    "ACCEPTD": DeliveryState.SENT,
    "UNKNOWN": DeliveryState.SENT,
    "REJECTD": DeliveryState.FAILED,
}
_STATE_NUMBERS = dict(enumerate(_STATES, start=1))

_KIND = 0x3C
_RECEIPT = 0x04
_INTERMEDIATE = 0x20

#: The end of what the SMSC wrote itself: what follows is the message, and may say anything.
_MESSAGE_TEXT = re.compile(r"(?:^|\s)text\s*:", re.IGNORECASE)
_FIELD = re.compile(r"(?:^|\s)(id|stat|err)\s*:\s*(\S+)", re.IGNORECASE)


def read_delivery(octets: bytes, id_form: IdForm) -> DeliveryReport | None:
    """Read a whole deliver_sm; None when it is no receipt.  Raises Unreadable, SaysNothing."""
    try:
        delivered = decode(octets)
    except SmppError as error:
        raise Unreadable from error
    return _read_receipt(delivered, id_form) if isinstance(delivered, DeliverSm) else None


def _read_receipt(delivered: DeliverSm, id_form: IdForm) -> DeliveryReport | None:
    """
    Read a receipt; None for an incoming SMS.

    Only esm_class or the SMSC's own parameter make a receipt: a citizen's SMS may look like one.  Raises SaysNothing.
    """
    parameters = {tlv.tag: bytes(tlv.value) for tlv in delivered.tlvs}
    kind = delivered.esm_class & _KIND
    if kind not in {_RECEIPT, _INTERMEDIATE} and _RECEIPTED_MESSAGE_ID not in parameters:
        return None
    octets = delivered.short_message or parameters.get(_MESSAGE_PAYLOAD, b"")
    fields = _text_fields(octets.decode("utf-16-be" if delivered.data_coding == 8 else "latin-1", "replace"))
    named = parameters.get(_RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("latin-1")
    if named:
        message_id = provider_id(_decimal(named, id_form.answers))
    else:
        message_id = provider_id(_decimal(fields.get("id", ""), id_form.receipts))
    word = _STATE_NUMBERS.get(int.from_bytes(parameters.get(_MESSAGE_STATE, b"")), fields.get("stat", "").upper())
    state = _STATES.get(word)
    if message_id is None or state is None:
        raise SaysNothing
    if kind == _INTERMEDIATE and state is DeliveryState.FAILED:
        state = DeliveryState.SENT
    error = fields.get("err", "").lstrip("0") or parameters.get(_NETWORK_ERROR_CODE, b"").hex()
    return DeliveryReport(state, message_id, provider_code=provider_code(f"{word} {error}".rstrip()))


def _text_fields(text: str) -> dict[str, str]:
    """Read ``id:… stat:… err:…`` of a receipt's text; of a repeated name the first value."""
    written_by_smsc = _MESSAGE_TEXT.split(text, maxsplit=1)[0]
    return {name.lower(): value for name, value in reversed(_FIELD.findall(written_by_smsc))}


def _decimal(message_id: str, base: int | None) -> str:
    """Return an id that is written in ``base`` in decimal; as it is where no base is given or it is no such number."""
    digits = {10: r"[0-9]{1,64}", 16: r"[0-9A-Fa-f]{1,64}"}
    if base is None or not re.fullmatch(digits[base], message_id):
        return message_id
    return str(int(message_id, base))
