"""
The files of an import: records on their way, sorted beyond what memory holds, and the table that takes another's place.

Runs of records are sorted in memory and laid down in a file without a name, of which nothing is left whatever happens
to the process.  The table is written beside the one in force and takes its name when it is complete and on disk; a
process that is killed leaves at most an unfinished ``.<name>.importing``, which the next import takes away; what has
that name and cannot be such a file is left alone.  None of these files holds anything but digests.
"""

from __future__ import annotations

import fcntl
import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import IO, Final, Self

from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers.table import HEADER_BYTES, RECORD_BYTES, is_table

LINE_BYTES: Final = 5
#: A record on its way: the phone's digest, the line it came from, the rest.
_SORTED_BYTES: Final = RECORD_BYTES + LINE_BYTES

#: Rows that are sorted at once: about 6 MB.
_RUN_ROWS: Final = 50_000
#: Rows of each run that are read at once when runs are merged.
_READ_ROWS: Final = 256
_BUFFER: Final = 1_048_576


class Runs:
    """
    Sorts more records than memory holds: sorted runs of equal length in one file without a name, merged.

    Args:
        folder: of that file, which is made with the first run; None for the system's.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._runs = 0
        self._batch: list[bytes] = []

    def __len__(self) -> int:
        return self._runs * _RUN_ROWS + len(self._batch)

    def add(self, record: bytes) -> None:
        """Take a record."""
        self._batch.append(record)
        if len(self._batch) == _RUN_ROWS:
            self._lay_down()

    def merged(self) -> Iterator[bytes]:
        """Return all records in order."""
        self._batch.sort()
        return heapq.merge(*(self._run(number) for number in range(self._runs)), self._batch)

    def close(self) -> None:
        """Let the file go."""
        if self._file:
            self._file.close()

    def _lay_down(self) -> None:
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed by close()
        self._batch.sort()
        _write(self._file.fileno(), b"".join(self._batch))
        self._batch.clear()
        self._runs += 1

    def _run(self, number: int) -> Iterator[bytes]:
        if self._file is None:
            return
        start, step = number * _RUN_ROWS * _SORTED_BYTES, _READ_ROWS * _SORTED_BYTES
        end = start + _RUN_ROWS * _SORTED_BYTES
        for offset in range(start, end, step):
            piece = os.pread(self._file.fileno(), min(step, end - offset), offset)
            for at in range(0, len(piece), _SORTED_BYTES):
                yield piece[at:at + _SORTED_BYTES]


class Replacement:
    """
    A file that is written beside another and takes its place, or is gone.

    Its name is always the same, and locked.  It is always a new file, of mode 0600: one that was there before may have
    other names, or be open to others.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.importing")
        self._in_force = False

    def __enter__(self) -> Self:
        if self._target.exists() and not is_table(self._target):
            raise ConfigurationError(
                f"{self._target}: is no table of subscribers, and is not overwritten; if it was one, move it away",
            )
        self._target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_away_leftover()
        self._file = os.fdopen(self._open(os.O_CREAT | os.O_EXCL), "wb", _BUFFER)
        try:
            self._make_ours()
        except BaseException:
            self._file.close()
            raise
        return self

    def _open(self, flags: int) -> int:
        """Open the file beside the table, never what a link leads to, and never waiting for the other end of a pipe."""
        try:
            return os.open(self._path, flags | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except FileExistsError:  # made since the leftover was looked for
            raise self._busy() from None

    def _take_away_leftover(self) -> None:
        """
        Take away what a killed import has left.

        Raises ConfigurationError: an import that runs holds it, or it is not what an import leaves.
        """
        try:
            if not S_ISREG(self._path.lstat().st_mode):
                raise self._foreign()
            handle = self._open(0)
        except FileNotFoundError:
            return
        try:
            self._lock(handle)
            status = os.fstat(handle)
            ours = status.st_uid in {os.geteuid(), self._owner().st_uid}
            if not (S_ISREG(status.st_mode) and status.st_nlink == 1 and ours):
                raise self._foreign()
            self._path.unlink()
        finally:
            os.close(handle)

    def _make_ours(self) -> None:
        """Lock the new file, and give it its mode and owner."""
        handle = self._file.fileno()
        self._lock(handle)
        os.fchmod(handle, 0o600)  # whatever the umask
        self._file.write(bytes(HEADER_BYTES))
        if os.geteuid() == 0:  # an administrator imports, the service reads
            owner = self._owner()
            os.fchown(handle, owner.st_uid, owner.st_gid)

    def _owner(self) -> os.stat_result:
        """Return whose the table is, or the folder that it will be in."""
        return (self._target if self._target.exists() else self._target.parent).stat()

    def _lock(self, handle: int) -> None:
        """Lock an open file, unless another import has it, or has put it in force or taken it away since."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(handle), self._path.lstat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise self._busy()

    def _busy(self) -> ConfigurationError:
        return ConfigurationError(f"{self._target}: another import is running")

    def _foreign(self) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: is not what an import has left, and is not touched; move it away")

    def write(self, record: bytes) -> None:
        """Write the next record."""
        self._file.write(record)

    def put_in_force(self, header: bytes) -> None:
        """Put the header before the records, all on disk, and the file in the other's place."""
        self._file.flush()
        handle = self._file.fileno()
        os.pwrite(handle, header, 0)
        os.fsync(handle)
        self._path.replace(self._target)
        self._in_force = True
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(self, *_: object) -> None:
        if not self._in_force:
            self._path.unlink(missing_ok=True)
        self._file.close()


def _write(handle: int, data: bytes) -> None:
    """Write all of it: one call may take less, when the disk is nearly full."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view):]
