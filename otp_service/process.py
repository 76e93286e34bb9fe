"""What a process of the service does around its work: listen, serve, wait for a signal, complain in moderation."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from otp_service.core.errors import ConfigurationError
from otp_service.core.messages import Catalogue
from otp_service.telemetry.logs import get_logger
from otp_service.web.server import ProblemRunner

_BACKLOG = 128
_COMPLAIN_EVERY_S = 10.0

_log = get_logger()


@asynccontextmanager
async def running(app: web.Application, listener: socket.socket, catalogue: Catalogue) -> AsyncIterator[None]:
    """Serve an application on a listener, and let running requests finish at the end."""
    runner = ProblemRunner(app, catalogue=catalogue, handle_signals=False, shutdown_timeout=10.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        yield
    finally:
        await runner.cleanup()


def listen(host: str, port: int) -> socket.socket:
    """
    Bind at once, so that a port in use is told before anything else starts.

    Raises ConfigurationError.
    """
    listener = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(found[0], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    return listener


def begin_work(version: str) -> None:
    """Set the process up for its working life, and say that it is ready."""
    asyncio.get_running_loop().set_exception_handler(_LoopErrors())
    # What is loaded by now stays: it need not be looked through again, and requests leave few cycles behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    _log.info("ready", pid=os.getpid(), python=sys.version.split()[0], version=version)


async def signalled() -> None:
    """Wait for SIGTERM or SIGINT; the same signal again changes nothing (make passes it on twice)."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


class _LoopErrors:
    """Says once in a while that no file is left for a connection; asyncio says it hundreds of times a second."""

    def __init__(self) -> None:
        self._said_at = -_COMPLAIN_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in {errno.EMFILE, errno.ENFILE}:
            loop.default_exception_handler(context)
        elif loop.time() - self._said_at >= _COMPLAIN_EVERY_S:
            self._said_at = loop.time()
            _log.error("no file left for another connection: raise the limit of open files (ulimit -n)")
