"""
The fake SMS gateway: takes every SMS at once and remembers its code and when it came.

It reads HTTP with a few ``find`` calls, because it shares a core with the store, the worker and the load.
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
        codes: the code of each verification.
        arrived_s: when each verification's SMS first came, in seconds since the epoch.
        listener: told of each first SMS: verification id and code.
    """

    def __init__(self) -> None:
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
        self.codes.clear()
        self.arrived_s.clear()

    def take(self, body: bytes) -> None:
        """Take one SMS: ``{"reference": "<verification id>-<send number>", "text": …}``."""
        now_s = time()
        at = body.index(b'"reference":"') + 13
        verification_id = body[at:body.index(b'"', at)].rpartition(b"-")[0]
        found = _CODE.search(body, body.index(b'"text":"'))
        if found is None:
            raise ValueError("an SMS without a code of six digits")
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
        self._transport.write(_ACCEPTED)
        self._gateway.take(body)
