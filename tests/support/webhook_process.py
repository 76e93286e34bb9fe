"""
A process that is API and worker in one, and whose portal takes webhooks on this machine: to be killed.

The product allows that to its demo alone, so the settings are changed in between.  The secret stands in
``WEBHOOK_SECRET``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from dataclasses import replace

from otp_service import app
from otp_service.house import opened
from otp_service.process import listen, signalled
from otp_service.settings import load_settings
from otp_service.telemetry.logs import configure


async def main() -> None:
    """Serve and deliver until a signal."""
    settings = load_settings()
    portals = tuple(
        replace(portal, webhook_hosts=frozenset({"loopback"}), webhook_secrets=(os.environ["WEBHOOK_SECRET"],))
        for portal in settings.portals
    )
    settings = replace(settings, portals=portals)
    configure(json=True, level="info")
    listener = listen("127.0.0.1", settings.server.port)
    with closing(listener):
        async with (
            opened(settings, "live") as house, app._api(house, listener), app._worker(house, demo=True),
        ):
            app._ready(house)
            await signalled()


if __name__ == "__main__":
    asyncio.run(main())
