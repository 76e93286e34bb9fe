"""
The sample portal beside the demo: a process of its own, reached over HTTP alone, that never outlives the demo.

It has a session of its own, so that Ctrl-C reaches the demo first and the portal's last requests are still answered.
Should the demo be killed, the portal reads the end of its standard input, which only the demo holds open, and ends.
``python -m otp_service.portal_process`` is that process: a watch on standard input, and the portal.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import socket
import sys
import threading
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from otp_service.core.errors import ConfigurationError
from otp_service.process import listen
from otp_service.settings.demo import PortalAccess
from otp_service.telemetry.logs import get_logger

_PORTAL: Final = "otp_service.sample_portal"
#: What the extra ``portal`` brings.
_NEEDED: Final = ("aiosqlite", "argon2")
_HOST: Final = "127.0.0.1"
_STOP_S: Final = 5.0

_log = get_logger()


@asynccontextmanager
async def sample_portal(
    *, service_url: str, access: PortalAccess, data_dir: Path, phone_url: str, port: int,
) -> AsyncIterator[str | None]:
    """
    Run the portal; gives its base URL, which answers from now on, or None where what it needs is not installed.

    Args:
        service_url: the service it is a client of.
        access: its API key and webhook secret.
        data_dir: where it keeps its database.
        phone_url: where its people read their SMS.
        port: tried first; a taken one is replaced by any that is free.
    """
    if not all(map(find_spec, _NEEDED)):
        yield None
        return
    listener = _listen_near(port)
    base = f"http://{_HOST}:{listener.getsockname()[1]}"
    # The portal's copy of the socket is the only one left: when it ends, callers are refused at once.
    with closing(listener):
        process = await _started(listener, {
            "PORTAL_OTP_URL": service_url, "PORTAL_API_KEY": access.api_key,
            "PORTAL_WEBHOOK_SECRET": access.webhook_secret, "PORTAL_DATA_DIR": str(data_dir),
            "PORTAL_PHONE_URL": phone_url,
        })
    watch = asyncio.create_task(_complain(process))
    try:
        yield base
    finally:
        watch.cancel()
        await _stopped(process)


def _listen_near(port: int) -> socket.socket:
    try:
        return listen(_HOST, port if port < 2**16 else 0)
    except ConfigurationError:
        return listen(_HOST, 0)


async def _started(listener: socket.socket, told: Mapping[str, str]) -> Process:
    # Nothing of the service's settings is the portal's: they may hold secrets.
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("OTP_", "PORTAL_")) and name not in {"PORT", "DATA_DIR"}
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, *(f"-W{one}" for one in sys.warnoptions), "-m", __name__, stdin=PIPE, stdout=DEVNULL,
        env={**kept, **told, "PORTAL_LISTEN_FD": str(listener.fileno())}, pass_fds=(listener.fileno(),),
        start_new_session=True,
    )


async def _complain(process: Process) -> None:
    """Say that the portal has ended by itself; the service goes on."""
    code = await process.wait()
    _log.error("the sample portal ended", exit_code=code)


async def _stopped(process: Process) -> None:
    """Ask the portal to end, and wait; one that does not is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
                break
        except TimeoutError:
            _log.warning("the sample portal does not end", signal=number.name)


def main() -> None:
    """Be the portal's process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module(_PORTAL, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_S)
    os._exit(1)


if __name__ == "__main__":
    main()
