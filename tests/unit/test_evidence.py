"""What a purpose makes of a source's answer."""

from __future__ import annotations

from itertools import pairwise

import pytest

from otp_service.core.evidence import (
    ASSURANCE_LEVELS,
    ComparedField,
    Evidence,
    EvidenceRules,
    OwnershipOutcome,
    OwnershipQuestion,
    judged,
    outweighs_mismatch,
    strong_enough,
)

MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
NOT_AVAILABLE, ERROR = OwnershipOutcome.NOT_AVAILABLE, OwnershipOutcome.ERROR
ID_NUMBER, NAME, BIRTH = ComparedField.ID_NUMBER, ComparedField.FULL_NAME, ComparedField.BIRTH_DATE


def match(assurance: str = "operator_match", **fields: OwnershipOutcome) -> Evidence:
    """Return a match with these other fields."""
    compared = {ID_NUMBER: MATCH} | {ComparedField(name): outcome for name, outcome in fields.items()}
    return Evidence(MATCH, "camara", assurance, fields=compared)


@pytest.mark.parametrize(("must_match", "fields", "outcome"), [
    ((), {"full_name": MISMATCH, "birth_date": MISMATCH}, MATCH),
    ((NAME,), {"full_name": MISMATCH}, MISMATCH),
    ((NAME,), {"full_name": MATCH, "birth_date": MISMATCH}, MATCH),
    ((NAME, BIRTH), {"full_name": MATCH, "birth_date": MISMATCH}, MISMATCH),
    ((NAME, BIRTH), {"full_name": NOT_AVAILABLE}, MATCH),
    ((NAME, BIRTH), {}, MATCH),
])
def test_other_fields_refuse_where_the_purpose_says_so(
    must_match: tuple[ComparedField, ...], fields: dict[str, OwnershipOutcome], outcome: OwnershipOutcome,
) -> None:
    """A field that must match refuses when it was compared and differs; what was not compared does not."""
    assert outcome is judged(match(**fields), EvidenceRules(frozenset(must_match))).outcome


@pytest.mark.parametrize("outcome", [MISMATCH, NOT_AVAILABLE, ERROR])
def test_nothing_makes_a_match_of_what_is_none(outcome: OwnershipOutcome) -> None:
    """However well the other fields agree, only the ID number makes a match (Invariant 8)."""
    evidence = Evidence(outcome, "camara", fields={NAME: MATCH, BIRTH: MATCH})
    assert evidence == judged(evidence, EvidenceRules(frozenset({NAME, BIRTH}), "attested_reply_indirect"))


def test_too_weak_a_word_is_no_answer() -> None:
    """A match below the purpose's level is as if the source held nothing, and claims no level."""
    rules = EvidenceRules(min_assurance="subscriber_table")
    assert MATCH is judged(match("subscriber_table"), rules).outcome
    weak = judged(match("attested_reply"), rules)
    assert (NOT_AVAILABLE, None, "assurance_too_weak") == (weak.outcome, weak.assurance, weak.note)


def test_the_levels_are_ordered() -> None:
    """Each level is enough for itself and everything weaker, never for what is stronger."""
    for stronger, weaker in pairwise(ASSURANCE_LEVELS):
        assert strong_enough(stronger, weaker)
        assert strong_enough(weaker, weaker)
        assert not strong_enough(weaker, stronger)
    order = [ASSURANCE_LEVELS.index(name) for name in ("operator_match", "subscriber_table", "attested_reply")]
    assert sorted(order) == order


@pytest.mark.parametrize(("outcome", "note", "outweighs"), [
    (MATCH, "previous_id_number", True), (MISMATCH, None, False), (NOT_AVAILABLE, "no_document", False),
    (ERROR, "timeout", True), (ERROR, "throttled", True), (ERROR, "request_refused", False),
    (ERROR, "answer_unreadable", False), (ERROR, None, False),
])
def test_what_a_previous_number_takes_back(outcome: OwnershipOutcome, note: str | None, outweighs: bool) -> None:
    """A mismatch of the current number yields to a match and to an outage, not to what can be brought about at will."""
    assert outweighs is outweighs_mismatch(Evidence(outcome, "camara", note=note))
    assert outweighs_mismatch(Evidence(ERROR, "camara", note="odd", stale_token=True))


@pytest.mark.parametrize("assurance", [None, "", "certain"])
def test_an_unknown_level_is_the_weakest(assurance: str | None) -> None:
    """A level that nobody knows is enough only where any is."""
    assert strong_enough(assurance, None)
    assert not strong_enough(assurance, ASSURANCE_LEVELS[-1])


def test_a_question_shows_no_data() -> None:
    """Neither phone, ID number, name nor birth date stands in a question's repr (Invariant 5)."""
    shown = repr(OwnershipQuestion("+84900000001", ("052090000001",), "NGUYỄN VĂN A", "1990-01-01", "7-k1-a"))
    for datum in ("900000001", "052090000001", "NGUYỄN", "1990"):
        assert datum not in shown
