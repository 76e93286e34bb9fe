"""
SMPP 3.4: one TCP or TLS connection to a carrier's SMSC, bound as transceiver, that stays and comes back by itself.

::

    bind_transceiver   system_id, password, system_type, interface_version 0x34   →  bind_transceiver_resp
    submit_sm          source and destination with TON and NPI, esm_class 0x40 with a UDH, validity_period relative,
                       registered_delivery 1 for the last part, data_coding 0 (GSM-7) or 8 (UCS-2)
                                                        →  submit_sm_resp: command_status, message_id; see _STATUSES
    enquire_link       every ``enquire_link_s``, both ways          unbind   at the end, both ways

    deliver_sm         esm_class 0x04 or 0x20: a delivery receipt   ←  always answered with deliver_sm_resp
        receipted_message_id, message_state, network_error_code     optional parameters, preferred
        "id:… sub:001 dlvrd:001 submit date:… done date:… stat:DELIVRD err:000 text:…"            otherwise

Rules that are not in the PDUs:

* At most ``window`` submits wait for their answer; one that finds no place within its time was not sent.
* ``ESME_RTHROTTLED`` and ``ESME_RMSGQFUL`` speak of the bind, not of the message: it rests for ``throttle_pause_s``,
  and who wants to send meanwhile is told so at once.
* A text of several parts asks for the receipt of the last part alone: a message has one id and one state with us, the
  parts travel in order, and a phone shows the text when it is complete.
* A receipt may come before the answer to its submit; it is handed on as it comes.  It is answered when it has been
  taken; when that fails, with a temporary error, so that the SMSC repeats it.
* There is no id for duplicates: a second hand-over is a second SMS.

The library ``smpp34`` writes ``submit_sm`` and reads ``deliver_sm``.  The client of its 1.5.0 is not used: it knows no
CA file and no server name, does not say why a bind was refused, lets any number of submits wait, and answers a receipt
before it has been taken.

Source: Short Message Peer to Peer Protocol Specification v3.4, issue 1.2; 3GPP TS 23.038 and 23.040 for the text.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import DeliveryReport, DeliveryState, SendOutcome, SendResult, SmsMessage, Supports
from otp_service.core.sms_length import GSM7_BASIC, GSM7_EXTENSION, is_gsm7
from sms_adapters.reading import international, provider_code, provider_id

try:
    from smpp34 import DeliverSm, SmppError, SubmitSm, decode
except ModuleNotFoundError:  # an extra: the constructor says which
    _INSTALLED = False
else:
    _INSTALLED = True

OnReports = Callable[[Sequence[DeliveryReport]], Awaitable[None]]

_log = logging.getLogger(__name__)

# -- numbers of the standard ---------------------------------------------------------------------------------------

_HEADER = Struct(">IIII")  # command_length, command_id, command_status, sequence_number

#: Longer than any PDU of ours or theirs: a stream with such a length is out of step.
_PDU_MAX = 65_536

_RESPONSE = 0x8000_0000
_GENERIC_NACK = 0x8000_0000
_SUBMIT_SM = 0x0000_0004
_DELIVER_SM = 0x0000_0005
_UNBIND = 0x0000_0006
_BIND_TRANSCEIVER = 0x0000_0009
_OUTBIND = 0x0000_000B
_ENQUIRE_LINK = 0x0000_0015
_ALERT_NOTIFICATION = 0x0000_0102

#: interface_version 3.4 and no address_range: receipts of everything that we submit.
_ANY_ADDRESS = b"\x34\x00\x00\x00"

_OK = 0x00
_INVALID_COMMAND = 0x03
_WRONG_BIND_STATE = 0x04
_TRY_AGAIN = 0x64   # ESME_RX_T_APPN
_NEVER_AGAIN = 0x65  # ESME_RX_P_APPN

#: Every command_status of section 5.1.3 but success: its name and what it says about a message or a bind.  A status
#: about a PDU that we never send, or about a field that is ours to get right, is UNKNOWN: another gateway may succeed.
_STATUSES: Mapping[int, tuple[str, SendResult]] = {
    0x01: ("ESME_RINVMSGLEN", SendResult.TEMPLATE_REJECTED),
    0x02: ("ESME_RINVCMDLEN", SendResult.UNKNOWN),
    0x03: ("ESME_RINVCMDID", SendResult.UNKNOWN),
    0x04: ("ESME_RINVBNDSTS", SendResult.TEMPORARY),
    0x05: ("ESME_RALYBND", SendResult.TEMPORARY),
    0x06: ("ESME_RINVPRTFLG", SendResult.UNKNOWN),
    0x07: ("ESME_RINVREGDLVFLG", SendResult.UNKNOWN),
    0x08: ("ESME_RSYSERR", SendResult.TEMPORARY),
    0x0A: ("ESME_RINVSRCADR", SendResult.SENDER_REJECTED),
    0x0B: ("ESME_RINVDSTADR", SendResult.INVALID_NUMBER),
    0x0C: ("ESME_RINVMSGID", SendResult.UNKNOWN),
    0x0D: ("ESME_RBINDFAIL", SendResult.AUTHENTICATION),
    0x0E: ("ESME_RINVPASWD", SendResult.AUTHENTICATION),
    0x0F: ("ESME_RINVSYSID", SendResult.AUTHENTICATION),
    0x11: ("ESME_RCANCELFAIL", SendResult.UNKNOWN),
    0x13: ("ESME_RREPLACEFAIL", SendResult.UNKNOWN),
    0x14: ("ESME_RMSGQFUL", SendResult.THROTTLED),
    0x15: ("ESME_RINVSERTYP", SendResult.SENDER_REJECTED),
    0x33: ("ESME_RINVNUMDESTS", SendResult.UNKNOWN),
    0x34: ("ESME_RINVDLNAME", SendResult.UNKNOWN),
    0x40: ("ESME_RINVDESTFLAG", SendResult.UNKNOWN),
    0x42: ("ESME_RINVSUBREP", SendResult.UNKNOWN),
    0x43: ("ESME_RINVESMCLASS", SendResult.TEMPLATE_REJECTED),  # it carries no text in parts
    0x44: ("ESME_RCNTSUBDL", SendResult.UNKNOWN),
    0x45: ("ESME_RSUBMITFAIL", SendResult.TEMPORARY),
    0x48: ("ESME_RINVSRCTON", SendResult.SENDER_REJECTED),
    0x49: ("ESME_RINVSRCNPI", SendResult.SENDER_REJECTED),
    0x50: ("ESME_RINVDSTTON", SendResult.UNKNOWN),
    0x51: ("ESME_RINVDSTNPI", SendResult.UNKNOWN),
    0x53: ("ESME_RINVSYSTYP", SendResult.AUTHENTICATION),
    0x54: ("ESME_RINVREPFLAG", SendResult.UNKNOWN),
    0x55: ("ESME_RINVNUMMSGS", SendResult.UNKNOWN),
    0x58: ("ESME_RTHROTTLED", SendResult.THROTTLED),
    0x61: ("ESME_RINVSCHED", SendResult.UNKNOWN),
    0x62: ("ESME_RINVEXPIRY", SendResult.UNKNOWN),
    0x63: ("ESME_RINVDFTMSGID", SendResult.UNKNOWN),
    0x64: ("ESME_RX_T_APPN", SendResult.TEMPORARY),
    0x65: ("ESME_RX_P_APPN", SendResult.UNKNOWN),
    0x66: ("ESME_RX_R_APPN", SendResult.UNKNOWN),
    0x67: ("ESME_RQUERYFAIL", SendResult.UNKNOWN),
    0xC0: ("ESME_RINVOPTPARSTREAM", SendResult.UNKNOWN),
    0xC1: ("ESME_ROPTPARNOTALLWD", SendResult.UNKNOWN),
    0xC2: ("ESME_RINVPARLEN", SendResult.UNKNOWN),
    0xC3: ("ESME_RMISSINGOPTPARAM", SendResult.UNKNOWN),
    0xC4: ("ESME_RINVOPTPARAMVAL", SendResult.UNKNOWN),
    0xFE: ("ESME_RDELIVERYFAILURE", SendResult.TEMPORARY),
    0xFF: ("ESME_RUNKNOWNERR", SendResult.UNKNOWN),
}

_RECEIPTED_MESSAGE_ID = 0x001E
_NETWORK_ERROR_CODE = 0x0423
_MESSAGE_PAYLOAD = 0x0424
_MESSAGE_STATE = 0x0427

#: message_state (section 5.2.28) as receipts write it, and what it says.  ACCEPTD is used for "the next network has
#: it", and UNKNOWN says nothing: neither may open a resend, so both are "on its way".
_STATES: Mapping[str, DeliveryState] = {
    "ENROUTE": DeliveryState.SENT,
    "DELIVRD": DeliveryState.DELIVERED,
    "EXPIRED": DeliveryState.FAILED,
    "DELETED": DeliveryState.FAILED,
    "UNDELIV": DeliveryState.FAILED,
    "ACCEPTD": DeliveryState.SENT,
    "UNKNOWN": DeliveryState.SENT,
    "REJECTD": DeliveryState.FAILED,
}
_STATE_NUMBERS = dict(enumerate(_STATES, start=1))

# -- limits of ours ------------------------------------------------------------------------------------------------

#: An answer within this share of ``timeout_s``, so that the sender hears ours before it gives up by itself.
_SHARE = 0.95
#: How long to wait for the answer to a goodbye.
_GOODBYE_S = 2.0
#: Receipts that wait to be handed on, and how many go in one call.
_REPORTS_WAITING = 1000
_REPORTS_AT_ONCE = 100
#: The header of a part counts them in one octet.
_PARTS_MAX = 255

_NOT_BOUND = SendOutcome(SendResult.TEMPORARY, provider_code="not_bound")


class _Pdu(NamedTuple):
    command: int
    status: int
    sequence: int
    octets: bytes

    @property
    def body(self) -> bytes:
        return self.octets[_HEADER.size:]


class _Lost(Exception):
    """The connection ended; the text says how."""


class _Refused(Exception):
    """The SMSC refused the bind; the text is the name of its status."""

    def __init__(self, status: int) -> None:
        super().__init__(_name(status))
        # A status about a message says nothing here, least of all about the phone's number.
        result = _STATUSES[status][1] if status in _STATUSES else SendResult.TEMPORARY
        self.result = result if result is SendResult.AUTHENTICATION else SendResult.TEMPORARY


@dataclass(frozen=True, slots=True)
class _IdForm:
    """The bases in which message ids are written, None where they are compared as they are."""

    answers: int | None = None
    receipts: int | None = None


#: By the option ``id_form``.
_ID_FORMS = {"same": _IdForm(), "hex": _IdForm(10, 16), "decimal": _IdForm(16, 10)}


# -- the gateway ---------------------------------------------------------------------------------------------------


class SmppGateway:
    """
    A carrier's SMSC, or an aggregator's.

    Args:
        host: name or address of the SMSC.
        port: by default 3550 with TLS and 2775 without.
        system_id: our name there, at most 15 characters.
        password: at most 8 characters.
        sender: what the phone shows: a brand name of at most 11 characters, or a number.
        system_type, service_type: as the carrier says, mostly empty.
        source_ton, source_npi: of the sender; by default 5 and 0 for a name, 1 and 1 for a number.
        dest_ton, dest_npi: of the phone's number, which goes out in international form.
        tls: without it the password and every code travel in clear: only through a tunnel or a leased line.
        tls_ca_file: PEM file of the authority behind the SMSC's certificate; by default those the system trusts.
        tls_server_name: the name in that certificate, where it is not ``host``.
        tls_verify: whether the certificate is checked; false is refused but on loopback.
        window: submits that may wait for their answers at once.
        enquire_link_s: seconds between signs of life.
        reconnect_min_s, reconnect_max_s: the first and the longest pause before the next attempt to connect.
        throttle_pause_s: seconds the whole bind rests when the SMSC throttles.
        id_form: how receipts in text form write message ids: ``same`` as the answer to the submit, ``hex`` where that
            is decimal, ``decimal`` where that is hexadecimal; in the last two all ids are given on in decimal.
        timeout_s: seconds for one message with all its parts, for a bind, and for the answer to a sign of life.
        clock: seconds that only grow.

    Raises:
        ConfigurationError: an option is missing or wrong, or ``smpp34`` is not installed.
    """

    name = "smpp"
    real = True
    experimental = False
    contract = "SMPP Protocol Specification v3.4, issue 1.2"
    supports = Supports(unicode=True, parts=_PARTS_MAX)

    def __init__(
        self, *, host: str, system_id: str, password: str, sender: str, port: int | str = "", system_type: str = "",
        service_type: str = "", source_ton: int | str = "", source_npi: int | str = "", dest_ton: int | str = 1,
        dest_npi: int | str = 1, tls: bool | str = True, tls_ca_file: str = "", tls_server_name: str = "",
        tls_verify: bool | str = True, window: int | str = 10, enquire_link_s: float | str = 30.0,
        reconnect_min_s: float | str = 1.0, reconnect_max_s: float | str = 60.0, throttle_pause_s: float | str = 1.0,
        id_form: str = "same", timeout_s: float | str = 10.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _INSTALLED:
            raise ConfigurationError("smpp: the library smpp34 is missing; install the extra: otp-service[smpp]")
        self.timeout_s = _seconds("timeout_s", timeout_s, most=60)
        self._host = _text("host", host, 255, least=1)
        ca_file, server_name = str(tls_ca_file), _text("tls_server_name", tls_server_name, 255)
        self._tls = _tls_context(self._host, _flag("tls", tls), ca_file, _flag("tls_verify", tls_verify))
        if self._tls is None and (ca_file or server_name):
            raise ConfigurationError("smpp: tls_ca_file and tls_server_name say nothing without tls = true")
        self._server_name = (server_name or self._host) if self._tls else None
        self._port = _whole("port", port or (3550 if self._tls else 2775), 1, 65_535)
        self._bind = b"".join((
            _c_octets(_text("system_id", system_id, 15, least=1)), _c_octets(_text("password", password, 8)),
            _c_octets(_text("system_type", system_type, 12)), _ANY_ADDRESS,
        ))
        sender = _text("sender", sender, 20, least=1).removeprefix("+")
        number = sender.isdecimal()
        self._fields = _Fields(
            sender=_text("sender", sender, 20 if number else 11, least=1),
            service_type=_text("service_type", service_type, 5),
            source_ton=_whole("source_ton", (1 if number else 5) if source_ton == "" else source_ton, 0, 6),
            source_npi=_whole("source_npi", (1 if number else 0) if source_npi == "" else source_npi, 0, 18),
            dest_ton=_whole("dest_ton", dest_ton, 0, 6), dest_npi=_whole("dest_npi", dest_npi, 0, 18),
        )
        self._window = asyncio.Semaphore(_whole("window", window, 1, 10_000))
        self._enquire_link_s = _seconds("enquire_link_s", enquire_link_s)
        self._reconnect_min_s = _seconds("reconnect_min_s", reconnect_min_s)
        self._reconnect_max_s = max(_seconds("reconnect_max_s", reconnect_max_s), self._reconnect_min_s)
        self._throttle_pause_s = _seconds("throttle_pause_s", throttle_pause_s)
        if id_form not in _ID_FORMS:
            raise ConfigurationError(f"smpp: id_form: write one of {', '.join(_ID_FORMS)}")
        self._id_form = _ID_FORMS[id_form]
        self._clock = clock
        self._rests_until = clock()
        self._absent = _NOT_BOUND
        self._session: _Session | None = None
        self._task: asyncio.Task[None] | None = None
        #: Set once the first bind has come to something: what is sent before that waits for it.
        self._tried = asyncio.Event()

    async def open(self, on_reports: OnReports) -> None:
        """Begin to connect, in the background; returns at once.  Receipts go to ``on_reports``."""
        if self._task is None:
            self._task = asyncio.create_task(self._stay_bound(on_reports), name="smpp")

    async def close(self) -> None:
        """Unbind and close the connection; answers that have not come by then are lost."""
        task, self._task = self._task, None
        session, self._session = self._session, None
        self._absent = _NOT_BOUND
        if session is not None:
            await session.unbind()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def send(self, message: SmsMessage) -> SendOutcome:
        """
        Hand a message over, part after part, and return the answer to the last.

        Never raises for what the network or the SMSC does.  A message of which some part was taken is ``maybe_sent``
        whatever becomes of the others: a phone may show a part alone.
        """
        data_coding, parts = _encode(message.text)
        if len(parts) > _PARTS_MAX:
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="too_long")
        *earlier, last = _submit_bodies(self._fields, message, data_coding, parts)
        deadline = asyncio.get_running_loop().time() + self.timeout_s * _SHARE
        for number, body in enumerate(earlier):
            outcome = await self._submit(body, deadline)
            if outcome.result is not SendResult.ACCEPTED:
                return replace(outcome, maybe_sent=outcome.maybe_sent or number > 0)
        outcome = await self._submit(last, deadline)
        if outcome.result is SendResult.ACCEPTED or not earlier:
            return outcome
        return replace(outcome, maybe_sent=True)

    async def _submit(self, body: bytes, deadline: float) -> SendOutcome:
        """Hand one part over and wait for its answer, in its place in the window."""
        written = False
        try:
            async with asyncio.timeout_at(deadline):
                if self._task is not None:
                    await self._tried.wait()
                if isinstance(absent := self._bound(), SendOutcome):
                    return absent
                async with self._window:
                    # The bind may have been lost or throttled while this part waited for its place.
                    session = self._bound()
                    if isinstance(session, SendOutcome):
                        return session
                    written = True
                    answer = await session.request(_SUBMIT_SM, body)
        except TimeoutError:
            if not written:
                full = SendOutcome(SendResult.TEMPORARY, provider_code="window_full")
                return full if self._tried.is_set() else _NOT_BOUND
            return SendOutcome(SendResult.UNKNOWN, provider_code="timeout", maybe_sent=True)
        except _Lost:
            return SendOutcome(SendResult.UNKNOWN, provider_code="connection_lost", maybe_sent=True)
        return self._judge(session, answer)

    def _bound(self) -> _Session | SendOutcome:
        """Return the session to submit on, or why there is none to submit on now."""
        if self._session is None or not self._session.alive:
            return self._absent
        if self._clock() < self._rests_until:
            return SendOutcome(SendResult.THROTTLED, provider_code="resting")
        return self._session

    def _judge(self, session: _Session, answer: _Pdu) -> SendOutcome:
        """Read the answer to a submit, and let it have its effect on the bind."""
        if answer.status == _OK:
            if answer.command != _SUBMIT_SM | _RESPONSE:
                return SendOutcome(SendResult.UNKNOWN, provider_code="unexpected_answer", maybe_sent=True)
            message_id = answer.body.partition(b"\0")[0].decode("latin-1")
            return SendOutcome(
                SendResult.ACCEPTED, provider_id(_decimal(message_id, self._id_form.answers)), "ESME_ROK"
            )
        result = _STATUSES[answer.status][1] if answer.status in _STATUSES else SendResult.UNKNOWN
        if result is SendResult.THROTTLED:
            self._rests_until = self._clock() + self._throttle_pause_s
            _log.warning("smpp: %s: the bind rests for %g s", _name(answer.status), self._throttle_pause_s)
        if answer.status == _WRONG_BIND_STATE:
            # It does not know us any more, whatever we believe: only a new bind helps.
            session.drop()
        return SendOutcome(result, provider_code=_name(answer.status))

    async def _stay_bound(self, on_reports: OnReports) -> None:
        """Connect, bind, and do so again whenever the connection ends."""
        pauses = _pauses(self._reconnect_min_s, self._reconnect_max_s)
        while True:
            began = self._clock()
            try:
                await self._hold(on_reports)
            except _Refused as refused:
                _log.error("smpp: %s refused the bind: %s", self._host, refused)
                self._absent = SendOutcome(refused.result, provider_code=str(refused))
                if refused.result is SendResult.AUTHENTICATION:
                    # Asking often with a wrong password locks an account.
                    pauses = _pauses(self._reconnect_max_s, self._reconnect_max_s)
            except (OSError, _Lost) as error:
                _log.warning("smpp: no connection to %s: %s", self._host, str(error) or type(error).__name__)
                self._absent = _NOT_BOUND
            except Exception:  # noqa: BLE001 - a fault of ours with one connection must not leave the worker without any
                _log.exception("smpp: the connection to %s failed", self._host)
                self._absent = _NOT_BOUND
            self._tried.set()
            if self._clock() - began >= self._reconnect_max_s:
                pauses = _pauses(self._reconnect_min_s, self._reconnect_max_s)
            await asyncio.sleep(next(pauses))

    async def _hold(self, on_reports: OnReports) -> None:
        """Keep one connection from its beginning to its end; raises what ended it."""
        async with asyncio.timeout(self.timeout_s):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls, server_hostname=self._server_name
            )
        session = _Session(reader, writer, on_reports, self._id_form, self.timeout_s)
        try:
            await session.bind(self._bind)
            _log.info("smpp: bound to %s", self._host)
            self._session = session
            self._tried.set()
            await session.stay(self._enquire_link_s)
        finally:
            self._session = None
            await session.end()


# -- a connection --------------------------------------------------------------------------------------------------


class _Session:
    """
    One connection: requests with their answers, what the SMSC asks, signs of life.

    Attributes:
        alive: whether anything can still be asked on it.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_reports: OnReports, id_form: _IdForm,
        answer_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_reports = on_reports
        self._id_form = id_form
        self._answer_s = answer_s
        self._sequence = 0
        self._waiting: dict[int, asyncio.Future[_Pdu]] = {}
        self._reports: asyncio.Queue[tuple[int, DeliveryReport]] = asyncio.Queue(_REPORTS_WAITING)
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._hand_on())]
        self.alive = True

    async def request(self, command: int, body: bytes) -> _Pdu:
        """Ask, and wait for the answer as long as the caller likes.  Raises _Lost: the answer will not come."""
        self._sequence = self._sequence % 0x7FFF_FFFF + 1
        sequence = self._sequence
        answer: asyncio.Future[_Pdu] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = answer
        try:
            self._write(command, _OK, sequence, body)
            return await answer
        finally:
            del self._waiting[sequence]

    async def bind(self, body: bytes) -> None:
        """Bind as transceiver.  Raises _Refused, _Lost, TimeoutError."""
        async with asyncio.timeout(self._answer_s):
            answer = await self.request(_BIND_TRANSCEIVER, body)
        if answer.status != _OK or answer.command != _BIND_TRANSCEIVER | _RESPONSE:
            raise _Refused(answer.status)

    async def stay(self, enquire_link_s: float) -> None:
        """Ask for a sign of life again and again, until the connection ends; raises what ended it."""
        self._tasks.append(asyncio.create_task(self._enquire(enquire_link_s)))
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    async def unbind(self) -> None:
        """Say goodbye, and wait a little for the answer."""
        # Whether it comes or not, the connection is closed next.
        with suppress(TimeoutError, _Lost):
            async with asyncio.timeout(_GOODBYE_S):
                await self.request(_UNBIND, b"")

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
            raise _Lost("closed")
        # Nobody waits for the peer to take it: the window and the sign of life bound what can pile up.
        self._writer.write(_HEADER.pack(_HEADER.size + len(body), command, status, sequence) + body)

    def _fail(self, reason: str) -> None:
        self.alive = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_Lost(reason))

    async def _enquire(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            async with asyncio.timeout(self._answer_s):
                await self.request(_ENQUIRE_LINK, b"")

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._read_pdu())
        except (OSError, EOFError, _Lost) as error:
            lost = error if isinstance(error, _Lost) else _Lost(type(error).__name__)
            self._fail(str(lost))
            raise lost from None

    async def _read_pdu(self) -> _Pdu:
        header = await self._reader.readexactly(_HEADER.size)
        length, command, status, sequence = _HEADER.unpack(header)
        if not _HEADER.size <= length <= _PDU_MAX:
            raise _Lost("the SMSC sent what is no PDU")
        return _Pdu(command, status, sequence, header + await self._reader.readexactly(length - _HEADER.size))

    def _take(self, pdu: _Pdu) -> None:
        """Give an answer to whoever waits for it, and answer what was asked."""
        if pdu.command & _RESPONSE:
            answer = self._waiting.get(pdu.sequence)
            if answer is not None and not answer.done():
                answer.set_result(pdu)
        elif pdu.command == _DELIVER_SM:
            self._take_delivery(pdu)
        elif pdu.command == _ENQUIRE_LINK:
            self._write(_ENQUIRE_LINK | _RESPONSE, _OK, pdu.sequence, b"")
        elif pdu.command == _UNBIND:
            self._write(_UNBIND | _RESPONSE, _OK, pdu.sequence, b"")
            raise _Lost("unbound by the SMSC")
        elif pdu.command not in {_OUTBIND, _ALERT_NOTIFICATION}:
            self._write(_GENERIC_NACK, _INVALID_COMMAND, pdu.sequence, b"")

    def _take_delivery(self, pdu: _Pdu) -> None:
        """Keep a receipt for ``_hand_on``; answer at once what is none, so that it is not repeated for ever."""
        try:
            delivered = decode(pdu.octets)
        except SmppError:
            _log.warning("smpp: a deliver_sm cannot be read")
            self._answer_delivery(pdu.sequence, _NEVER_AGAIN)
            return
        report = _read_receipt(delivered, self._id_form) if isinstance(delivered, DeliverSm) else None
        if report is None:
            self._answer_delivery(pdu.sequence, _OK)
        elif self._reports.full():
            self._answer_delivery(pdu.sequence, _TRY_AGAIN)
        else:
            self._reports.put_nowait((pdu.sequence, report))

    def _answer_delivery(self, sequence: int, status: int) -> None:
        self._write(_DELIVER_SM | _RESPONSE, status, sequence, b"\0")

    async def _hand_on(self) -> None:
        """Hand receipts on, as many as there are in one call, and answer each when that is done."""
        while True:
            taken = [await self._reports.get()]
            while not self._reports.empty() and len(taken) < _REPORTS_AT_ONCE:
                taken.append(self._reports.get_nowait())
            status = _OK
            try:
                await self._on_reports([report for _, report in taken])
            except Exception as error:  # noqa: BLE001 - whatever ails the taker, the SMSC can say it again
                _log.warning("smpp: receipts were not taken: %s", type(error).__name__)
                status = _TRY_AGAIN
            for sequence, _ in taken:
                self._answer_delivery(sequence, status)


def _pauses(first_s: float, longest_s: float, chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Give pauses that double up to the longest, each cut by up to a half so that many workers spread out."""
    pause_s = first_s
    while True:
        yield pause_s * (0.5 + chance() / 2)
        pause_s = min(2 * pause_s, longest_s)


# -- texts and PDUs ------------------------------------------------------------------------------------------------

#: Code points of the GSM 7-bit alphabet, one octet each, as data_coding 0 carries them; 0x1B is the escape.
_SEPTETS = {char: bytes((code + (code >= 0x1B),)) for code, char in enumerate(GSM7_BASIC)} | {
    char: bytes((0x1B, code))
    for char, code in zip(GSM7_EXTENSION, b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", strict=True)
}


def _encode(text: str) -> tuple[int, list[bytes]]:
    """
    Return data_coding and the octets of each part.

    160 septets or 140 octets of UCS-2 are one SMS; a longer text is cut to leave room for a header of 6 octets (3GPP
    TS 23.040 section 9.2.3.24.1), and neither an escaped character nor a surrogate pair is cut in two.
    """
    gsm7 = is_gsm7(text)
    single, part = (160, 153) if gsm7 else (140, 134)
    units = [_SEPTETS[char] if gsm7 else char.encode("utf-16-be", "surrogatepass") for char in text]
    if sum(map(len, units)) <= single:
        return (0 if gsm7 else 8), [b"".join(units)]
    parts = [b""]
    for unit in units:
        if len(parts[-1]) + len(unit) > part:
            parts.append(b"")
        parts[-1] += unit
    return (0 if gsm7 else 8), parts


@dataclass(frozen=True, slots=True)
class _Fields:
    """What is the same in every submit_sm."""

    sender: str
    service_type: str
    source_ton: int
    source_npi: int
    dest_ton: int
    dest_npi: int


def _submit_bodies(fields: _Fields, message: SmsMessage, data_coding: int, parts: Sequence[bytes]) -> Iterator[bytes]:
    """Write the submit_sm of each part, without its header."""
    # The same on every retry, so that a phone does not put parts of two hand-overs together wrongly.
    concatenation = sha256(message.reference.encode()).digest()[0]
    for number, part in enumerate(parts, start=1):
        header = bytes((5, 0, 3, concatenation, len(parts), number)) if len(parts) > 1 else b""
        pdu = SubmitSm(
            fields.sender, international(message.to), header + part, service_type=fields.service_type,
            source_addr_ton=fields.source_ton, source_addr_npi=fields.source_npi, dest_addr_ton=fields.dest_ton,
            dest_addr_npi=fields.dest_npi, esm_class=0x40 if header else 0, data_coding=data_coding,
            validity_period=_validity(message.validity_s), registered_delivery=int(number == len(parts)),
        )
        yield pdu.encode()[_HEADER.size:]


def _validity(validity_s: int) -> str:
    """Write a time from now (section 7.1.1.2): YYMMDDhhmmss, a tenth, 00 and R."""
    minutes, seconds = divmod(max(1, validity_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"0000{days:02}{hours:02}{minutes:02}{seconds:02}000R"


def _name(status: int) -> str:
    return _STATUSES[status][0] if status in _STATUSES else f"0x{status:08X}"


# -- receipts ------------------------------------------------------------------------------------------------------

_KIND = 0x3C
_RECEIPT = 0x04
_INTERMEDIATE = 0x20

#: The end of what the SMSC wrote itself: what follows is the message, and may say anything.
_MESSAGE_TEXT = re.compile(r"(?:^|\s)text\s*:", re.IGNORECASE)
_FIELD = re.compile(r"(?:^|\s)(id|stat|err)\s*:\s*(\S+)", re.IGNORECASE)


def _read_receipt(delivered: DeliverSm, id_form: _IdForm) -> DeliveryReport | None:
    """
    Read a receipt; None for an incoming SMS, and for a receipt that names no message or no state.

    Only esm_class or the SMSC's own parameter make a receipt: a citizen's SMS may look like one.
    """
    parameters = {tlv.tag: bytes(tlv.value) for tlv in delivered.tlvs}
    kind = delivered.esm_class & _KIND
    if kind not in {_RECEIPT, _INTERMEDIATE} and _RECEIPTED_MESSAGE_ID not in parameters:
        return None
    octets = delivered.short_message or parameters.get(_MESSAGE_PAYLOAD, b"")
    fields = _text_fields(octets.decode("utf-16-be" if delivered.data_coding == 8 else "latin-1", "replace"))
    named = parameters.get(_RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("latin-1")
    if named:
        message_id = provider_id(_decimal(named, id_form.answers))
    else:
        message_id = provider_id(_decimal(fields.get("id", ""), id_form.receipts))
    word = _STATE_NUMBERS.get(int.from_bytes(parameters.get(_MESSAGE_STATE, b"")), fields.get("stat", "").upper())
    state = _STATES.get(word)
    if message_id is None or state is None:
        _log.warning("smpp: a receipt names no message or no known state")
        return None
    if kind == _INTERMEDIATE and state is DeliveryState.FAILED:
        state = DeliveryState.SENT
    error = fields.get("err", "").lstrip("0") or parameters.get(_NETWORK_ERROR_CODE, b"").hex()
    return DeliveryReport(state, message_id, provider_code=provider_code(f"{word} {error}".rstrip()))


def _text_fields(text: str) -> dict[str, str]:
    """Read ``id:… stat:… err:…`` of a receipt's text; of a repeated name the first value."""
    written_by_smsc = _MESSAGE_TEXT.split(text, maxsplit=1)[0]
    return {name.lower(): value for name, value in reversed(_FIELD.findall(written_by_smsc))}


def _decimal(message_id: str, base: int | None) -> str:
    """Return an id that is written in ``base`` in decimal; as it is where no base is given or it is no such number."""
    digits = {10: r"[0-9]{1,64}", 16: r"[0-9A-Fa-f]{1,64}"}
    if base is None or not re.fullmatch(digits[base], message_id):
        return message_id
    return str(int(message_id, base))


# -- options -------------------------------------------------------------------------------------------------------


def _text(name: str, value: object, most: int, *, least: int = 0) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most or not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"smpp: {name}: write {least} to {most} printable ASCII characters")
    return value


def _c_octets(text: str) -> bytes:
    return text.encode("ascii") + b"\0"


def _whole(name: str, value: int | str, least: int, most: int) -> int:
    text = str(value)
    if not re.fullmatch("[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise ConfigurationError(f"smpp: {name}: write a whole number from {least} to {most}")
    return int(text)


def _seconds(name: str, value: float | str, most: float = 3600) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= most:
        raise ConfigurationError(f"smpp: {name}: write seconds above 0 and at most {most:g}")
    return seconds


def _flag(name: str, value: bool | str) -> bool:
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise ConfigurationError(f"smpp: {name}: write true or false")
    return text == "true"


def _tls_context(host: str, tls: bool, ca_file: str, verify: bool) -> ssl.SSLContext | None:
    """Return what the SMSC's certificate is checked with; None without TLS."""
    if not verify and not (tls and _is_loopback(host)):
        raise ConfigurationError("smpp: tls_verify = false is for tests: with tls = true and a host on loopback")
    if not tls:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigurationError(f"smpp: tls_ca_file: {ca_file!r} cannot be read as a PEM file") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
