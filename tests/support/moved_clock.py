"""
Run the service on a host whose clock is wrong: ``python -m support.moved_clock SECONDS serve``.

Only this process's idea of the time moves; the store keeps its own.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine

from otp_service.cli import main

if __name__ == "__main__":
    off = timedelta(seconds=float(sys.argv.pop(1)))
    with time_machine.travel(datetime.now(UTC) + off, tick=True):
        main()
