"""
One connection to an SMSC: requests with their answers, what the SMSC asks, signs of life, receipts.

What it says is described in ``sms_adapters/smpp.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final

from otp_service.core.ports import DeliveryReport, SendResult
from sms_adapters import smpp_pdus as pdus

OnReports = Callable[[Sequence[DeliveryReport]], Awaitable[None]]

#: Longer than any PDU of ours or theirs: a stream with such a length is out of step.
_PDU_MAX: Final = 65_536

#: How long to wait for the answer to a goodbye.
_GOODBYE_S: Final = 2.0
#: Receipts that wait to be handed on, and how many go in one call.
_REPORTS_WAITING: Final = 1000
_REPORTS_AT_ONCE: Final = 100

#: Seconds between two lines about receipts that could not be used: an SMSC may send any number of them.
_WARNING_EVERY_S: Final = 10.0

_log = logging.getLogger(__name__)


class Lost(Exception):
    """The connection ended; the text says how."""


class Refused(Exception):
    """The SMSC refused the bind; the text is the name of its status."""

    def __init__(self, status: int) -> None:
        super().__init__(pdus.status_name(status))
        # A status about a message says nothing here, least of all about the phone's number.
        result = pdus.status_result(status, SendResult.TEMPORARY)
        self.result = result if result is SendResult.AUTHENTICATION else SendResult.TEMPORARY


class Unused:
    """
    Counts receipts that could not be used, and warns of them with their number, but not of each.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._count = 0
        self._silent_until = -inf

    def add(self, why: str) -> None:
        """Count one; those that come too soon after a warning stand in the next."""
        self._count += 1
        now = self._clock()
        if now >= self._silent_until:
            _log.warning("smpp: receipts that could not be used: %d; the last one %s", self._count, why)
            self._count = 0
            self._silent_until = now + _WARNING_EVERY_S


class Session:
    """
    One connection: requests with their answers, what the SMSC asks, signs of life.

    Attributes:
        alive: whether anything can still be asked on it.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_reports: OnReports, id_form: pdus.IdForm,
        answer_s: float, unused: Unused,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_reports = on_reports
        self._id_form = id_form
        self._answer_s = answer_s
        self._unused = unused
        self._sequence = 0
        self._waiting: dict[int, asyncio.Future[pdus.Pdu]] = {}
        self._reports: asyncio.Queue[tuple[int, DeliveryReport]] = asyncio.Queue(_REPORTS_WAITING)
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._hand_on())]
        self.alive = True

    async def request(self, command: int, body: bytes) -> pdus.Pdu:
        """Ask, and wait for the answer as long as the caller likes.  Raises Lost: the answer will not come."""
        self._sequence = self._sequence % 0x7FFF_FFFF + 1
        sequence = self._sequence
        answer: asyncio.Future[pdus.Pdu] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = answer
        try:
            self._write(command, pdus.OK, sequence, body)
            return await answer
        finally:
            del self._waiting[sequence]

    async def bind(self, body: bytes) -> None:
        """Bind as transceiver.  Raises Refused, Lost, TimeoutError."""
        async with asyncio.timeout(self._answer_s):
            answer = await self.request(pdus.BIND_TRANSCEIVER, body)
        if answer.status != pdus.OK or answer.command != pdus.BIND_TRANSCEIVER | pdus.RESPONSE:
            raise Refused(answer.status)

    async def stay(self, enquire_link_s: float) -> None:
        """Ask for a sign of life again and again, until the connection ends; raises what ended it."""
        self._tasks.append(asyncio.create_task(self._enquire(enquire_link_s)))
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    async def unbind(self) -> None:
        """Say goodbye, and wait a little for the answer."""
        # Whether it comes or not, the connection is closed next.
        with suppress(TimeoutError, Lost):
            async with asyncio.timeout(_GOODBYE_S):
                await self.request(pdus.UNBIND, b"")

    def drop(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()

    async def end(self) -> None:
        """Close what is left; who still waits for an answer learns that none comes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail("closed")
        self._writer.close()
        # What was written last, an answer to unbind, may go out; a peer that takes nothing is cut off.
        with suppress(OSError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._writer.wait_closed()
        self.drop()

    def _write(self, command: int, status: int, sequence: int, body: bytes) -> None:
        if not self.alive:
            raise Lost("closed")
        # Nobody waits for the peer to take it: the window and the sign of life bound what can pile up.
        self._writer.write(pdus.HEADER.pack(pdus.HEADER.size + len(body), command, status, sequence) + body)

    def _fail(self, reason: str) -> None:
        self.alive = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Lost(reason))

    async def _enquire(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            async with asyncio.timeout(self._answer_s):
                await self.request(pdus.ENQUIRE_LINK, b"")

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._read_pdu())
        except (OSError, EOFError, Lost) as error:
            lost = error if isinstance(error, Lost) else Lost(type(error).__name__)
            self._fail(str(lost))
            raise lost from None

    async def _read_pdu(self) -> pdus.Pdu:
        header = await self._reader.readexactly(pdus.HEADER.size)
        length, command, status, sequence = pdus.HEADER.unpack(header)
        if not pdus.HEADER.size <= length <= _PDU_MAX:
            raise Lost("the SMSC sent what is no PDU")
        return pdus.Pdu(command, status, sequence, header + await self._reader.readexactly(length - pdus.HEADER.size))

    def _take(self, pdu: pdus.Pdu) -> None:
        """Give an answer to whoever waits for it, and answer what was asked."""
        if pdu.command & pdus.RESPONSE:
            answer = self._waiting.get(pdu.sequence)
            if answer is not None and not answer.done():
                answer.set_result(pdu)
        elif pdu.command == pdus.DELIVER_SM:
            self._take_delivery(pdu)
        elif pdu.command == pdus.ENQUIRE_LINK:
            self._write(pdus.ENQUIRE_LINK | pdus.RESPONSE, pdus.OK, pdu.sequence, b"")
        elif pdu.command == pdus.UNBIND:
            self._write(pdus.UNBIND | pdus.RESPONSE, pdus.OK, pdu.sequence, b"")
            raise Lost("unbound by the SMSC")
        elif pdu.command not in {pdus.OUTBIND, pdus.ALERT_NOTIFICATION}:
            self._write(pdus.GENERIC_NACK, pdus.INVALID_COMMAND, pdu.sequence, b"")

    def _take_delivery(self, pdu: pdus.Pdu) -> None:
        """Keep a receipt for ``_hand_on``; answer at once what is none, so that it is not repeated for ever."""
        try:
            report = pdus.read_delivery(pdu.octets, self._id_form)
        except pdus.Unreadable:
            self._unused.add("cannot be read")
            self._answer_delivery(pdu.sequence, pdus.NEVER_AGAIN)
            return
        except pdus.SaysNothing:
            self._unused.add("names no message or no known state")
            self._answer_delivery(pdu.sequence, pdus.OK)
            return
        if report is None:
            self._answer_delivery(pdu.sequence, pdus.OK)
        elif self._reports.full():
            self._answer_delivery(pdu.sequence, pdus.TRY_AGAIN)
        else:
            self._reports.put_nowait((pdu.sequence, report))

    def _answer_delivery(self, sequence: int, status: int) -> None:
        self._write(pdus.DELIVER_SM | pdus.RESPONSE, status, sequence, b"\0")

    async def _hand_on(self) -> None:
        """Hand receipts on, as many as there are in one call, and answer each when that is done."""
        while True:
            taken = [await self._reports.get()]
            while not self._reports.empty() and len(taken) < _REPORTS_AT_ONCE:
                taken.append(self._reports.get_nowait())
            status = pdus.OK
            try:
                await self._on_reports([report for _, report in taken])
            except Exception as error:  # noqa: BLE001 - whatever ails the taker, the SMSC can say it again
                _log.warning("smpp: receipts were not taken: %s", type(error).__name__)
                status = pdus.TRY_AGAIN
            for sequence, _ in taken:
                self._answer_delivery(sequence, status)
