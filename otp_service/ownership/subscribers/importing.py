"""
Makes a table of subscribers from a file of rows: all of it, or nothing.

::

    rows ──► checked ──► digests ──► sorted runs ──► merged ──► table

Memory does not grow with the file, see ``files.py``.  Merging brings the rows of one phone together, and all
but the first are bad.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Final

from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers.files import LINE_BYTES, Replacement, Runs
from otp_service.ownership.subscribers.rows import BadRow, CsvFile, Row, RowFile, Subscriber, open_file, read_subscriber
from otp_service.ownership.subscribers.table import (
    NO_DOCUMENT,
    NO_FIELD,
    PHONE_BYTES,
    SALT_BYTES,
    Digests,
    Record,
    RecordsInMemory,
    SubscriberTable,
    pack_header,
    pack_record,
)
from otp_service.ownership.subscribers.xlsx import XlsxFile

#: Rows of the largest table: half as many again as Vietnam has SIMs.
MAX_ROWS: Final = 200_000_000
#: Rows of the largest table that is kept in memory: about 100 MB.
MAX_ROWS_IN_MEMORY: Final = 2_000_000
MAX_BAD_ROWS_SHOWN: Final = 20

_ROWS_BETWEEN_NEWS: Final = 10_000


class Watcher:
    """Is told what happens during an import; whoever shows it overrides what it shows."""

    def note(self, text: str) -> None:
        """Take what a person should know of how the file is read."""

    def bad_row(self, line: int, reason: str) -> None:
        """Take a row that cannot be taken, as soon as it is found."""

    def progress(self, step: str, done: int, total: int) -> None:
        """Take how far a step is, ``reading`` in bytes or ``sorting`` in rows: so much of so much."""


@dataclass(slots=True)
class Tally:
    """What came of a file: rows in all, and how many of them are bad.  One bad row, and nothing has changed."""

    rows: int = 0
    bad_rows: int = 0


def import_subscribers(source: Path, target: Path, key: bytes, *, now_s: float, watcher: Watcher) -> Tally:
    """
    Put the rows of a file (.csv or .xlsx) in force as the table ``target``, unless one of them is bad.

    Args:
        source: the file of rows.
        target: the table, which is made or replaced.
        key: the house's, for the digests.
        now_s: unix seconds, kept in the table.
        watcher: is told what happens.

    Raises ConfigurationError: the file cannot be read, or the table cannot be written.
    """
    digests, tally = Digests(key, token_bytes(SALT_BYTES)), Tally()
    try:
        target = target.resolve()
        with Replacement(target) as table:
            with closing(_records(source, digests, target.parent, watcher, tally)) as records:
                for record in records:
                    if not tally.bad_rows:
                        table.write(record)
            if not tally.bad_rows:
                table.put_in_force(pack_header(digests, tally.rows, int(now_s)))
    except OSError as error:
        raise ConfigurationError(f"{target}: cannot be written: {error.strerror}") from None
    return tally


def check_subscribers(source: Path, watcher: Watcher) -> Tally:
    """Do all that :func:`import_subscribers` does, but write no table."""
    digests, tally = Digests(token_bytes(32), token_bytes(SALT_BYTES)), Tally()
    try:
        for _ in _records(source, digests, None, watcher, tally):
            pass
    except OSError as error:
        raise ConfigurationError(f"there is no room for temporary files: {error.strerror}") from None
    return tally


def read_subscribers(source: Path, key: bytes) -> SubscriberTable:
    """
    Read a CSV into memory.

    Raises ConfigurationError: it cannot be read, is too large, or has bad rows: the first 20 of them by line.
    """
    digests, tally, watcher, table = Digests(key, token_bytes(SALT_BYTES)), Tally(), _FirstBadRows(), bytearray()
    with open_file(source) as file, closing(Runs(None)) as runs:
        most = MAX_ROWS_IN_MEMORY
        rows = _bounded(
            CsvFile(source, file, lambda _done, _total: None).rows(), most,
            f"{source}: more than {most} rows; import them instead (otp-service subscribers import)",
        )
        _sort(rows, digests, runs, watcher, tally)
        for record in _without_repeats(runs, watcher, tally):
            table += record
    if tally.bad_rows:
        raise ConfigurationError(f"{source}: bad rows: {tally.bad_rows}\n{watcher}")
    return SubscriberTable(digests, RecordsInMemory(table), tally.rows)


@contextmanager
def open_rows(source: Path, watcher: Watcher) -> Iterator[RowFile]:
    """
    Open a file by what its name ends with.

    Raises ConfigurationError: it is missing, empty, of another kind, or not what its name says.
    """
    kind = source.suffix.lower()
    if kind not in {".csv", ".xlsx"}:
        raise ConfigurationError(f"{source}: its name must end with .csv or .xlsx; save it as CSV UTF-8 or as .xlsx")
    with open_file(source) as file:
        made = CsvFile if kind == ".csv" else XlsxFile
        yield made(source, file, lambda done, total: watcher.progress("reading", done, total))


# -- rows to records -----------------------------------------------------------------------------------------------


def _records(
    source: Path, digests: Digests, folder: Path | None, watcher: Watcher, tally: Tally,
) -> Generator[bytes, None, None]:
    """Yield the records of all good rows by the phones' digests; nothing before the file has been read to its end."""
    with closing(Runs(folder)) as runs:
        with open_rows(source, watcher) as file:
            for note in file.notes:
                watcher.note(note)
            rows = _bounded(file.rows(), MAX_ROWS, f"{source}: more than {MAX_ROWS} rows")
            _sort(rows, digests, runs, watcher, tally)
        if not tally.rows:  # an export that failed: in force, it would make everybody unknown
            raise ConfigurationError(f"{source}: has a header and no rows")
        yield from _without_repeats(runs, watcher, tally)


def _bounded(rows: Iterable[Row], most: int, refusal: str) -> Iterator[Row]:
    """Pass rows on.  Raises ConfigurationError with ``refusal`` when there are more."""
    for number, row in enumerate(rows):
        if number == most:
            raise ConfigurationError(refusal)
        yield row


def _sort(rows: Iterable[Row], digests: Digests, runs: Runs, watcher: Watcher, tally: Tally) -> None:
    """Check each row and put its record where it can be sorted."""
    for line, texts in rows:
        tally.rows += 1
        try:
            runs.add(_packed(read_subscriber(texts), digests, line))
        except BadRow as error:
            tally.bad_rows += 1
            watcher.bad_row(line, str(error))


def _packed(row: Subscriber, digests: Digests, line: int) -> bytes:
    """Return a record on its way."""
    number = row.phone_number
    phone = digests.phone(number)
    record = pack_record(phone, Record(
        digests.document(number, row.id_number) if row.id_number else NO_DOCUMENT,
        digests.name(number, row.name) if row.name else NO_FIELD,
        digests.birth_date(number, row.birth_date) if row.birth_date else NO_FIELD,
        row.status,
    ))
    return phone + line.to_bytes(LINE_BYTES) + record[PHONE_BYTES:]


def _without_repeats(runs: Runs, watcher: Watcher, tally: Tally) -> Iterator[bytes]:
    """Yield sorted records; of a phone that comes again only the first, by line."""
    last, first_line, total = b"", 0, len(runs)
    for done, record in enumerate(runs.merged(), start=1):
        phone, line = record[:PHONE_BYTES], int.from_bytes(record[PHONE_BYTES:PHONE_BYTES + LINE_BYTES])
        if phone == last:
            tally.bad_rows += 1
            watcher.bad_row(line, f"the same phone_number as line {first_line}")
        else:
            last, first_line = phone, line
            yield phone + record[PHONE_BYTES + LINE_BYTES:]
        if done % _ROWS_BETWEEN_NEWS == 0 or done == total:
            watcher.progress("sorting", done, total)


class _FirstBadRows(Watcher):
    """Keeps the first bad rows by line: a message has an end."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[tuple[int, str]] = []

    def bad_row(self, line: int, reason: str) -> None:
        """Keep it while it is one of the first."""
        self._count += 1
        insort(self._first, (line, reason))
        del self._first[MAX_BAD_ROWS_SHOWN:]

    def __str__(self) -> str:
        rest = self._count - len(self._first)
        shown = [f"  line {line}: {reason}" for line, reason in self._first]
        return "\n".join([*shown, f"  and {rest} more"] if rest else shown)
