"""What a source answered about a SIM, and how sure that makes us."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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
    """

    phone_number: str = field(repr=False)
    id_numbers: tuple[str, ...] = field(repr=False)
    full_name: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What one source answered.

    Attributes:
        outcome: one of four.
        source: the source's name.
        assurance: its level, one of :data:`ASSURANCE_LEVELS`, or None when nothing was learnt.
        note: a closed-set word for the log (``subscriber_blocked``, ``timeout``, …); never subscriber data.
    """

    outcome: OwnershipOutcome
    source: str
    assurance: str | None = None
    note: str | None = None


#: Assurance levels from the strongest to the weakest.
#: A match by the previous ID number proves that the SIM is registered under *that* document; that both numbers are one
#: person's is the portal's word.
ASSURANCE_LEVELS = ("operator_match", "subscriber_table", "subscriber_table_previous_id", "attested_reply")
