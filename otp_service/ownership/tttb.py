"""
The subscriber table: the answer to ``TTTB <ID number>`` to 1414, from a carrier's or regulator's file.

A person who texts ``TTTB`` and their ID number to 1414 learns whether that SIM stands under that document.  A server
cannot text it for them: 1414 is free of charge, takes SMS from the SIM itself and has no API.  This source asks the
same question of a table and answers one word, never what the table holds.

============================  ==================================================================================
the row                       the evidence
============================  ==================================================================================
none for this phone           ``not_available``, ``not_a_subscriber``
blocked, restricted_two_way   ``not_available``, ``subscriber_blocked``: a SIM out of service proves nothing
unknown                       ``not_available``, ``status_unknown``
without an ID number          ``not_available``, ``no_document``
active, restricted_one_way    ``match`` or ``mismatch``; a SIM restricted one way still receives SMS
============================  ==================================================================================

The ID number alone decides.  Where the question has a name or a birth date, what it comes to stands in
``Evidence.fields``.  What the rows may be is told in ``subscribers/rows.py``, what is kept of them, in memory as in a
file, in ``subscribers/table.py``: digests.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from secrets import token_bytes
from typing import Final

from otp_service.core.birth_dates import birth_date_key
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import NOT_A_SUBSCRIBER, ComparedField, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.names import name_key
from otp_service.ownership.subscribers.importing import read_subscribers
from otp_service.ownership.subscribers.rows import COLUMNS
from otp_service.ownership.subscribers.table import (
    NO_DOCUMENT,
    NO_FIELD,
    STATUSES,
    Digests,
    Record,
    SubscriberTable,
    TableDamaged,
    TableFile,
)

__all__ = ["COLUMNS", "STATUSES", "TttbSource"]

_MATCH: Final = OwnershipOutcome.MATCH
_MISMATCH: Final = OwnershipOutcome.MISMATCH
_NOT_AVAILABLE: Final = OwnershipOutcome.NOT_AVAILABLE

#: SIMs of which nothing is said, and why.
_OUT_OF_SERVICE: Final = {
    "blocked": "subscriber_blocked", "restricted_two_way": "subscriber_blocked", "unknown": "status_unknown",
}

#: Characters of a birth date of which the year alone is known; "1990-01-31" begins with them.
_YEAR: Final = 4

#: The end of the path of the sample, in which everything is made up.
MADE_UP: Final = ("sample", "subscribers.csv")

#: Bytes: a shorter key could be tried out, a longer one BLAKE2b does not take.
_LEAST_KEY: Final = 16
_LONGEST_KEY: Final = 64


class TttbSource:
    """
    Answers from a table of subscribers (see ``core/source_ports.py``, OwnershipSource).

    Args:
        subscribers: path of a CSV that is read into memory now, for small tables.
        table: path of a table that ``otp-service subscribers import`` has made; when it is replaced, the new one is in
            force within a second.  One of the two is needed.
        key: 16 to 64 bytes for the digests, the same that the table was made with; random for a CSV when left out.

    Raises:
        ConfigurationError: neither or both are given, there is no such file, or it cannot be used; of a CSV's bad rows
            the first 20 are told by line, without their data.
    """

    name = "tttb"
    assurance = "subscriber_table"
    real: bool

    def __init__(self, *, subscribers: str | Path = "", table: str | Path = "", key: bytes | None = None) -> None:
        #: The sample that is shipped is made up; any other table may be of real people, whom neither the demo nor a
        #: test key may ask about.
        self.real = not subscribers or Path(subscribers).parts[-2:] != MADE_UP
        if bool(subscribers) == bool(table):
            raise ConfigurationError("tttb: name a CSV as option subscribers, or an imported table as option table")
        secret = _checked(key)
        if table:
            if secret is None:
                raise ConfigurationError("tttb: key: the key that the table was imported with is needed")
            self._held: TableFile | SubscriberTable = TableFile(Path(table), secret)
        else:
            self._held = read_subscribers(Path(subscribers), secret or token_bytes(32))

    @property
    def problem(self) -> str | None:
        """Why the file that stands there now is not the table in force; None when all is well."""
        if not isinstance(self._held, TableFile):
            return None
        self._held.current()
        return self._held.problem

    def __len__(self) -> int:
        return len(self._current())

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Compare the question's ID numbers, the current one first, with the document behind the phone."""
        table = self._current()
        try:
            record = table.find(question.phone_number)
        except TableDamaged:
            return Evidence(OwnershipOutcome.ERROR, self.name, note="table_damaged")
        if record is None:
            return self._nothing(NOT_A_SUBSCRIBER, question)
        return self._answer(table.digests, record, question)

    def _current(self) -> SubscriberTable:
        return self._held.current() if isinstance(self._held, TableFile) else self._held

    def _answer(self, digests: Digests, record: Record, question: OwnershipQuestion) -> Evidence:
        """Compare a question with a record."""
        # Everything is compared, in full, whatever comes of it: the time taken tells nothing (invariant 9).
        hits = [
            hmac.compare_digest(record.document, digests.document(question.phone_number, number))
            for number in question.id_numbers
        ]
        fields = {
            ComparedField.ID_NUMBER: _MATCH if any(hits) else _MISMATCH,
            **_others(digests, record, question),
        }
        if note := _OUT_OF_SERVICE.get(record.status):
            return self._nothing(note, question)
        if record.document == NO_DOCUMENT:
            fields[ComparedField.ID_NUMBER] = _NOT_AVAILABLE
            return Evidence(_NOT_AVAILABLE, self.name, note="no_document", fields=fields)
        if not any(hits):
            return Evidence(_MISMATCH, self.name, self.assurance, fields=fields)
        if not hits[0]:
            # The SIM is registered under the previous number; whose that was is not this table's to say.
            return Evidence(_MATCH, self.name, f"{self.assurance}_previous_id", "previous_id_number", fields)
        note = "restricted_one_way" if record.status == "restricted_one_way" else None
        return Evidence(_MATCH, self.name, self.assurance, note, fields)

    def _nothing(self, note: str, question: OwnershipQuestion) -> Evidence:
        """Return the evidence where nothing can be compared, whatever was asked about."""
        asked = [ComparedField.ID_NUMBER]
        asked += [ComparedField.FULL_NAME] if question.full_name is not None else []
        asked += [ComparedField.BIRTH_DATE] if question.birth_date is not None else []
        return Evidence(_NOT_AVAILABLE, self.name, note=note, fields=dict.fromkeys(asked, _NOT_AVAILABLE))


def _others(digests: Digests, record: Record, question: OwnershipQuestion) -> dict[ComparedField, OwnershipOutcome]:
    """Compare name and birth date where the question has them."""
    phone, found = question.phone_number, {}
    if question.full_name is not None:
        key = name_key(question.full_name)
        found[ComparedField.FULL_NAME] = _one(record.name, digests.name(phone, key)) if key else _NOT_AVAILABLE
    if question.birth_date is not None:
        key = birth_date_key(question.birth_date) or ""
        day, year = digests.birth_date(phone, key), digests.birth_date(phone, key[:_YEAR])
        outcome = _one(record.birth_date, day)
        # Agreeing years are too little for a match; of a year alone nobody knows whether a date agrees with it.
        if hmac.compare_digest(record.birth_date, year) or len(key) <= _YEAR:
            outcome = _NOT_AVAILABLE
        found[ComparedField.BIRTH_DATE] = outcome
    return found


def _one(on_record: bytes, asked: bytes) -> OwnershipOutcome:
    """Compare one digest with the record's."""
    agrees = hmac.compare_digest(on_record, asked)
    if on_record == NO_FIELD:
        return _NOT_AVAILABLE
    return _MATCH if agrees else _MISMATCH


def _checked(key: object) -> bytes | None:
    """Return a key; as text, which the environment gives, it counts as UTF-8."""
    if key is None:
        return None
    secret = key.encode() if isinstance(key, str) else key
    if not isinstance(secret, bytes) or not _LEAST_KEY <= len(secret) <= _LONGEST_KEY:
        raise ConfigurationError(f"tttb: key: the key of the digests has {_LEAST_KEY} to {_LONGEST_KEY} bytes")
    return secret
