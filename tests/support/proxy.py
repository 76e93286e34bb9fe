"""
A TCP proxy in front of a server, which loses, delays and refuses as a network does.

::

    async with Proxy("unix:///run/store.sock") as proxy:      # or "tcp://127.0.0.1:6379", "http://127.0.0.1:8080"
        client = connect(f"redis://{proxy.address}")
        proxy.lose(2, marker=b"EVALSHA")     # the server does what is asked, twice, and nobody hears of it
        proxy.refuse()                       # nobody gets in any more
        proxy.accept()
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

_CHUNK = 65_536


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    #: The last request carried the marker: its reply is one to lose.
    armed: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def abort(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """
    A TCP proxy on a free port of loopback.

    Args:
        target: URL of the server: ``unix://path`` or any scheme with host and port.

    Attributes:
        delay_s: how long each reply is held back.
        connections: how many were accepted.
        lost: how many replies were thrown away.
        requests: chunks that went to the server: a client that waits for its answers sends one per round trip.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._marker = b""
        self._to_lose = 0
        self._hang = False
        self._refusing = False
        self._held: asyncio.Event | None = None
        self._answers: dict[bytes, bytes] = {}
        self.delay_s = 0.0
        self.connections = 0
        self.lost = 0
        self.requests = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for link in self._links for task in link.tasks]
        self.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- faults ------------------------------------------------------------------------------------------------

    def lose(self, count: int, *, marker: bytes = b"", hang: bool = False) -> None:
        """
        Throw away the next ``count`` replies to requests that contain ``marker``.

        The server has done what was asked.  The connection is cut at that moment, or with ``hang`` stays silent.
        """
        self._to_lose, self._marker, self._hang = count, marker, hang

    def answer(self, marker: bytes, reply: bytes | None) -> None:
        """Answer requests that contain ``marker`` in the server's place; None lets them through again."""
        self._answers.pop(marker, None)
        if reply is not None:
            self._answers[marker] = reply

    def hold(self) -> None:
        """Keep back what is sent to the server until ``release``."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Let through what was kept back."""
        if self._held:
            self._held.set()
            self._held = None

    def reset(self) -> None:
        """Cut every connection now."""
        for link in list(self._links):
            link.abort()

    def refuse(self) -> None:
        """Cut every connection and let nobody in until ``accept``."""
        self._refusing = True
        self.reset()

    def accept(self) -> None:
        """Let everybody in again."""
        self._refusing = False

    # -- the work ----------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            server_reader, server_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        link.tasks = [
            asyncio.create_task(self._requests(link, reader)), asyncio.create_task(self._replies(link, server_reader)),
        ]
        try:
            await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._links.discard(link)
            link.abort()
            for task in link.tasks:
                task.cancel()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._target.path))
        return await asyncio.open_connection(self._target.hostname, self._target.port)

    async def _requests(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                self.requests += 1
                if canned := next((reply for marker, reply in self._answers.items() if marker in chunk), None):
                    link.client.write(canned)
                    continue
                link.armed = self._to_lose > 0 and self._marker in chunk
                if self._held:
                    await self._held.wait()
                link.server.write(chunk)
                await link.server.drain()

    async def _replies(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                if link.armed and self._to_lose > 0:
                    self._to_lose -= 1
                    self.lost += 1
                    if self._hang:
                        link.armed = False
                        continue
                    return
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                link.client.write(chunk)
                await link.client.drain()
