"""
The connection to the store: calls of one event-loop tick go out as one pipeline.

redis-py spends most of its time per round trip, and packs commands in Python; so everything that is ready in the same
tick shares one write of commands that hiredis has packed.  While a few pipelines are in flight the next calls gather
behind them: batches grow with load by themselves.

Every script may be sent again (``scripts/_replay.lua``), so a call whose reply was lost is retried here, until
``retry_total_s`` is over; redis-py's own retries, which know no deadline, are off.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import redis.asyncio as redis_asyncio
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as StoreConnectionError,
)
from redis.exceptions import (
    TimeoutError as StoreTimeoutError,
)

from otp_service.core.errors import StoreUnavailable
from otp_service.storage.scripts import Script

_MAX_BATCH = 256
_FIRST_BACKOFF_S = 0.02
_MAX_BACKOFF_S = 0.5
#: asyncio's TimeoutError is an OSError.
_LOST = (StoreConnectionError, StoreTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
#: Answers that mean "not now": memory full, the cluster not whole; redis-py has no class for those of the second line.
_REFUSING = (OutOfMemoryError, ClusterDownError, TryAgainError)
_REFUSING_WORDS = ("MISCONF", "NOREPLICAS")


class StoreMetrics(Protocol):
    """What the client reports about itself."""

    def store_round_trip(self, batch_size: int) -> None:
        """One pipeline went out and came back."""

    def store_call(self, script: str, seconds: float) -> None:
        """One call was answered."""

    def store_retry(self) -> None:
        """One call is sent again."""

    def store_error(self, kind: str) -> None:
        """One call failed for good: ``unavailable``, ``refused`` or ``defect``."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py raises about a store that cannot answer now into StoreUnavailable."""
    try:
        yield
    except (*_LOST, ResponseError) as error:
        if isinstance(error, ResponseError) and not _refuses(error):
            raise
        did = "refuses" if isinstance(error, ResponseError) else "did not answer"
        raise StoreUnavailable(f"the store {did}: {type(error).__name__}") from error


def _refuses(error: Exception) -> bool:
    return isinstance(error, (*_REFUSING, *_LOST)) or str(error).startswith(_REFUSING_WORDS)


def _pack(*command: Any) -> bytes:
    packed: bytes = pack_command(command)
    return packed


async def _exchange(connection: AbstractConnection, packed: Sequence[bytes]) -> list[Any]:
    """Send packed commands as one write and read their replies; an error reply stands in the list."""
    await connection.send_packed_command(b"".join(packed), check_health=False)
    answers: list[Any] = []
    for _ in packed:
        try:
            answers.append(await connection.read_response(timeout=math.inf, disconnect_on_error=False))
        except ResponseError as error:
            answers.append(error)
    return answers


@dataclass(slots=True)
class _Call:
    script: Script
    packed: bytes
    answer: asyncio.Future[Any]
    began: float
    tries: int = field(default=0)


def connect(url: str, *, connections: int = 4, timeout_s: float = 2.0) -> redis_asyncio.Redis:
    """Make a redis-py client without its retries and with room for every pipeline in flight."""
    return redis_asyncio.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0),
        retry_on_error=[], max_connections=connections + 4, decode_responses=False,
    )


class StoreClient:
    """
    Runs scripts.

    Args:
        redis: the connection pool; see :func:`connect`.
        connections: how many pipelines may be in flight at once.
        timeout_s: seconds until one round trip counts as lost.
        retry_total_s: seconds after which a call that got no answer is given up as StoreUnavailable.
        metrics: where round trips are counted.
    """

    def __init__(
        self, redis: redis_asyncio.Redis, *, metrics: StoreMetrics, connections: int = 4, timeout_s: float = 2.0,
        retry_total_s: float = 5.0,
    ) -> None:
        self.redis = redis
        self._metrics = metrics
        self._connections = connections
        self._timeout_s = timeout_s
        self._retry_total_s = retry_total_s
        self._waiting: deque[_Call] = deque()
        self._in_flight = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[AbstractConnection] = []

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> asyncio.Future[Any]:
        """
        Send one script call with this tick's batch; the future gives the script's answer.

        Raises (through the future): StoreUnavailable when the store cannot promise anything now.
        """
        loop = asyncio.get_running_loop()
        packed = _pack("EVALSHA", script.sha, len(keys), *keys, *args)
        call = _Call(script, packed, loop.create_future(), loop.time())
        self._waiting.append(call)
        self._schedule(loop)
        return call.answer

    async def close(self) -> None:
        """Wait for what is in flight, then close the connections."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._idle:
            await connection.disconnect()
        self._idle.clear()
        await self.redis.aclose()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and self._in_flight < self._connections:
            self._scheduled = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and self._in_flight < self._connections:
            size = min(len(self._waiting), _MAX_BATCH)
            batch = [self._waiting.popleft() for _ in range(size)]
            self._in_flight += 1
            self._keep(asyncio.ensure_future(self._send(batch)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, batch: list[_Call]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await self._round_trip(batch)
        except _LOST as error:
            answers = [error] * len(batch)
        except Exception as error:  # noqa: BLE001 - a waiting caller must get an answer whatever happens here
            answers = [error] * len(batch)
        finally:
            self._in_flight -= 1
        now = asyncio.get_running_loop().time()
        again = []
        for call, answer in zip(batch, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, Exception):
                if self._may_retry(call, answer, now):
                    again.append(call)
                else:
                    call.answer.set_exception(self._failure(answer))
            else:
                self._metrics.store_call(call.script.name, now - call.began)
                call.answer.set_result(answer)
        if again:
            self._keep(asyncio.ensure_future(self._send_again(again)))
        if self._waiting:
            self._schedule(asyncio.get_running_loop())

    async def _round_trip(self, batch: list[_Call]) -> list[Any]:
        # The pool's check-out costs more than a small batch: connections that worked are kept at hand.
        connection = self._idle.pop() if self._idle else self.redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            answers = await _exchange(connection, [call.packed for call in batch])
            self._metrics.store_round_trip(len(batch))
            missing = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:
                # NOSCRIPT proves that nothing was executed: load, and send just these again.
                sources = {batch[at].script.source for at in missing}
                await _exchange(connection, [_pack("SCRIPT", "LOAD", source) for source in sources])
                again = await _exchange(connection, [batch[at].packed for at in missing])
                for at, answer in zip(missing, again, strict=True):
                    answers[at] = answer
        except BaseException:
            # Replies that were not read must not answer the next caller.
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return answers

    def _may_retry(self, call: _Call, error: Exception, now: float) -> bool:
        return isinstance(error, _LOST) and now + self._backoff(call) - call.began < self._retry_total_s

    @staticmethod
    def _backoff(call: _Call) -> float:
        return min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(call.tries, 8))

    async def _send_again(self, calls: list[_Call]) -> None:
        await asyncio.sleep(max(self._backoff(call) for call in calls))
        for call in calls:
            call.tries += 1
            self._metrics.store_retry()
        self._waiting.extend(calls)
        self._schedule(asyncio.get_running_loop())

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, (*_LOST, AuthenticationError)):
            self._metrics.store_error("unavailable")
            return StoreUnavailable(f"the store did not answer: {type(error).__name__}")
        if isinstance(error, ResponseError) and _refuses(error):
            self._metrics.store_error("refused")
            return StoreUnavailable(f"the store refuses writes: {str(error)[:80]}")
        self._metrics.store_error("defect")
        return error
