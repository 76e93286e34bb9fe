"""The one place that makes HTTP requests to others: bounded in time and size, no redirects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp
from yarl import URL

from otp_service.core.ports import HttpRequest, HttpResponse, NoAnswer
from otp_service.telemetry.logs import get_logger

_MAX_ANSWER = 64 * 1024

_log = get_logger()


class Peer(Protocol):
    """Whom we ask: an account at a gateway, a source."""

    @property
    def name(self) -> str:
        """Its name in the settings."""

    @property
    def timeout_s(self) -> float:
        """Seconds for one request."""


async def exchange(
    session: aiohttp.ClientSession, request: HttpRequest, timeout_s: float,
    asked: Callable[[HttpRequest], None] | None = None, *, who: Mapping[str, str],
) -> HttpResponse | NoAnswer:
    """
    Make one request.  What the network does instead of answering is a :class:`NoAnswer`, not an exception.

    Args:
        session: the connections.
        request: what to send; of its answer at most 64 KiB are read.
        timeout_s: seconds for all of it.
        asked: is shown the request.
        who: names the other side in the log: ``{"gateway": …}`` or ``{"source": …}``.
    """
    if asked is not None:
        asked(request)
    try:
        async with session.request(
            request.method, URL(request.url, encoded=True), headers=request.headers, data=request.body or None,
            timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False,
        ) as answer:
            body = await _read(answer.content)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return HttpResponse(answer.status, headers, body[:_MAX_ANSWER], whole=len(body) <= _MAX_ANSWER)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        # No connection was made: the other side cannot have it.
        return NoAnswer(why_not_connected(error))
    except TimeoutError:
        return NoAnswer("timeout", maybe_taken=True)
    except aiohttp.ClientError as error:
        _log.info("connection lost", **who, error=type(error).__name__)
        return NoAnswer("connection_lost", maybe_taken=True, lost=True)


def why_not_connected(error: Exception) -> str:
    """Say which of the usual reasons kept a connection from being made."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls_failed"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name_not_found"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connect_timeout"
    refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError)
    return "connection_refused" if refused else "not_connected"


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read a body to its end, or one byte more than an answer may have: one read gives what has arrived by then."""
    body = b""
    while len(body) <= _MAX_ANSWER and (part := await content.read(_MAX_ANSWER + 1 - len(body))):
        body += part
    return body
