"""
Measure the budgets and print their table: ``make bench``.

``BENCH=quick`` takes about a minute, ``BENCH=full`` waits for a million live verifications however long that
takes.  The exit code is 0 whatever the figures say: a benchmark is never a timed test.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

# Started as a script: ``bench`` is found from the folder above.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.effort import EFFORTS  # noqa: E402 - the line above makes it importable
from bench.suite import run  # noqa: E402 - as above


def _leave(_number: int, _frame: object) -> NoReturn:
    """End like Ctrl-C does, so that everything that was started is ended."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the benchmarks."""
    name = os.environ.get("BENCH", "") or "default"
    if name not in EFFORTS:
        print(f"BENCH={name}: write one of {', '.join(EFFORTS)}", file=sys.stderr)
        return 2
    if not hasattr(os, "sched_setaffinity"):
        print("make bench needs Linux: it pins processes to cores and reads their CPU time", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _leave)
    try:
        asyncio.run(run(EFFORTS[name]))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
