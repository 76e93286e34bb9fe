"""
One call over HTTP: repeated while its reply is lost, bounded in time and size, no redirects.

A repeated call is the same bytes under the same ``Idempotency-Key``: whether the service carried out the first one or
not, it is carried out once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from otp_service.client.errors import AnswerInvalid, IdempotencyInProgress, OtpError, Refused, Unavailable, Unreachable
from otp_service.client.problems import read_problem, retry_after_s

#: How often one call is sent at most.
MOST_TRIES: Final = 3
#: A service that wants to be left alone for longer is not asked again: the caller has a person waiting.
MOST_PAUSE_S: Final = 5.0

_LEAST_S: Final = 0.001
_MOST_ANSWER: Final = 256 * 1024
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
#: What stands between us and the service when these come without a problem document.
_PROXY: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Call:
    """
    What to ask.

    Attributes:
        path: below the transport's address, without a query; empty for the address itself.
        body: JSON, sent as these bytes each time.
        headers: beside the credentials.
        wait_s: seconds for which the service may hold its answer.
    """

    method: str
    path: str = ""
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    media: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Lost:
    """No answer.  ``again`` says whether asking again could help, ``pause_s`` for how long the other side begs off."""

    reason: str
    maybe_done: bool
    again: bool = True
    pause_s: float | None = None


class Transport:
    """
    Makes calls to one service.

    Args:
        base_url: where it is, with or without a path.
        authorization: the header's value, or None for what anybody may read.
        timeout_s: seconds for one call with all its repetitions.
        session: connections to share; one of our own is made when None, and closed with us.

    Attributes:
        clock: seconds, never set back.
        sleep: waits between repetitions.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], Awaitable[None]] = staticmethod(asyncio.sleep)

    def __init__(
        self, base_url: str, *, authorization: str | None, timeout_s: float,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._base = _checked(base_url)
        self._headers = {"User-Agent": "otp-service-client"}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._timeout_s = timeout_s
        self._session = session
        self._ours: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections, if they are our own."""
        if self._ours is not None:
            await self._ours.close()
            self._ours = None

    async def json(self, call: Call) -> Any:
        """
        Return the JSON of a success.

        Raises Refused, Unreachable and AnswerInvalid.
        """
        ends_s = self.clock() + self._timeout_s + call.wait_s
        maybe_done = False
        for tries in range(1, MOST_TRIES + 1):
            outcome = await self._try(call, ends_s - self.clock())
            if isinstance(outcome, _Answer) and outcome.status < 300:
                return _loaded(outcome)
            error = _error(outcome)
            if isinstance(error, Unreachable):
                # What one try may have done, no later one undoes.
                maybe_done = error.maybe_done = maybe_done or error.maybe_done
            pause_s = _pause_s(outcome, error, tries)
            if pause_s is None or tries == MOST_TRIES or self.clock() + pause_s >= ends_s:
                break
            await self.sleep(pause_s)
        # Raised out here so that it carries no exception of aiohttp along: those remember our headers.
        raise error

    async def _try(self, call: Call, left_s: float) -> _Answer | _Lost:
        """Ask once, for at most ``left_s`` and not for all of the time: a connection may be dead without a word."""
        spare_s = self._timeout_s / 2
        wait_s = min(call.wait_s, max(0, int(left_s - spare_s)))
        url = self._base / call.path if call.path else self._base
        if wait_s:
            url = url.with_query(wait=wait_s)
        # Never 0 or less, which to aiohttp means no limit: a pause may have lasted longer than was asked.
        total_s = max(min(left_s, wait_s + spare_s), _LEAST_S)
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=min(total_s, spare_s / 2))
        try:
            async with self._connections().request(
                call.method, url, data=call.body, headers={**self._headers, **call.headers}, timeout=timeout,
                allow_redirects=False, raise_for_status=False,
            ) as answer:
                body = await _read(answer.content)
                return _Answer(answer.status, answer.content_type, answer.headers, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # No connection was made: the service cannot have it.  A certificate that is wrong stays wrong.
            lasting = isinstance(error, aiohttp.ClientSSLError)
            return _Lost(_why_not_connected(error), maybe_done=False, again=not lasting)
        except TimeoutError:
            return _Lost("timeout", maybe_done=True)
        except aiohttp.ClientError:
            return _Lost("connection_lost", maybe_done=True)

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is not None:
            return self._session
        if self._ours is None:
            # The service sets no cookies for API keys; whoever does is somebody else.
            self._ours = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._ours


def _checked(base_url: str) -> URL:
    """Return an address that calls can be built on.  Raises ValueError, which never repeats it."""
    try:
        url = URL(base_url)
    except ValueError:
        raise ValueError("the service's address is no URL") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("the service's address is no URL with http or https")
    if url.user or url.password or url.query_string or url.fragment:
        raise ValueError("the service's address has no user, query or fragment")
    return url


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read a body to its end, or one byte more than an answer may have."""
    body = b""
    while len(body) <= _MOST_ANSWER and (part := await content.read(_MOST_ANSWER + 1 - len(body))):
        body += part
    return body


def _why_not_connected(error: Exception) -> str:
    """Say which of the usual reasons kept a connection from being made."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls_failed"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name_not_found"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "timeout"
    refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError)
    return "connection_refused" if refused else "not_connected"


def _loaded(answer: _Answer) -> Any:
    """Return the JSON of an answer.  Raises AnswerInvalid."""
    if answer.media not in {_JSON, _PROBLEM} or len(answer.body) > _MOST_ANSWER:
        raise AnswerInvalid(f"status {answer.status} without JSON, or with too much of it")
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        pass
    raise AnswerInvalid(f"status {answer.status} with JSON that cannot be read")


def _error(outcome: _Answer | _Lost) -> OtpError:
    """Return what a call that did not succeed comes to."""
    if isinstance(outcome, _Lost):
        return Unreachable(outcome.reason, maybe_done=outcome.maybe_done)
    if outcome.media == _PROBLEM:
        try:
            return read_problem(_loaded(outcome), outcome.status, outcome.headers)
        except AnswerInvalid as error:
            return error
    if outcome.status in _PROXY:
        return Unreachable("proxy", maybe_done=True)
    return AnswerInvalid(f"status {outcome.status} without a problem document")


def _pause_s(outcome: _Answer | _Lost, error: OtpError, tries: int) -> float | None:
    """Return how long to wait before asking again, or None when that is no use."""
    if isinstance(outcome, _Lost):
        return _backoff_s(tries) if outcome.again else None
    if isinstance(error, IdempotencyInProgress) and tries > 1:
        # It is our own call before, whose answer we did not get.
        return 1.0
    if isinstance(error, Unavailable | Unreachable) or (isinstance(error, Refused) and error.status == 503):
        asked_s = retry_after_s(outcome.headers)
        pause_s = _backoff_s(tries) if asked_s is None else asked_s
        return pause_s if pause_s <= MOST_PAUSE_S else None
    return None


def _backoff_s(tries: int) -> float:
    """Return 0.1 to 0.2 s, then 0.2 to 0.4 s: not in step with everybody else who lost the same connection."""
    return 0.1 * tries * random.uniform(1, 2)  # noqa: S311 - spreads load, hides nothing
