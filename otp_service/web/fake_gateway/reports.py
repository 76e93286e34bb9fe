"""The fake gateway's delivery reports: posted later, signed, perhaps twice, perhaps out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp
import orjson

from otp_service.core.ports import DeliveryState
from otp_service.telemetry.logs import get_logger
from sms_adapters.fake import SIGNATURE_HEADER, sign

MAX_PENDING: Final = 10_000
_TIMEOUT_S: Final = 5.0
_CONNECTIONS: Final = 20

_log = get_logger()


def report(message_id: str, reference: str, state: DeliveryState) -> dict[str, str]:
    """Return one report as the provider says it, see ``sms_adapters/fake.py``."""
    return {"id": message_id, "reference": reference, "state": state.value, "code": state.value}


class Reporter:
    """
    Posts reports to one URL; what is not taken there is not said again.

    Args:
        url: where to; empty posts nothing.
        key: signs them; empty signs nothing.
        pause: waits for seconds.

    Attributes:
        dropped: reports that were not even tried, because ten thousand were waiting.
    """

    def __init__(self, url: str = "", key: str = "", *, pause: Callable[[float], Awaitable[None]]) -> None:
        self.dropped = 0
        self._url = url
        self._key = key.encode()
        self._pause = pause
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def later(self, after_ms: int, message_id: str, reference: str, states: Sequence[DeliveryState]) -> None:
        """Post a message's reports, one after the other, after so many milliseconds."""
        if not self._url:
            return
        if len(self._tasks) >= MAX_PENDING:
            self.dropped += len(states)
            return
        bodies = [orjson.dumps(report(message_id, reference, state)) for state in states]
        task = asyncio.create_task(self._post_all(after_ms / 1000, bodies))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until every report that is waiting has been posted."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Forget what is waiting and close the connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post_all(self, after_s: float, bodies: Sequence[bytes]) -> None:
        if after_s:
            await self._pause(after_s)
        for body in bodies:
            await self._post(body)

    async def _post(self, body: bytes) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS), cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            )
        headers = {"content-type": "application/json"}
        if self._key:
            headers[SIGNATURE_HEADER] = sign(self._key, body)
        # The URL has a secret in its path: it stands in no log line.
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                if answer.status >= 300:
                    _log.warning("fake gateway: report not taken", status=answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("fake gateway: report not taken", error=type(error).__name__)
