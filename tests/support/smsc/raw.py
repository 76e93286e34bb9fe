"""An SMSC of bare octets: it shows what arrives and sends what a test writes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from struct import pack, unpack
from types import TracebackType
from typing import NamedTuple, Self

from support.processes import DEADLINE_S

BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK = 0x09, 0x04, 0x05, 0x06, 0x15
RESPONSE = GENERIC_NACK = 0x8000_0000

#: Answers with no body, and those with an empty C-octet string or a message id.
_BODIES = {BIND_TRANSCEIVER: b"SMSC\0", SUBMIT_SM: b"m-1\0"}


class Pdu(NamedTuple):
    """A PDU as it arrived."""

    command: int
    status: int
    sequence: int
    body: bytes


def octets(command: int, sequence: int, body: bytes = b"", status: int = 0) -> bytes:
    """Write a PDU."""
    return pack(">IIII", 16 + len(body), command, status, sequence) + body


def success(pdu: Pdu) -> bytes | None:
    """Answer a request as if all were well; answers get none."""
    if pdu.command & RESPONSE:
        return None
    return octets(pdu.command | RESPONSE, pdu.sequence, _BODIES.get(pdu.command, b""))


class RawSmsc:
    """
    The SMSC, for one client after the other.

    Args:
        tls: listens with TLS.

    Attributes:
        port: where it listens on 127.0.0.1.
        answers: how a PDU is answered, by command: its octets, or None for silence; ``success`` for all others.
        connections: how many were accepted, those whose handshake failed left out.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._arrived: dict[int, asyncio.Queue[Pdu]] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self.port = 0
        self.answers: dict[int, Callable[[Pdu], bytes | None]] = {}
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._handlers)

    async def arrived(self, command: int) -> Pdu:
        """Wait for the next PDU of this command."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._queue(command).get()

    def waiting(self, command: int) -> int:
        """Say how many PDUs of this command have arrived that nobody took yet."""
        return self._queue(command).qsize()

    def write(self, data: bytes) -> None:
        """Send octets to the client that is connected."""
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        """Cut the connection."""
        if self._writer is not None:
            self._writer.transport.abort()

    def _queue(self, command: int) -> asyncio.Queue[Pdu]:
        return self._arrived.setdefault(command, asyncio.Queue())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        self._writer = writer
        self.connections += 1
        try:
            while True:
                length, command, status, sequence = unpack(">IIII", await reader.readexactly(16))
                pdu = Pdu(command, status, sequence, await reader.readexactly(length - 16))
                self._queue(command).put_nowait(pdu)
                answer = self.answers.get(command, success)(pdu)
                if answer is not None:
                    writer.write(answer)
        except (EOFError, OSError):
            # The client went away, or a test cut the line.
            writer.transport.abort()
