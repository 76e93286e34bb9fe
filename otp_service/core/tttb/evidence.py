"""
Weighs the facts of a 1414 reply against the question: what an official read on the citizen's phone is worth.

A pasted reply is a person's word: there are apps that forge one.  Its assurance is therefore below that of any
operator or table, and it says how it was reached:

==========  =======================  =============================================================================
confidence  assurance                the reply showed
==========  =======================  =============================================================================
full        attested_reply           the whole ID number; to match, its SIM or its person have to be there as well
partial     attested_reply           at least four of its digits; to match, the name or the birth date has to agree,
                                     and neither may differ
indirect    attested_reply_indirect  no ID number; name and birth date both agree, or both differ; to match, the SIM
                                     has to be among the numbers
none        none                     nothing that decides: ``NOT_AVAILABLE``, and a note says why
==========  =======================  =============================================================================

A number that nobody labelled proves nothing, and stands against a match by anything else.  Another kind of paper than
the one asked about is no mismatch where name and birth date agree: it may be the person's old one.

A negative reply is no mismatch.  It says that some document and some SIM do not belong together, but not which
document was asked about: a mistyped number must not turn a citizen away for good, so the official asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from otp_service.core.birth_dates import compare_birth_dates
from otp_service.core.evidence import ComparedField, OwnershipOutcome, OwnershipQuestion
from otp_service.core.names import compare_names, fold
from otp_service.core.reading import national
from otp_service.core.tttb.reply import TttbReply, TttbReplyKind

_MATCH: Final = OwnershipOutcome.MATCH
_MISMATCH: Final = OwnershipOutcome.MISMATCH
_NOT_AVAILABLE: Final = OwnershipOutcome.NOT_AVAILABLE

#: Why a reply decides nothing, and the one remark that a match may carry.
#:
#: IMPORTANT: a new note also goes into the tables of docs/api.md and docs/ownership.md.
NOTES: Final = (
    "previous_id_number",
    "other_phone", "list_cut_off", "contradictory", "id_number_masked", "id_number_alone", "nothing_to_compare",
    "other_document", "phone_not_shown", "negative_reply", "no_document", "no_data", "wrong_syntax", "unreadable",
)

_UNANSWERED: Final = {
    TttbReplyKind.NEGATIVE: "negative_reply",
    TttbReplyKind.UNREGISTERED: "no_document",
    TttbReplyKind.NO_DATA: "no_data",
    TttbReplyKind.WRONG_SYNTAX: "wrong_syntax",
    TttbReplyKind.UNREADABLE: "unreadable",
}

_ATTESTED: Final = "attested_reply"
_INDIRECT: Final = "attested_reply_indirect"

#: Fewer digits than these are shared by too many numbers to say anything, either way.
_FEWEST_SHOWN: Final = 4

#: Digits of a CMND and of a CCCD.
_LENGTHS: Final = frozenset({9, 12})


class Confidence(StrEnum):
    """How a verdict was reached, see the table above."""

    FULL = "full"
    PARTIAL = "partial"
    INDIRECT = "indirect"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class AttestedReply:
    """
    What a reply is worth; nothing of its content.

    Attributes:
        outcome: ``MATCH``, ``MISMATCH`` or ``NOT_AVAILABLE``.
        confidence: how that was reached; ``NONE`` exactly where the outcome is ``NOT_AVAILABLE``.
        assurance: ``attested_reply``, ``attested_reply_indirect``, or None where nothing was learnt.
        note: one of :data:`NOTES`, or None.
        fields: what became of the ID number, and of name and birth date where the question has them.
    """

    outcome: OwnershipOutcome
    confidence: Confidence
    assurance: str | None
    note: str | None
    fields: Mapping[ComparedField, OwnershipOutcome]


def weigh(reply: TttbReply, question: OwnershipQuestion) -> AttestedReply:
    """Compare a reply with the question; see the module for what comes of it."""
    if note := _UNANSWERED.get(reply.kind):
        return _undecided(note, _fields(reply, question, compared=False))
    if note := _wrong_sim(reply, question) or ("contradictory" if _contradicts_itself(reply, question) else None):
        return _undecided(note, _fields(reply, question, compared=False))
    if reply.unknown_words:
        return _undecided("unreadable", _fields(reply, question, compared=False))
    fields = _fields(reply, question)
    if not reply.id_numbers:
        return _by_person(reply, fields)
    if any("*" not in number for number in reply.id_numbers):
        return _by_full_number(reply, question, fields)
    return _by_masked_number(reply, question, fields)


# -- what decides ------------------------------------------------------------------------------------------------------


_Fields = Mapping[ComparedField, OwnershipOutcome]


def _by_full_number(reply: TttbReply, question: OwnershipQuestion, fields: _Fields) -> AttestedReply:
    if fields[ComparedField.ID_NUMBER] is _NOT_AVAILABLE:
        # It ended the text and was not all of the number.
        return _by_person(reply, fields)
    if fields[ComparedField.ID_NUMBER] is _MISMATCH:
        return _mismatch(Confidence.FULL, reply, question, fields)
    others = _others(fields)
    if others == [_MISMATCH, _MISMATCH] or (_MISMATCH in others and _MATCH not in others and not _shows_sim(reply)):
        # The number may have been the official's, not the reply's: it is somebody else's record.
        return _undecided("contradictory", fields)
    if not (_shows_sim(reply) or reply.full_names or reply.birth_dates):
        # No carrier answers with a number and nothing else: the rest, perhaps a refusal, was left out.
        return _undecided("id_number_alone", fields)
    note = None if question.id_numbers[0] in reply.id_numbers else "previous_id_number"
    return AttestedReply(_MATCH, Confidence.FULL, _ATTESTED, note, fields)


def _by_masked_number(reply: TttbReply, question: OwnershipQuestion, fields: _Fields) -> AttestedReply:
    if fields[ComparedField.ID_NUMBER] is _MISMATCH:
        return _mismatch(Confidence.PARTIAL, reply, question, fields)
    others = _others(fields)
    if fields[ComparedField.ID_NUMBER] is _NOT_AVAILABLE or _MATCH not in others or _MISMATCH in others:
        unproven = {**fields, ComparedField.ID_NUMBER: _NOT_AVAILABLE}
        return _undecided("id_number_masked", MappingProxyType(unproven))
    note = None if _agrees(reply.id_numbers[0], question.id_numbers[0]) else "previous_id_number"
    return AttestedReply(_MATCH, Confidence.PARTIAL, _ATTESTED, note, fields)


def _by_person(reply: TttbReply, fields: _Fields) -> AttestedReply:
    others = _others(fields)
    if others == [_MATCH, _MATCH] and not _shows_sim(reply):
        return _undecided("phone_not_shown", fields)
    if others in ([_MATCH, _MATCH], [_MISMATCH, _MISMATCH]):
        return AttestedReply(others[0], Confidence.INDIRECT, _INDIRECT, None, fields)
    return _undecided("nothing_to_compare", fields)


def _mismatch(
    confidence: Confidence, reply: TttbReply, question: OwnershipQuestion, fields: _Fields,
) -> AttestedReply:
    """Tell somebody else's document from another one of the same person: a CMND where the CCCD was asked about."""
    lengths = {len(number) for number in question.id_numbers}
    other_kind = all(len(number) in _LENGTHS - lengths for number in reply.id_numbers)
    if other_kind and _others(fields) == [_MATCH, _MATCH]:
        undecided = {**fields, ComparedField.ID_NUMBER: _NOT_AVAILABLE}
        return _undecided("other_document", MappingProxyType(undecided))
    return AttestedReply(_MISMATCH, confidence, _ATTESTED, None, fields)


def _shows_sim(reply: TttbReply) -> bool:
    return bool(reply.phones or reply.listed)


def _undecided(note: str, fields: _Fields) -> AttestedReply:
    return AttestedReply(_NOT_AVAILABLE, Confidence.NONE, None, note, fields)


# -- field by field ----------------------------------------------------------------------------------------------------


def _fields(reply: TttbReply, question: OwnershipQuestion, *, compared: bool = True) -> _Fields:
    """Return each field's outcome, in a fixed order; all ``NOT_AVAILABLE`` where the reply is not to be compared."""
    fields = {ComparedField.ID_NUMBER: _id_number(reply, question) if compared else _NOT_AVAILABLE}
    if question.full_name is not None:
        fields[ComparedField.FULL_NAME] = _full_name(reply, question.full_name) if compared else _NOT_AVAILABLE
    if question.birth_date is not None:
        shown = max(reply.birth_dates, key=len, default=None) if compared else None
        fields[ComparedField.BIRTH_DATE] = compare_birth_dates(question.birth_date, shown)
    return MappingProxyType(fields)


def _others(fields: _Fields) -> list[OwnershipOutcome]:
    """Return the outcomes of what supports the ID number."""
    return [outcome for one, outcome in fields.items() if one is not ComparedField.ID_NUMBER]


def _full_name(reply: TttbReply, given: str) -> OwnershipOutcome:
    shown = min(reply.full_names, key=lambda name: name.count("*"), default="")
    outcome = compare_names(given, shown)
    cut_off = reply.unfinished is ComparedField.FULL_NAME and fold(given).startswith(shown)
    return _NOT_AVAILABLE if outcome is _MISMATCH and cut_off else outcome


def _id_number(reply: TttbReply, question: OwnershipQuestion) -> OwnershipOutcome:
    """Compare the whole number where it is shown, else what is shown of it."""
    full = [number for number in reply.id_numbers if "*" not in number]
    if full:
        if any(number in question.id_numbers for number in full):
            return _MATCH
        return _NOT_AVAILABLE if _cut_off(reply, question) else _MISMATCH
    if not reply.id_numbers:
        return _NOT_AVAILABLE
    shown = reply.id_numbers[0]
    agreeing = [asked for asked in question.id_numbers if _agrees(shown, asked)]
    if any(_shown_digits(shown, asked) >= _FEWEST_SHOWN for asked in agreeing):
        return _MATCH
    enough = max((_shown_digits(shown, asked) for asked in question.id_numbers), default=0) >= _FEWEST_SHOWN
    return _MISMATCH if enough and not agreeing and not _cut_off(reply, question) else _NOT_AVAILABLE


def _cut_off(reply: TttbReply, question: OwnershipQuestion) -> bool:
    """Whether the ID number ends the text and may be the beginning of a longer one that was asked about."""
    if reply.unfinished is not ComparedField.ID_NUMBER:
        return False
    shown = reply.id_numbers[-1]
    return any(len(shown) < len(asked) and asked.startswith(shown.partition("*")[0]) for asked in question.id_numbers)


# -- digits that are not all shown -------------------------------------------------------------------------------------


def _pairs(shown: str, number: str) -> list[tuple[str, str]] | None:
    """
    Pair the digits that can be told apart: by place where the lengths agree, else from both ends.

    None when a mask of unknown length would have nothing to hide.
    """
    if len(shown) == len(number):
        return [(one, two) for one, two in zip(shown, number, strict=True) if one != "*"]
    head, tail = shown[:shown.index("*")], shown[shown.rindex("*") + 1:]
    if len(head) + len(tail) >= len(number):
        return None
    return [*zip(head, number, strict=False), *zip(reversed(tail), reversed(number), strict=False)]


def _agrees(shown: str, number: str) -> bool:
    """Whether every digit that is shown is the number's."""
    pairs = _pairs(shown, number)
    return pairs is not None and all(one == two for one, two in pairs)


def _shown_digits(shown: str, number: str) -> int:
    """Count the digits that can be compared."""
    return len(_pairs(shown, number) or [])


# -- is the reply about this SIM, and about one person? ----------------------------------------------------------------


def _wrong_sim(reply: TttbReply, question: OwnershipQuestion) -> str | None:
    """Return a note when the reply shows numbers, and the question's is not among them."""
    shown = (*reply.phones, *reply.listed)
    if not shown or any(_is_phone(one, question.phone_number) for one in shown):
        return None
    return "list_cut_off" if reply.list_cut_off and not reply.phones else "other_phone"


def _is_phone(shown: str, e164: str) -> bool:
    return shown == e164 or ("*" in shown and _agrees(shown, national(e164)))


def _contradicts_itself(reply: TttbReply, question: OwnershipQuestion) -> bool:
    """
    Whether one text shows two SIMs, documents, names or birth dates: perhaps two replies copied as one.

    A list of SIMs is none, nor are the current and the previous ID number of the question, nor is the same value
    once in full and once masked.
    """
    numbers = (*reply.id_numbers, *_foreign(reply, question))
    full = [number for number in numbers if "*" not in number]
    masked = [number for number in numbers if "*" in number]
    if numbers and not reply.id_numbers:
        return True
    if len(full) > 1 and not set(full) <= set(question.id_numbers):
        return True
    if len(masked) > 1 and not full:
        return True
    if full and not all(any(_agrees(one, number) for number in full) for one in masked):
        return True
    sims = [one for one in reply.phones if "*" not in one] or reply.phones[:1]
    if len(sims) > 1 or not all(_is_phone(one, sims[0]) for one in reply.phones if one not in sims):
        return True
    names = sorted(reply.full_names, key=lambda name: name.count("*"))
    births = sorted(reply.birth_dates, key=len, reverse=True)
    return _differ(names, compare_names) or _differ(births, compare_birth_dates)


def _foreign(reply: TttbReply, question: OwnershipQuestion) -> list[str]:
    """Return the numbers without a label that are neither the question's nor those behind a label, nor its phone."""
    known = {number for number in (*question.id_numbers, *reply.id_numbers) if "*" not in number}
    return [
        number for number in reply.unlabelled
        if number not in {*known, *reply.id_numbers} and not _is_phone(number, question.phone_number)
        and not ("*" in number and any(_agrees(number, one) for one in known))
    ]


def _differ(shown: Sequence[str], compare: Callable[[str, str], OwnershipOutcome]) -> bool:
    """Whether any value differs from the first, which is the one that says most."""
    return any(compare(shown[0], other) is _MISMATCH for other in shown[1:])
