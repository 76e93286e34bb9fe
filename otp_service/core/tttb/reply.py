"""
Reads a reply of 1414 to ``TTTB`` or ``TTTB <ID number>``: text that an official copied or typed, into facts.

No carrier publishes its replies, they change, and each writes its own: so nothing here knows a whole reply.  Labels
are found ("Họ tên", "So GT", "Danh sach so thue bao"), accented or not, and what follows a label, up to the next one,
is read as that label's kind of value.  Every field may be missing, in any place, or cut off at the end of an SMS.

A number counts as an ID number only behind its label, and nothing counts in a text that says no: a refusal may repeat
what was asked about.  Other numbers that look like one are kept apart: they prove nothing, and stand against what is
proven without them.  Links are removed before anything is read, and no text is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from otp_service.core.evidence import ComparedField
from otp_service.core.tttb.fields import (
    DocumentKind,
    Field,
    Label,
    Value,
    asides,
    bad_status,
    find_fields,
    may_be_name,
    plain_name,
    read_birth_date,
    read_bracketed_name,
    read_id_number,
    read_name,
)
from otp_service.core.tttb.numbers import read_unlabelled
from otp_service.core.tttb.phones import contacts, read_phones
from otp_service.core.tttb.phrases import Phrase, in_case, is_form, said, worded
from otp_service.core.tttb.text import blot, prepare
from otp_service.core.tttb.words import all_known, says_something


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
        unlabelled: numbers that look like ID numbers and stand behind no label, or behind an "if".
        unknown_words: the reply shows an ID number, neither name nor birth date, and words that nobody knows, or none.
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
    unlabelled: tuple[str, ...] = field(default=(), repr=False)
    unknown_words: bool = False
    unfinished: ComparedField | None = None


def read_reply(text: str) -> TttbReply:
    """Read a reply; never raises.  More than 2 000 characters are ``UNREADABLE``, unread."""
    prepared = prepare(text)
    fields = find_fields(prepared)
    read = _read(prepared, fields)
    phones = read_phones(prepared, fields, [*_spans(read.births), *_spans(read.numbers)])
    facts = TttbReply(
        TttbReplyKind.SUBSCRIBER,
        phones=phones.single,
        listed=phones.listed,
        list_cut_off=phones.cut_off,
        id_numbers=_texts(read.numbers),
        document_kind=_document(fields),
        full_names=_texts(read.names),
        birth_dates=_texts(read.births),
        unlabelled=read_unlabelled(prepared, [*_spans(read.births), *_spans(read.numbers), *phones.spans]),
        unknown_words=_unknown_words(prepared, fields, read, phones.spans),
        unfinished=_unfinished(prepared, read.names, read.numbers),
    )
    kind = _kind(facts, _said(prepared, fields, read))
    if kind is TttbReplyKind.SUBSCRIBER:
        return facts
    if kind is TttbReplyKind.LIST:
        return TttbReply(kind, phones=facts.phones, listed=facts.listed, list_cut_off=facts.list_cut_off)
    return TttbReply(kind)


@dataclass(frozen=True, slots=True)
class _Read:
    names: list[Value]
    births: list[Value]
    numbers: list[Value]


_Span = tuple[int, int]


def _read(text: str, fields: Iterable[Field]) -> _Read:
    """Read the values behind labels, but not those of an "if"."""
    ifs = in_case(text)

    def behind(label: Label, reader: Callable[[str, Field], Value | None]) -> list[Value]:
        values = [value for one in fields if one.label == label and (value := reader(text, one))]
        return [value for value in values if not any(start <= value.start < end for start, end in ifs)]

    numbers = behind("id", read_id_number)
    bracketed = [name for number in numbers if (name := read_bracketed_name(text, number))]
    return _Read([*behind("name", read_name), *bracketed], behind("birth", read_birth_date), numbers)


def _spans(values: Iterable[Value]) -> list[_Span]:
    return [(one.start, one.end) for one in values]


def _said(text: str, fields: Iterable[Field], read: _Read) -> frozenset[Phrase]:
    """Return what the words, a status and the place of the values say."""
    names = [(one.start, one.end) for one in read.names if may_be_name(one.text)]
    names += [span for one in fields if one.label == "name" and (span := plain_name(text, one))]
    phrases = set(said(text, names))
    if any(one.label == "status" and bad_status(text, one) for one in fields):
        phrases.add(Phrase.NO)
    if is_form(text, _spans([*read.names, *read.births, *read.numbers])):
        phrases.add(Phrase.ASKS)
    return frozenset(phrases)


def _unknown_words(text: str, fields: list[Field], read: _Read, phones: Sequence[_Span]) -> bool:
    """Whether an ID number stands without a person among words of which some are not known, or among labels alone."""
    if not read.numbers or read.names or read.births:
        return False
    known = [*_spans(read.numbers), *phones, *contacts(text, fields), *asides(text, fields)]
    rest = blot(worded(text), known)
    # An ID number without even a phone has a note of its own.
    return not all_known(rest) or (bool(phones) and not says_something(rest))


def _kind(facts: TttbReply, phrases: frozenset[Phrase]) -> TttbReplyKind:
    """
    Tell what a reply is from what was read and what it says.

    Name and birth date come from the subscriber record: a reply with one of them is about a subscriber although an
    earlier "wrong syntax" was copied with it.  Nothing makes up for any other no.
    """
    person = facts.full_names or facts.birth_dates
    anything = person or facts.id_numbers or facts.phones or facts.listed
    rules = (
        (Phrase.NEGATIVE in phrases, TttbReplyKind.NEGATIVE),
        (Phrase.WRONG_SYNTAX in phrases and not person, TttbReplyKind.WRONG_SYNTAX),
        (Phrase.UNREGISTERED in phrases, TttbReplyKind.UNREGISTERED),
        (Phrase.NOTHING in phrases, TttbReplyKind.NO_DATA),
        (anything and Phrase.NO in phrases, TttbReplyKind.NEGATIVE),
        (anything and Phrase.ASKS in phrases, TttbReplyKind.UNREADABLE),
        (person or facts.id_numbers, TttbReplyKind.SUBSCRIBER),
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
