"""Starting processes and ending them again, each by its own id."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = TESTS.parent

_STOP_WITHIN_S: Final = 30.0
_READY_WITHIN_S: Final = 60.0
_LOG_TAIL: Final = 2000


class BenchmarkError(Exception):
    """Something that is to be measured does not work at all."""


@contextmanager
def started(
    arguments: Sequence[str], *, cores: frozenset[int], environ: Mapping[str, str], log: Path,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python <arguments>`` on ``cores`` while the block lasts; what it says goes to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=TESTS, env=_plain_environment() | dict(environ),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )
    try:
        os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        end(process)


def _plain_environment() -> dict[str, str]:
    """Return the environment without what would lead a process to somebody's own store or settings."""
    return {
        name: value for name, value in os.environ.items()
        if not name.startswith("OTP_") and name not in {"DATA_DIR", "PORT"}
    }


def end(process: subprocess.Popen[bytes]) -> bool:
    """End a process; say whether it went by itself when asked to."""
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """
    Return as soon as ``path`` answers 200.

    Raises BenchmarkError with the end of the log when the process is gone, or is not ready within a minute.
    """
    deadline = monotonic() + _READY_WITHIN_S
    while not _answers(port, path):
        if process.poll() is not None or monotonic() > deadline:
            tail = log.read_text(errors="replace")[-_LOG_TAIL:]
            raise BenchmarkError(f"{log.stem} is not ready; its log ends with:\n{tail}")
        sleep(0.002)


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        # Not listening yet: that is what we wait for.
        return False
    finally:
        connection.close()
