"""Servers that stand by themselves, for rehearsals: the fake gateway and the made-up operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from otp_service.core.errors import ConfigurationError


@asynccontextmanager
async def standing(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """
    Serve an application until the context ends; gives its base URL.  Port 0 takes any that is free.

    Raises ConfigurationError when the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    name = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{name}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
