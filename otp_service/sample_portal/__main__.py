"""``python -m otp_service.sample_portal``: the portal as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import closing

from otp_service.sample_portal.server import serving
from otp_service.sample_portal.settings import HELP, PortalSettings, SettingsInvalid, open_listener, read_settings


def main(arguments: list[str]) -> int:
    """Run the portal; returns the exit code."""
    if arguments:
        asked = arguments in (["--help"], ["-h"])
        print(HELP, end="", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    logging.basicConfig(level=logging.WARNING, format="sample portal: %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = read_settings(os.environ)
        asyncio.run(_run(settings))
    except (SettingsInvalid, OSError) as error:
        logging.getLogger(__name__).critical("cannot start: %s", error)
        return 2
    return 0


async def _run(settings: PortalSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with closing(open_listener(settings)) as listener:
        async with serving(settings, listener) as url:
            print(f"the sample portal is ready on {url}", flush=True)  # noqa: T201 - whoever started it waits for this
            await stop.wait()


sys.exit(main(sys.argv[1:]))
