"""Tells of sources that answer, but not from what they should: a table that was replaced by something else, say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from otp_service.delivery.pacing import pause
from otp_service.inquiry.sources import AskedSource
from otp_service.telemetry.logs import get_logger

_EVERY_S: Final = 5.0

_log = get_logger()


class Problems:
    """
    Watches what sources say of themselves as ``problem``: a sentence without subscriber data, or None.

    Args:
        sources: those in use; most never have one.
    """

    def __init__(self, sources: Iterable[AskedSource]) -> None:
        self._sources = tuple(source for source in sources if hasattr(source.source, "problem"))
        self._told: dict[str, str | None] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop``."""
        while not stop.is_set():
            self.look()
            await pause(stop, _EVERY_S)

    def look(self) -> None:
        """Tell what has changed since the last look."""
        for source in self._sources:
            problem = getattr(source.source, "problem", None)
            if problem == self._told.get(source.name):
                continue
            self._told[source.name] = problem
            if problem is None:
                _log.info("source has no problem any more", source=source.name)
            else:
                _log.error("source has a problem", source=source.name, problem=str(problem))
