"""
The subscriber table at rest: keyed digests, sorted, found by bisection.

::

    header   64 bytes   magic 8, version 2, bytes of a record 2, zeros 4, salt 16, records 8, made at 8 (unix seconds),
                        check 16: a keyed digest of all before it
    record   49 bytes   phone 16, document 16, name 8, birth date 8, status 1; in the order of the phones' digests

Integers are big-endian.  Names and dates that are not on record are zeros, documents too.

All digests are BLAKE2b (RFC 7693) under a key made of the house's key and the table's salt: without that key a table
says nothing, and two tables of the same rows have nothing in common.  Document, name and birth date are digested
together with their phone, so that neither have two rows of one person.  A phone is looked up among all others and a
document decides, which is why these have 128 bits; a name or date is compared with one record alone, and 64 bits make
a false agreement one in 2⁶⁴.

The file is read where it lies, 49 bytes at a time, and not mapped: who cuts a mapped file short ends the process that
maps it (SIGBUS), while a short read is an error like any other.
"""

from __future__ import annotations

import hmac
import os
import struct
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG
from typing import Final

from otp_service.core.errors import ConfigurationError

#: IMPORTANT: a new status also goes into the table of ``ownership/tttb.py`` and, if need be, its ``_OUT_OF_SERVICE``.
#: The order is part of the file's format: a record holds the position.
STATUSES: Final = ("active", "restricted_one_way", "restricted_two_way", "blocked", "unknown")

PHONE_BYTES: Final = 16
_DOCUMENT_BYTES: Final = 16
_FIELD_BYTES: Final = 8
NO_DOCUMENT: Final = bytes(_DOCUMENT_BYTES)
#: No name, or no birth date.
NO_FIELD: Final = bytes(_FIELD_BYTES)
_RECORD: Final = struct.Struct(f"{PHONE_BYTES}s{_DOCUMENT_BYTES}s{_FIELD_BYTES}s{_FIELD_BYTES}sB")
RECORD_BYTES: Final = _RECORD.size

SALT_BYTES: Final = 16
_MAGIC: Final = b"OTPSUBSC"
_VERSION: Final = 1
_HEAD: Final = struct.Struct(f">8sHH4x{SALT_BYTES}sQQ")
_CHECK_BYTES: Final = 16
HEADER_BYTES: Final = _HEAD.size + _CHECK_BYTES

#: Seconds between two looks at whether the file was replaced.
LOOK_EVERY_S: Final = 1.0

#: Records that are looked at when a table is opened.
_LOOKED_AT: Final = 256

_HOW: Final = "otp-service subscribers import FILE makes one"

#: What differs between a file and the one that replaced it: time, inode, size.
_Stamp = tuple[int, int, int]


class TableDamaged(Exception):
    """The table has changed in its place since it was opened, or cannot be read any more: it answers nothing."""


class Digests:
    """
    Makes the digests of one table.

    Args:
        key: the house's, 16 to 64 bytes.
        salt: the table's, 16 bytes.
    """

    def __init__(self, key: bytes, salt: bytes) -> None:
        self.salt = salt
        self._key = blake2b(salt, key=key, digest_size=32, person=b"otp subscribers").digest()

    def phone(self, phone_number: str) -> bytes:
        """Return the digest that a phone is found by; E.164 with plus."""
        return self._digest(b"phone", PHONE_BYTES, phone_number)

    def document(self, phone_number: str, id_number: str) -> bytes:
        """Return the digest of a document behind a phone; 9 or 12 digits."""
        return self._digest(b"document", _DOCUMENT_BYTES, f"{phone_number}\0{id_number}")

    def name(self, phone_number: str, key: str) -> bytes:
        """Return the digest of a subscriber's name, given as ``core/names.py`` keys it."""
        return self._digest(b"name", _FIELD_BYTES, f"{phone_number}\0{key}")

    def birth_date(self, phone_number: str, key: str) -> bytes:
        """Return the digest of a subscriber's birth date or year of birth, as ``core/birth_dates.py`` keys it."""
        return self._digest(b"birth date", _FIELD_BYTES, f"{phone_number}\0{key}")

    def check(self, head: bytes) -> bytes:
        """Return the digest that tells whether a header was made under this key."""
        return blake2b(head, key=self._key, digest_size=_CHECK_BYTES, person=b"header").digest()

    def _digest(self, use: bytes, size: int, text: str) -> bytes:
        return blake2b(text.encode(), key=self._key, digest_size=size, person=use).digest()


@dataclass(frozen=True, slots=True)
class Record:
    """What a table holds of a phone: digests, and the status in clear."""

    document: bytes = field(repr=False)
    name: bytes = field(repr=False)
    birth_date: bytes = field(repr=False)
    status: str


def pack_record(phone: bytes, record: Record) -> bytes:
    """Return the bytes of a record."""
    return _RECORD.pack(phone, record.document, record.name, record.birth_date, STATUSES.index(record.status))


def pack_header(digests: Digests, rows: int, made_at: int) -> bytes:
    """Return the header of a table of so many records."""
    head = _HEAD.pack(_MAGIC, _VERSION, RECORD_BYTES, digests.salt, rows, made_at)
    return head + digests.check(head)


class RecordsInMemory:
    """Sorted records in one piece of memory."""

    def __init__(self, records: bytearray) -> None:
        self._records = records

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the records."""
        return bytes(self._records[offset:offset + size])


class RecordsInFile:
    """
    The records of an open file, which is closed when nobody holds them any more.

    Attributes:
        stamp: of the file as it was opened.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.stamp = _stamp(os.fstat(handle))
        weakref.finalize(self, os.close, handle)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the records.  Raises TableDamaged when the file is not what was opened."""
        try:
            # Who writes into a table instead of replacing it leaves records of two tables: none of them counts.
            if _stamp(os.fstat(self._handle)) == self.stamp:
                found = os.pread(self._handle, size, HEADER_BYTES + offset)
                if len(found) == size:
                    return found
        except OSError as error:
            raise TableDamaged from error
        raise TableDamaged


class SubscriberTable:
    """
    A table that is looked into.

    Args:
        digests: those of its records.
        records: in memory, or in an open file (:func:`open_table`).
        rows: how many records there are.
        made_at: unix seconds; 0 where nobody says.
    """

    def __init__(
        self, digests: Digests, records: RecordsInMemory | RecordsInFile, rows: int, *, made_at: int = 0,
    ) -> None:
        self.digests = digests
        self.made_at = made_at
        self._records = records
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: int) -> bytes:
        """Return the phone's digest of one record, for bisection."""
        return self._records.read(index * RECORD_BYTES, PHONE_BYTES)

    def find(self, phone_number: str) -> Record | None:
        """
        Return what is held of a phone, E.164 with plus; None when it is not in the table.

        Raises TableDamaged.
        """
        phone = self.digests.phone(phone_number)
        index = bisect_left(self, phone)
        if index == self._rows or self[index] != phone:
            return None
        _, document, name, birth_date, status = _RECORD.unpack(
            self._records.read(index * RECORD_BYTES, RECORD_BYTES),
        )
        if status >= len(STATUSES):
            raise TableDamaged
        return Record(document, name, birth_date, STATUSES[status])


def is_table(path: Path) -> bool:
    """Whether a file begins as a table does.  Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_table(path: Path, key: bytes) -> SubscriberTable:
    """
    Open a table of this format.

    Raises ConfigurationError: there is none, it is something else, cut off, or made under another key.
    """
    return _open(path, key)[0]


def _open(path: Path, key: bytes) -> tuple[SubscriberTable, _Stamp]:
    try:
        # Not to wait for a pipe's writer: a pipe is told to be no file below.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no table yet; {_HOW}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    records = RecordsInFile(handle)
    status = os.fstat(handle)
    if not S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path}: is no file; {_HOW}")
    try:
        header = os.pread(handle, HEADER_BYTES, 0)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    digests, rows, made_at = _read_header(path, header, key)
    wanted = HEADER_BYTES + rows * RECORD_BYTES
    if status.st_size != wanted:
        raise ConfigurationError(f"{path}: is damaged: {status.st_size} bytes instead of {wanted}; import it again")
    table = SubscriberTable(digests, records, rows, made_at=made_at)
    if not _sorted(table):
        raise ConfigurationError(f"{path}: is damaged: its records are out of order; import it again")
    return table, records.stamp


def _sorted(table: SubscriberTable) -> bool:
    """
    Whether records from all over a table are in order.

    Looked for in one that is not, nobody would be found, and everybody would count as unknown.
    """
    last = len(table) - 1
    looked_at = sorted({last * step // _LOOKED_AT for step in range(_LOOKED_AT + 1)}) if last > 0 else []
    try:
        phones = [table[index] for index in looked_at]
    except TableDamaged:
        return False
    return all(one < two for one, two in pairwise(phones))


def _read_header(path: Path, header: bytes, key: bytes) -> tuple[Digests, int, int]:
    """Return the digests, the number of records and the time of a header."""
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise ConfigurationError(f"{path}: is no table of subscribers; {_HOW}")
    head, check = header[:_HEAD.size], header[_HEAD.size:]
    _, version, record_bytes, salt, rows, made_at = _HEAD.unpack(head)
    if (version, record_bytes) != (_VERSION, RECORD_BYTES):
        raise ConfigurationError(f"{path}: is of another version ({version}, not {_VERSION}); import it again")
    digests = Digests(key, salt)
    if not hmac.compare_digest(check, digests.check(head)):
        raise ConfigurationError(
            f"{path}: was made with another key file, or is damaged; import it again where the service's key file is",
        )
    return digests, rows, made_at


class TableFile:
    """
    Follows a table that is replaced while it is in use.

    Args:
        path: of the table.
        key: as in :class:`Digests`.
        clock: seconds, for tests.

    Attributes:
        problem: why the file that stands there now is not the one in force; None while it is.

    Raises ConfigurationError when there is no good table to begin with; a bad one later leaves the old one in force.
    """

    def __init__(self, path: Path, key: bytes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.problem: str | None = None
        self._path = path
        self._key = key
        self._clock = clock
        self._table, self._stamp = _open(path, key)
        self._looked_at = clock()

    def current(self) -> SubscriberTable:
        """Return the table in force, after a look at the file if the last one was a second ago."""
        now = self._clock()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._follow()
        return self._table

    def _follow(self) -> None:
        try:
            if _stamp(self._path.stat()) != self._stamp:
                self._table, self._stamp = _open(self._path, self._key)
        except OSError as error:
            self.problem = f"{self._path}: cannot be looked at: {error.strerror}"
        except ConfigurationError as error:
            self.problem = str(error)
        else:
            self.problem = None


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_ino, status.st_size
