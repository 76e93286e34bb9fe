"""
The fake SMS gateway: takes every SMS and remembers its code and when it came; answers at once, or after a while.

It reads HTTP with a few ``find`` calls, because it shares a core with the store, the worker and the load.  An answer
that is due later costs one timer of the event loop, and its connection is busy for so long, as at a real provider.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import time
from typing import Final, Self

_ACCEPTED: Final = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"id":"1"}'
)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CODE: Final = re.compile(rb"\b[0-9]{6}\b")


class Gateway:
    """
    Listens on a loopback port of its own.

    Attributes:
        answer_after_s: seconds between an SMS and its answer.
        codes: the code of each verification.
        arrived_s: when each verification's SMS first came, in seconds since the epoch.
        handed_over: how often an SMS came, duplicates included.
        contradicted: how many of the duplicates had another code than the first of their reference.
        connections: how many are open; none when everybody who sent is dead and all they sent has been read.
        listener: told of each first SMS: verification id and code.
    """

    def __init__(self, *, answer_after_s: float = 0.0) -> None:
        self.answer_after_s = answer_after_s
        self.handed_over = 0
        self.contradicted = 0
        self.connections = 0
        self._references: dict[bytes, bytes] = {}
        self.codes: dict[bytes, bytes] = {}
        self.arrived_s: dict[bytes, float] = {}
        self.listener: Callable[[bytes, bytes], None] | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop to listen."""
        if self._server is not None:
            self._server.close()

    @property
    def url(self) -> str:
        """Where SMS are posted."""
        if self._server is None:
            raise RuntimeError("the gateway does not listen yet")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    def forget(self) -> None:
        """Forget what came so far."""
        self.handed_over = self.contradicted = 0
        self._references.clear()
        self.codes.clear()
        self.arrived_s.clear()

    def take(self, body: bytes) -> None:
        """Take one SMS: ``{"reference": "<verification id>-<send number>", "text": …}``."""
        now_s = time()
        at = body.index(b'"reference":"') + 13
        reference = body[at:body.index(b'"', at)]
        verification_id = reference.rpartition(b"-")[0]
        found = _CODE.search(body, body.index(b'"text":"'))
        if found is None:
            raise ValueError("an SMS without a code of six digits")
        self.handed_over += 1
        self.contradicted += self._references.setdefault(reference, found[0]) != found[0]
        new = verification_id not in self.codes  # delivery is at least once
        self.codes[verification_id] = found[0]
        self.arrived_s.setdefault(verification_id, now_s)
        if new and self.listener is not None:
            self.listener(verification_id, found[0])


class _Connection(asyncio.Protocol):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._gateway.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._gateway.connections -= 1

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._read, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._read) < end or self._transport is None:
            return
        body, self._read = self._read[head + 4:end], self._read[end:]
        # Answer first: the worker goes on while we look at what it sent.
        if self._gateway.answer_after_s:
            asyncio.get_running_loop().call_later(self._gateway.answer_after_s, self._answer)
        else:
            self._answer()
        self._gateway.take(body)

    def _answer(self) -> None:
        # Who waited for it may have been killed meanwhile.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_ACCEPTED)
