"""
What a source answered about a SIM, and how sure that makes us.

Inside, every field that was compared has an outcome of its own; outside, only the verdict is told (invariant 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class OwnershipOutcome(StrEnum):
    """
    The four answers a source can give.

    ``NOT_AVAILABLE`` means that the source holds nothing to compare (not its subscriber, no document on record):
    it is not a mismatch.  ``ERROR`` means that the source did not answer; it never counts as a match (invariant 8).
    """

    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_AVAILABLE = "not_available"
    ERROR = "error"


class ComparedField(StrEnum):
    """What of a person can be compared with the subscriber record; the ID number decides, see :func:`judged`."""

    ID_NUMBER = "id_number"
    FULL_NAME = "full_name"
    BIRTH_DATE = "birth_date"


#: Assurance levels from the strongest to the weakest.
#:
#: A match by the previous ID number proves that the SIM is registered under *that* document; that both numbers are one
#: person's is the portal's word.  An attested reply is what an official read on the citizen's phone (or on a picture
#: of it); an indirect one showed no ID number, and name and birth date agreed.
#:
#: IMPORTANT: a new level also goes into the tables of docs/api.md and docs/ownership.md.
ASSURANCE_LEVELS: Final = (
    "operator_match", "subscriber_table", "operator_match_previous_id", "subscriber_table_previous_id",
    "attested_reply", "attested_reply_indirect",
)

#: The note of a source that does not know the number: another source is asked.
NOT_A_SUBSCRIBER: Final = "not_a_subscriber"


@dataclass(frozen=True, slots=True)
class OwnershipQuestion:
    """
    The question a person asks with ``TTTB <ID number>`` to 1414: is this SIM registered under this document?

    Attributes:
        phone_number: E.164 with plus.
        id_numbers: the CCCD or CMND, then the previous one if the person gave it; digits only.
        full_name: as the form has it, for sources that compare names.
        birth_date: ISO 8601 date, for sources that compare it.
        reference: our id for the check, the same on every retry.
        purpose: the purpose it is asked for; it may choose the source.
        test: asked by a test key: no source that reaches a real register is asked.
        sim_swap_max_age_h: ask whether the SIM was changed within so many hours; None does not ask.
        sim_swap_decides: without an answer to that there is no evidence; otherwise it is good to know.
        min_assurance: the weakest level that is of use to whoever asks; None for any.
        consent: version of the notice that the person agreed to, for sources that want a reference to it.
    """

    phone_number: str = field(repr=False)
    id_numbers: tuple[str, ...] = field(repr=False)
    full_name: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    reference: str = ""
    purpose: str = ""
    test: bool = False
    sim_swap_max_age_h: int | None = None
    sim_swap_decides: bool = False
    min_assurance: str | None = None
    consent: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What one source answered.

    Attributes:
        outcome: one of four, by the ID number; what else was compared stands in ``fields``.
        source: the source's name.
        assurance: its level, one of :data:`ASSURANCE_LEVELS`, or None when nothing was learnt.
        note: a closed-set word for the log (``subscriber_blocked``, ``timeout``, …); never subscriber data.
        fields: what each compared field came to; a field that was not compared is not there.
        sim_swapped: whether the SIM was changed lately; None when that was not asked or is not known.
        retry_after_s: how long the source wants to be left alone.
        stale_token: the source's access token was not taken: fetch another and ask once more.
        provider_code: HTTP status and code of a refusal, for the log; at most 64 characters, never a sentence.
    """

    outcome: OwnershipOutcome
    source: str
    assurance: str | None = None
    note: str | None = None
    fields: Mapping[ComparedField, OwnershipOutcome] = field(default_factory=lambda: MappingProxyType({}))
    sim_swapped: bool | None = None
    retry_after_s: float | None = None
    stale_token: bool = False
    provider_code: str | None = field(default=None, compare=False)


#: Notes of errors that pass by themselves: the same question may be answered a little later.
_PASSING: Final = frozenset({
    "timeout", "connection_lost", "connection_refused", "connect_timeout", "not_connected", "name_not_found",
    "tls_failed", "throttled", "unavailable", "unauthenticated",
})


def outweighs_mismatch(previous: Evidence) -> bool:
    """
    Whether what the previous ID number came to takes back that the current one is not the subscriber's.

    A match does, and so does an error that passes: its answer may have been a match.  What cannot be compared, and a
    number that the source refuses, takes nothing back: with a made-up previous number a mismatch could otherwise be
    turned into something milder at will.
    """
    if previous.outcome is OwnershipOutcome.ERROR:
        return previous.stale_token or previous.note in _PASSING
    return previous.outcome is OwnershipOutcome.MATCH


class SimSwapEffect(StrEnum):
    """What it means to a purpose that the SIM was changed lately: it is not asked, told to operations, or refused."""

    IGNORE = "ignore"
    RECORD = "record"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """
    What a purpose makes of evidence.

    Attributes:
        must_match: fields besides the ID number that must not differ where they were compared.
        min_assurance: the weakest level that is enough; None for any.
        sim_swap: what a change of the SIM means.
        sim_swap_max_age_h: within so many hours, 1 to 2400 (CAMARA SIM Swap 2.1.0, ``maxAge``).
    """

    must_match: frozenset[ComparedField] = frozenset()
    min_assurance: str | None = None
    sim_swap: SimSwapEffect = SimSwapEffect.IGNORE
    sim_swap_max_age_h: int = 240


def judged(evidence: Evidence, rules: EvidenceRules) -> Evidence:
    """
    Return what a purpose makes of an answer.

    A match needs the ID number to agree.  It becomes a mismatch when another field that must match differs, and
    ``NOT_AVAILABLE`` when the source's word is not strong enough for the purpose.
    """
    if evidence.outcome is not OwnershipOutcome.MATCH:
        return evidence
    if any(evidence.fields.get(one) is OwnershipOutcome.MISMATCH for one in rules.must_match):
        return replace(evidence, outcome=OwnershipOutcome.MISMATCH, note="other_field_differs")
    if not strong_enough(evidence.assurance, rules.min_assurance):
        return replace(evidence, outcome=OwnershipOutcome.NOT_AVAILABLE, assurance=None, note="assurance_too_weak")
    return evidence


def strong_enough(assurance: str | None, least: str | None) -> bool:
    """Whether a level is at least another; a level that nobody knows is weaker than all."""
    if least is None:
        return True
    return assurance in ASSURANCE_LEVELS and ASSURANCE_LEVELS.index(assurance) <= ASSURANCE_LEVELS.index(least)
