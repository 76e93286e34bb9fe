"""
The subscriber table: the answer to ``TTTB <ID number>`` to 1414, from a carrier's or regulator's CSV.

A person who texts ``TTTB`` and their ID number to 1414 learns whether that SIM stands under that document.  A server
cannot text it for them: 1414 is free of charge, takes SMS from the SIM itself and has no API.  This source asks the
same question of a table and answers one word, never what the table holds.

::

    phone_number,id_number,full_name,birth_date,status,carrier
    0900000001,052090000001,NGUYEN VAN A,1990-01-01,active,mobifone

============================  ==================================================================================
the row                       the evidence
============================  ==================================================================================
none for this phone           ``not_available``, ``not_a_subscriber``
blocked, restricted_two_way   ``not_available``, ``subscriber_blocked``: a SIM out of service proves nothing
unknown                       ``not_available``, ``status_unknown``
without an ID number          ``not_available``, ``no_document``
active, restricted_one_way    ``match`` or ``mismatch``; a SIM restricted one way still receives SMS
============================  ==================================================================================

In memory there is one record per row: a keyed digest of the phone, one of phone and document together, and the
status.  Names and birth dates are not even read.  The key lives as long as the process, unless one is given.
"""

from __future__ import annotations

import csv
import hmac
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from secrets import token_bytes
from typing import Final, TextIO

from otp_service.core.citizen_id import MalformedIdNumber, parse_id_number
from otp_service.core.errors import ConfigurationError, PhoneNotMobile
from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.phone import parse_mobile

COLUMNS: Final = ("phone_number", "id_number", "full_name", "birth_date", "status", "carrier")

#: IMPORTANT: a new status also goes into the table above and into ``_unanswerable``.
STATUSES: Final = ("active", "restricted_one_way", "restricted_two_way", "blocked", "unknown")

#: Rows of the largest table taken: about 330 MB.
MAX_ROWS: Final = 10_000_000
MAX_BAD_ROWS_SHOWN: Final = 20

_DIGEST_BYTES: Final = 16
_NO_DOCUMENT: Final = bytes(_DIGEST_BYTES)
_RECORD_BYTES: Final = 2 * _DIGEST_BYTES + 1
_LINE_BYTES: Final = 4


class TttbSource:
    """
    Answers from a table of subscribers (see ``core/ports.py``, OwnershipSource).

    Args:
        subscribers: path of the CSV: UTF-8, the six columns in any order.
        key: 16 to 64 bytes for the digests; random when left out.

    Raises:
        ConfigurationError: the file cannot be read, or has bad rows: the first 20 by line, without their data.
    """

    name = "tttb"
    assurance = "subscriber_table"

    def __init__(self, subscribers: str | Path, *, key: bytes | None = None) -> None:
        if key is not None and not 16 <= len(key) <= 64:
            raise ConfigurationError("ownership.options.key: the key of the digests has 16 to 64 bytes")
        self._key = key or token_bytes(32)
        self._table = _Table(self._read(Path(subscribers)))

    @classmethod
    def from_csv(cls, path: str | Path, *, key: bytes | None = None) -> TttbSource:
        """Read the table at ``path``; see the class."""
        return cls(path, key=key)

    def __len__(self) -> int:
        return len(self._table)

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Compare the question's ID numbers, the current one first, with the document behind the phone."""
        found = self._table.find(self._digest(question.phone_number))
        if found is None:
            return self._not_available("not_a_subscriber")
        document, status = found
        # Each number is compared in full, whatever came before: the time taken tells nothing (invariant 9).
        hits = [
            hmac.compare_digest(document, self._digest(question.phone_number, number))
            for number in question.id_numbers
        ]
        if note := _unanswerable(document, status):
            return self._not_available(note)
        if not any(hits):
            return Evidence(OwnershipOutcome.MISMATCH, self.name, self.assurance)
        if not hits[0]:
            # The SIM is registered under the previous number; whose that was is not this table's to say.
            return Evidence(OwnershipOutcome.MATCH, self.name, f"{self.assurance}_previous_id", "previous_id_number")
        note = "restricted_one_way" if status == "restricted_one_way" else None
        return Evidence(OwnershipOutcome.MATCH, self.name, self.assurance, note)

    def _not_available(self, note: str) -> Evidence:
        return Evidence(OwnershipOutcome.NOT_AVAILABLE, self.name, note=note)

    def _digest(self, phone_number: str, id_number: str = "") -> bytes:
        """Return a digest of a phone, or of a phone and a document: two rows of one person have nothing in common."""
        text = f"{phone_number}\0{id_number}".encode()
        return blake2b(text, digest_size=_DIGEST_BYTES, key=self._key).digest()

    # -- reading -----------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> bytearray:
        """Turn the file, row by row, into records sorted by the phone's digest."""
        bad = _BadRows(path)
        rows: list[bytes] = []
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for line, row in _rows(file, bad):
                    if len(rows) >= MAX_ROWS:
                        raise ConfigurationError(f"{path}: more than {MAX_ROWS} rows")
                    if (made := self._record(line, row, bad)) is not None:
                        rows.append(made)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path}: not UTF-8; save it as CSV UTF-8") from None
        rows.sort()
        bad.add_repeated(
            (int.from_bytes(row[_RECORD_BYTES:]) for row in pair)
            for pair in pairwise(rows) if pair[0][:_DIGEST_BYTES] == pair[1][:_DIGEST_BYTES]
        )
        bad.refuse()
        records = bytearray()
        for record in rows:
            records += record[:_RECORD_BYTES]
        return records

    def _record(self, line: int, row: dict[str, str], bad: _BadRows) -> bytes | None:
        """Return the record of one row, followed by its line number; None when the row is bad."""
        reasons = []
        phone_number, document, status = "", _NO_DOCUMENT, row["status"].strip()
        try:
            phone_number = parse_mobile(row["phone_number"]).e164
        except PhoneNotMobile:
            reasons.append("phone_number is not a Vietnamese mobile number")
        if id_number := row["id_number"].strip():
            try:
                document = self._digest(phone_number, parse_id_number(id_number).number)
            except MalformedIdNumber:
                reasons.append("id_number has neither 12 nor 9 digits (a spreadsheet may have dropped a leading 0)")
        if status not in STATUSES:
            reasons.append(f"status is none of {', '.join(STATUSES)}")
        if reasons:
            bad.add(line, "; ".join(reasons))
            return None
        return (
            self._digest(phone_number) + document + STATUSES.index(status).to_bytes(1) + line.to_bytes(_LINE_BYTES)
        )


def _unanswerable(document: bytes, status: str) -> str | None:
    """Say why a row allows no comparison, if so."""
    if status in {"blocked", "restricted_two_way"}:
        return "subscriber_blocked"
    if status == "unknown":
        return "status_unknown"
    return "no_document" if document == _NO_DOCUMENT else None


def _rows(file: TextIO, bad: _BadRows) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row with the number of its last line; a row that does not fall into the columns is bad."""
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if sorted(header) != sorted(COLUMNS):
            raise ConfigurationError(f"{bad.path}: the first line must be {','.join(COLUMNS)}")
        for fields in reader:
            if len(fields) == len(COLUMNS):
                yield reader.line_num, dict(zip(header, fields, strict=True))
            elif fields:  # an empty line is nothing
                bad.add(reader.line_num, f"{len(fields)} fields, not {len(COLUMNS)}")
    except csv.Error:
        bad.add(reader.line_num, "not CSV from here on: a quote out of place, or a field beyond 131072 characters")


class _BadRows:
    """Collects what is wrong, by line: a reason, nothing of the data, and no more than is shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown: list[str] = []
        self._count = 0

    def add(self, line: int, reason: str) -> None:
        """Take note of one bad row."""
        self._count += 1
        if len(self._shown) < MAX_BAD_ROWS_SHOWN:
            self._shown.append(f"  line {line}: {reason}")

    def add_repeated(self, pairs: Iterable[Iterable[int]]) -> None:
        """Take note of lines with the phone of another line."""
        for later, earlier in sorted(tuple(sorted(pair, reverse=True)) for pair in pairs):
            self.add(later, f"the same phone_number as line {earlier}")

    def refuse(self) -> None:
        """Raise ConfigurationError when anything was bad."""
        if not self._count:
            return
        rest = self._count - len(self._shown)
        more = [f"  and {rest} more"] if rest else []
        raise ConfigurationError("\n".join([f"{self.path}: bad rows: {self._count}", *self._shown, *more]))


class _Table:
    """Records of equal size in one piece of memory, found by bisection: 33 bytes a row instead of a dict's 200."""

    def __init__(self, records: bytearray) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records) // _RECORD_BYTES

    def __getitem__(self, index: int) -> bytes:
        """Return the phone's digest of one record, for bisection."""
        start = index * _RECORD_BYTES
        return bytes(self._records[start:start + _DIGEST_BYTES])

    def find(self, phone: bytes) -> tuple[bytes, str] | None:
        """Return the document's digest and the status behind a phone's digest."""
        index = bisect_left(self, phone)
        if index == len(self) or self[index] != phone:
            return None
        start = index * _RECORD_BYTES + _DIGEST_BYTES
        document = bytes(self._records[start:start + _DIGEST_BYTES])
        return document, STATUSES[self._records[start + _DIGEST_BYTES]]
