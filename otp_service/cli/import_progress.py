"""Shows an import on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from otp_service.ownership.subscribers.importing import Watcher

#: Seconds between two lines about progress.
_SILENT_S: Final = 5.0


@contextmanager
def watcher_on_stderr() -> Iterator[Watcher]:
    """Return who shows an import, until it ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars)


class _Lines(Watcher):
    """Prints lines."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def note(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr)

    def bad_row(self, line: int, reason: str) -> None:
        """Print it."""
        print(f"line {line}: {reason}", file=sys.stderr)

    def progress(self, step: str, done: int, total: int) -> None:
        """Print it if there has been silence for a while."""
        if time.monotonic() - self._said_at >= _SILENT_S:
            self._said_at = time.monotonic()
            print(f"{step} {100 * done // max(total, 1)} %", file=sys.stderr)


class _Bars(Watcher):
    """Shows a bar for each step, and prints lines above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._steps: dict[str, TaskID] = {}

    def note(self, text: str) -> None:
        """Print it."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def bad_row(self, line: int, reason: str) -> None:
        """Print it."""
        self.note(f"line {line}: {reason}")

    def progress(self, step: str, done: int, total: int) -> None:
        """Move the step's bar."""
        if step not in self._steps:
            self._steps[step] = self._bars.add_task(step)
        self._bars.update(self._steps[step], completed=done, total=total)
