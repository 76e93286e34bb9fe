"""
Reads a reply of 1414 to ``TTTB`` or ``TTTB <ID number>``: text that an official copied or typed, into facts.

No carrier publishes its replies, they change, and each writes its own: so nothing here knows a whole reply.  Labels
are found ("Họ tên", "So GT", "Danh sach so thue bao"), accented or not, and what follows a label, up to the next one,
is read as that label's kind of value.  Every field may be missing, in any place, or cut off at the end of an SMS.

A number counts as an ID number only behind its label, and never in a text that says no: a refusal may repeat the
number that was asked about.  Links are removed before anything is read, and no text is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from otp_service.core.evidence import ComparedField
from otp_service.core.tttb.fields import (
    DocumentKind,
    Field,
    Value,
    find_fields,
    read_birth_date,
    read_id_number,
    read_name,
)
from otp_service.core.tttb.phones import read_phones
from otp_service.core.tttb.phrases import Phrase, said
from otp_service.core.tttb.text import prepare


class TttbReplyKind(StrEnum):
    """
    What a reply is.

    IMPORTANT: a new member that comes without facts also goes into ``_UNANSWERED`` of ``core/tttb/evidence.py``.
    """

    SUBSCRIBER = "subscriber"
    LIST = "list"
    NO_DATA = "no_data"
    WRONG_SYNTAX = "wrong_syntax"
    NEGATIVE = "negative"
    UNREGISTERED = "unregistered"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class TttbReply:
    """
    The facts of one reply; each different value once, in the order of the text.

    Attributes:
        kind: what the reply is; only ``SUBSCRIBER`` and ``LIST`` come with facts.
        phones: the SIMs it is about: E.164, or national digits with ``*`` where they are masked.
        listed: SIMs in a list of those under the same document, in the same form.
        list_cut_off: the list goes on where the text does not.
        id_numbers: 12 or 9 digits, or any number of digits with ``*`` where they are masked.
        document_kind: what paper the number is of; None when the reply does not say, or says more than one.
        full_names: without accents and case, with ``*`` where letters are masked.
        birth_dates: ``YYYY-MM-DD`` or ``YYYY``.
        unfinished: the field whose value ends the text: more of it may have been cut off.
    """

    kind: TttbReplyKind
    phones: tuple[str, ...] = field(default=(), repr=False)
    listed: tuple[str, ...] = field(default=(), repr=False)
    list_cut_off: bool = False
    id_numbers: tuple[str, ...] = field(default=(), repr=False)
    document_kind: DocumentKind | None = None
    full_names: tuple[str, ...] = field(default=(), repr=False)
    birth_dates: tuple[str, ...] = field(default=(), repr=False)
    unfinished: ComparedField | None = None


def read_reply(text: str) -> TttbReply:
    """Read a reply; never raises.  More than 2 000 characters are ``UNREADABLE``, unread."""
    prepared = prepare(text)
    fields = find_fields(prepared)
    names = [value for one in fields if one.label == "name" and (value := read_name(prepared, one))]
    births = [value for one in fields if one.label == "birth" and (value := read_birth_date(prepared, one))]
    numbers = [value for one in fields if one.label == "id" and (value := read_id_number(prepared, one))]
    phones = read_phones(prepared, fields, [(one.start, one.end) for one in (*births, *numbers)])
    facts = TttbReply(
        TttbReplyKind.SUBSCRIBER,
        phones=phones.single,
        listed=phones.listed,
        list_cut_off=phones.cut_off,
        id_numbers=_texts(numbers),
        document_kind=_document(fields),
        full_names=_texts(names),
        birth_dates=_texts(births),
        unfinished=_unfinished(prepared, names, numbers),
    )
    kind = _kind(facts, said(prepared))
    if kind is TttbReplyKind.SUBSCRIBER:
        return facts
    if kind is TttbReplyKind.LIST:
        return TttbReply(kind, phones=facts.phones, listed=facts.listed, list_cut_off=facts.list_cut_off)
    return TttbReply(kind)


def _kind(facts: TttbReply, phrases: frozenset[Phrase]) -> TttbReplyKind:
    """
    Tell what a reply is from what was read and what it says.

    Name and birth date come from the subscriber record: a reply with one of them is about a subscriber, whatever
    stands around it (an earlier "wrong syntax", say).  The ID number does not prove that: it may be the question's.
    """
    rules = (
        (Phrase.NEGATIVE in phrases, TttbReplyKind.NEGATIVE),
        (facts.full_names or facts.birth_dates, TttbReplyKind.SUBSCRIBER),
        (Phrase.WRONG_SYNTAX in phrases, TttbReplyKind.WRONG_SYNTAX),
        (Phrase.UNREGISTERED in phrases, TttbReplyKind.UNREGISTERED),
        (facts.id_numbers and Phrase.NO in phrases, TttbReplyKind.NEGATIVE),
        (facts.id_numbers, TttbReplyKind.SUBSCRIBER),
        (facts.listed, TttbReplyKind.LIST),
        (Phrase.NO_DATA in phrases, TttbReplyKind.NO_DATA),
        (facts.phones, TttbReplyKind.SUBSCRIBER),
    )
    return next((kind for holds, kind in rules if holds), TttbReplyKind.UNREADABLE)


def _texts(values: Iterable[Value]) -> tuple[str, ...]:
    """Return each different value once."""
    return tuple(dict.fromkeys(one.text for one in values))


def _document(fields: Iterable[Field]) -> DocumentKind | None:
    """Return the paper that the labels name; None when they name none or several ("CMND/CCCD")."""
    named = {one.document for one in fields if one.document is not None}
    return named.pop() if len(named) == 1 else None


def _unfinished(text: str, names: Iterable[Value], numbers: Iterable[Value]) -> ComparedField | None:
    """Return whether a name or an ID number is the last there is."""
    if any(one.end == len(text) for one in names):
        return ComparedField.FULL_NAME
    return ComparedField.ID_NUMBER if any(one.end == len(text) for one in numbers) else None
