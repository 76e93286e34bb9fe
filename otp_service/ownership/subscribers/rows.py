"""
The rows of a table of subscribers as people save it: CSV, or an Excel workbook (``xlsx.py``).

::

    phone_number,id_number,full_name,birth_date,status,carrier
    0900000001,052090000001,NGUYEN VAN A,1990-01-01,active,mobifone

The first row names the six columns, in any order; case does not matter, and a blank or hyphen is as good as the
underscore.  Empty rows are nothing.  ``id_number``, ``full_name`` and ``birth_date`` may be empty; a name without
letters or with masked ones ("NGUYEN V** A") counts as none; ``carrier`` is not read.  A row that is wrong is told by
its number and a reason, which never repeats what stands in it.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final, Protocol, Self

from otp_service.core.birth_dates import birth_date_key
from otp_service.core.citizen_id import MalformedIdNumber, parse_id_number
from otp_service.core.errors import ConfigurationError, PhoneNotMobile
from otp_service.core.names import name_key
from otp_service.core.phone import parse_mobile
from otp_service.ownership.subscribers.table import STATUSES

COLUMNS: Final = ("phone_number", "id_number", "full_name", "birth_date", "status", "carrier")

#: Bytes of the longest row.
MAX_ROW_BYTES: Final = 524_288

_HEADER: Final = f"the first line must be {','.join(COLUMNS)}"

_NO_CSV: Final = "not CSV: a quote out of place, or text that never ends"

_BLANKS: Final = re.compile(r"[\s_-]+")
#: Letters that are not shown, as in ``core/names.py``.
_MASKED: Final = re.compile(r"[*•●∗✱]|xx", re.IGNORECASE)
#: Characters; a form's name has at most 100.
_MAX_NAME: Final = 200
_LINES_BETWEEN_NEWS: Final = 1000
#: Columns of a wrong first row that are told: there may be thousands.
_MAX_ODD_SHOWN: Final = 10

#: One row: its number, and its texts by column or what keeps it from being read.
Row = tuple[int, dict[str, str] | str]

#: Told how much of the file has been read: so much of so much.
Progress = Callable[[int, int], None]


class BadRow(ValueError):
    """A row that cannot be taken; the text says why, never what stands in it."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """
    A good row.

    Attributes:
        phone_number: E.164 with plus.
        id_number: 12 or 9 digits, or empty.
        name: as ``core/names.py`` keys it, or empty.
        birth_date: as ``core/birth_dates.py`` keys it, or empty.
        status: one of ``STATUSES``.
    """

    phone_number: str = field(repr=False)
    id_number: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: str = field(repr=False)
    status: str


def read_subscriber(texts: dict[str, str] | str) -> Subscriber:
    """Read one row.  Raises BadRow with everything that is wrong with it."""
    if isinstance(texts, str):
        raise BadRow(texts)
    read, reasons = [], []
    for column, reader in _READERS.items():
        try:
            read.append(reader(texts[column].strip()))
        except BadRow as error:
            reasons.append(f"{column} {error}")
    if reasons:
        raise BadRow("; ".join(reasons))
    return Subscriber(*read)


def _phone_number(text: str) -> str:
    try:
        return parse_mobile(text).e164
    except PhoneNotMobile:
        raise BadRow("is not a Vietnamese mobile number") from None


def _id_number(text: str) -> str:
    try:
        return parse_id_number(text).number if text else ""
    except MalformedIdNumber:
        raise BadRow(
            "has neither 12 nor 9 digits (a spreadsheet may have dropped a leading 0: format the column as text)",
        ) from None


def _name(text: str) -> str:
    if len(text) > _MAX_NAME:
        raise BadRow(f"has more than {_MAX_NAME} characters")
    # Of a digest nobody could say which letters are hidden: every name would differ from it.
    return "" if _MASKED.search(text) else name_key(text)


def _birth_date(text: str) -> str:
    key = birth_date_key(text)
    if text and key is None:
        raise BadRow("is neither a date such as 1990-01-31 or 31/01/1990 nor a year")
    return key or ""


def _status(text: str) -> str:
    if text.lower() not in STATUSES:
        raise BadRow(f"is none of {', '.join(STATUSES)}")
    return text.lower()


#: In the order of :class:`Subscriber`.
_READERS: Final[dict[str, Callable[[str], str]]] = {
    "phone_number": _phone_number, "id_number": _id_number, "full_name": _name, "birth_date": _birth_date,
    "status": _status,
}


class RowFile(Protocol):
    """
    An open file of rows.

    Attributes:
        notes: what a person should know of how it is read.
    """

    notes: Sequence[str]

    def rows(self) -> Iterator[Row]:
        """Yield each row that is not empty.  Raises ConfigurationError when the file cannot be read on."""


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file.  Raises ConfigurationError when it cannot be read, is a folder or the like, or is empty."""
    try:
        # Not to wait for a pipe's writer: a pipe is told to be no file below.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    status = os.fstat(handle)
    if not S_ISREG(status.st_mode) or not status.st_size:
        os.close(handle)
        raise ConfigurationError(f"{path}: is empty; {_HEADER}" if S_ISREG(status.st_mode) else f"{path}: is no file")
    with os.fdopen(handle, "rb") as file:
        yield file


def column_names(path: Path, names: Sequence[str]) -> list[str]:
    """
    Return the columns that a first row names.

    Raises ConfigurationError when it does not name each of the six once and nothing else.
    """
    found = [_BLANKS.sub("_", name.strip().lower()) for name in names]
    if sorted(found) != sorted(COLUMNS):
        missing = [name for name in COLUMNS if name not in found]
        # What is too much is told by its place: the first line may be somebody's data.
        too_much = (at for at, name in enumerate(found, start=1) if name not in COLUMNS or name in found[:at - 1])
        odd = [str(at) for at in islice(too_much, _MAX_ODD_SHOWN)]
        told = [_HEADER]
        if len(missing) < len(COLUMNS):  # else it is no header at all
            told += [f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
            told += [f"column {', '.join(odd)} is none of them, or stands there twice"] if odd else []
        raise ConfigurationError(f"{path}: {'; '.join(told)}")
    return found


class CsvFile:
    """
    CSV in UTF-8; with commas, or semicolons, which spreadsheets write where the comma is the decimal mark, or tabs.

    See :class:`RowFile`.
    """

    notes: Sequence[str] = ()

    def __init__(self, path: Path, file: BinaryIO, progress: Progress) -> None:
        self._path = path
        self._lines = _Lines(path, file, progress)

    def rows(self) -> Iterator[Row]:
        """Yield each row with the number of its first line."""
        lines = self._lines
        delimiter, columns = self._header()
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            line = lines.begin_row()
            try:
                texts = next(reader)
            except StopIteration:
                return
            except csv.Error:
                # The reader begins anew with the next line.
                yield line, _NO_CSV if lines.number == line else f"{_NO_CSV}; skipped as far as line {lines.number}"
                continue
            if len(texts) == len(columns):
                if any(texts):
                    yield line, dict(zip(columns, texts, strict=True))
            elif any(texts):
                yield line, f"{len(texts)} fields, not {len(columns)}"

    def _header(self) -> tuple[str, list[str]]:
        """Return the delimiter and the names of the columns."""
        self._lines.begin_row()
        try:
            first = next(self._lines)
            delimiter = max(",;\t", key=first.count)
            names = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        except csv.Error:
            raise ConfigurationError(f"{self._path}: {_HEADER}") from None
        return delimiter, column_names(self._path, names)


class _Lines:
    """Reads line by line, and no more for one row than a row may have."""

    def __init__(self, path: Path, file: BinaryIO, progress: Progress) -> None:
        self.number = 0
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._progress = progress
        self._room = 0

    def begin_row(self) -> int:
        """Make room for another row; return the number of its first line."""
        self._room = MAX_ROW_BYTES
        return self.number + 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Return the next line.  Raises csv.Error when the row is too long; the line after it is next."""
        line = self._read(self._room)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number % _LINES_BETWEEN_NEWS == 0:
            self._progress(self._file.tell(), self._size)
        self._room -= len(line)
        if self._room <= 0:
            while line and not line.endswith(b"\n"):
                line = self._read(MAX_ROW_BYTES)
            raise csv.Error
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError(f"{self._path}: line {self.number} is not UTF-8; save it as CSV UTF-8") from None

    def _read(self, size: int) -> bytes:
        try:
            return self._file.readline(size)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be read: {error.strerror}") from None
