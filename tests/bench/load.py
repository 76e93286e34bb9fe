"""
The load: 64 keep-alive connections that send prepared bytes and look at as little of an answer as they can.

What is sent comes from a source: it gives the next request whenever a connection is free, and is shown each answer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from time import perf_counter
from typing import Final, Self

from bench.processes import BenchmarkError

CONNECTIONS: Final = 64
#: Share of refused calls (a store that is slow for a moment answers 503) above which nothing was measured.
_MAX_REFUSED: Final = 0.01
_GIVE_UP_S: Final = 120.0


class Source(ABC):
    """
    What to send; one object per measurement.

    Attributes:
        good: answers that were what was asked for.
        refused: all others.
    """

    def __init__(self) -> None:
        self.good = 0
        self.refused = 0
        self.sample = b""

    @abstractmethod
    def next(self) -> bytes | None:
        """Return the next request, or None when there is none now."""

    @abstractmethod
    def finished(self) -> bool:
        """Whether nothing more will come."""

    def answered(self, answer: bytes) -> None:
        """Take note of an answer, head and body."""
        if answer[9] == 50:  # the 2 of "HTTP/1.1 2xx"
            self.good += 1
            self.accepted(answer)
        else:
            self.refused += 1
            self.sample = answer

    def accepted(self, answer: bytes) -> None:  # noqa: B027 - most sources have nothing to note
        """Take note of an answer that was what was asked for."""


class Load:
    """The connections to one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._connections: list[_Connection] = []
        self._source: Source | None = None
        self._over: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        """Open every connection."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
            self._connections.append(connection)
        self._idle = list(self._connections)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        self._over = None
        for connection in self._connections:
            connection.close()

    async def run(self, source: Source) -> float:
        """
        Send what ``source`` gives until it has finished; returns seconds by the clock.

        Raises BenchmarkError when more than a hundredth of the calls are refused, or a connection is lost.
        """
        self._source = source
        self._over = asyncio.get_running_loop().create_future()
        began = perf_counter()
        self.kick()
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                await self._over
        except TimeoutError:
            raise BenchmarkError(f"no answer within {_GIVE_UP_S:.0f} s") from None
        seconds = perf_counter() - began
        self._source = None
        if source.refused > _MAX_REFUSED * (source.good + source.refused):
            raise BenchmarkError(f"{source.refused} calls were refused, the last with {source.sample!r}")
        return seconds

    def kick(self) -> None:
        """Ask the source again for every idle connection: it has something new, or has finished."""
        idle, self._idle = self._idle, []
        while idle:
            connection = idle.pop()
            if not self._feed(connection):
                self._idle.extend(idle)
                break
        self._see_whether_over()

    def _feed(self, connection: _Connection) -> bool:
        request = self._source.next() if self._source is not None else None
        if request is None:
            self._idle.append(connection)
            return False
        connection.send(request)
        return True

    def answered(self, connection: _Connection, answer: bytes) -> None:
        """Take an answer and use its connection again."""
        if self._source is None:
            raise BenchmarkError(f"an answer that nobody asked for: {answer[:200]!r}")
        self._source.answered(answer)
        if not self._feed(connection):
            self._see_whether_over()

    def lost(self) -> None:
        """End the measurement: a keep-alive connection was closed in the middle of it."""
        if self._over is not None and not self._over.done():
            self._over.set_exception(BenchmarkError("the server closed a connection"))

    def _see_whether_over(self) -> None:
        if (
            len(self._idle) == len(self._connections) and self._source is not None and self._source.finished()
            and self._over is not None and not self._over.done()
        ):
            self._over.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def send(self, request: bytes) -> None:
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        # Every answer is one JSON object: it is whole when it ends like one.
        if self._read:
            data = self._read + data
        if not data.endswith(b"}"):
            self._read = data
            return
        self._read = b""
        self._load.answered(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._load.lost()
