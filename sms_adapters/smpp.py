"""
SMPP 3.4: one TCP or TLS connection to a carrier's SMSC, bound as transceiver, that stays and comes back by itself.

::

    bind_transceiver   system_id, password, system_type, interface_version 0x34   →  bind_transceiver_resp
    submit_sm          source and destination with TON and NPI, esm_class 0x40 with a UDH, validity_period relative,
                       registered_delivery 1 for the last part, data_coding 0 (GSM-7) or 8 (UCS-2)
                                                        →  submit_sm_resp: command_status (see smpp_pdus.py), message_id
    enquire_link       every ``enquire_link_s``, both ways          unbind   at the end, both ways

    deliver_sm         esm_class 0x04 or 0x20: a delivery receipt   ←  always answered with deliver_sm_resp
        receipted_message_id, message_state, network_error_code     optional parameters, preferred
        "id:… sub:001 dlvrd:001 submit date:… done date:… stat:DELIVRD err:000 text:…"            otherwise

Rules that are not in the PDUs:

* At most ``window`` submits wait for their answer; one that finds no place within its time was not sent.
* ``ESME_RTHROTTLED`` speaks of the bind, not of the message: it rests for ``throttle_pause_s``, and who wants to send
  meanwhile is told so at once.  ``ESME_RMSGQFUL`` may be one subscriber's full inbox: it refuses that message alone,
  which may be tried again.
* A text of several parts asks for the receipt of the last part alone: a message has one id and one state with us, the
  parts travel in order, and a phone shows the text when it is complete.
* A receipt may come before the answer to its submit; it is handed on as it comes.  It is answered when it has been
  taken; when that fails, with a temporary error, so that the SMSC repeats it.  Those that cannot be used are counted,
  and at most one line in ten seconds says so.
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
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

from otp_service.core.errors import ConfigurationError
from otp_service.core.options import Options
from otp_service.core.ports import SendOutcome, SendResult, SmsMessage, Supports
from sms_adapters import smpp_pdus as pdus
from sms_adapters.smpp_session import Lost, OnReports, Refused, Session, Unused

#: An answer within this share of ``timeout_s``, so that the sender hears ours before it gives up by itself.
_SHARE = 0.95
#: The longest pause, and the longest time between signs of life, that make sense.
_SECONDS_MAX = 3600.0

_NOT_BOUND = SendOutcome(SendResult.TEMPORARY, provider_code="not_bound")

_options = Options("smpp")
_log = logging.getLogger(__name__)


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
        throttle_pause_s: seconds the whole bind rests after ``ESME_RTHROTTLED``.
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
    supports = Supports(unicode=True, parts=pdus.PARTS_MAX)

    def __init__(
        self, *, host: str, system_id: str, password: str, sender: str, port: int | str = "", system_type: str = "",
        service_type: str = "", source_ton: int | str = "", source_npi: int | str = "", dest_ton: int | str = 1,
        dest_npi: int | str = 1, tls: bool | str = True, tls_ca_file: str = "", tls_server_name: str = "",
        tls_verify: bool | str = True, window: int | str = 10, enquire_link_s: float | str = 30.0,
        reconnect_min_s: float | str = 1.0, reconnect_max_s: float | str = 60.0, throttle_pause_s: float | str = 1.0,
        id_form: str = "same", timeout_s: float | str = 10.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not pdus.INSTALLED:
            raise ConfigurationError("smpp: the library smpp34 is missing; install the extra: otp-service[smpp]")
        self.timeout_s = _options.seconds("timeout_s", timeout_s)
        self._host = _text("host", host, 255, least=1)
        ca_file, server_name = str(tls_ca_file), _text("tls_server_name", tls_server_name, 255)
        tls, verify = _options.boolean("tls", tls), _options.boolean("tls_verify", tls_verify)
        self._tls = _tls_context(self._host, tls, ca_file, verify)
        if self._tls is None and (ca_file or server_name):
            raise ConfigurationError("smpp: tls_ca_file and tls_server_name say nothing without tls = true")
        self._server_name = (server_name or self._host) if self._tls else None
        self._port = _options.whole("port", port or (3550 if self._tls else 2775), 1, 65_535)
        self._bind = pdus.bind_body(
            _text("system_id", system_id, 15, least=1), _text("password", password, 8),
            _text("system_type", system_type, 12),
        )
        sender = _text("sender", sender, 20, least=1).removeprefix("+")
        number = sender.isdecimal()
        self._fields = pdus.Fields(
            sender=_text("sender", sender, 20 if number else 11, least=1),
            service_type=_text("service_type", service_type, 5),
            source_ton=_options.whole("source_ton", (1 if number else 5) if source_ton == "" else source_ton, 0, 6),
            source_npi=_options.whole("source_npi", (1 if number else 0) if source_npi == "" else source_npi, 0, 18),
            dest_ton=_options.whole("dest_ton", dest_ton, 0, 6), dest_npi=_options.whole("dest_npi", dest_npi, 0, 18),
        )
        self._window = asyncio.Semaphore(_options.whole("window", window, 1, 10_000))
        self._enquire_link_s = _options.seconds("enquire_link_s", enquire_link_s, most=_SECONDS_MAX)
        self._reconnect_min_s = _options.seconds("reconnect_min_s", reconnect_min_s, most=_SECONDS_MAX)
        reconnect_max_s = _options.seconds("reconnect_max_s", reconnect_max_s, most=_SECONDS_MAX)
        self._reconnect_max_s = max(reconnect_max_s, self._reconnect_min_s)
        self._throttle_pause_s = _options.seconds("throttle_pause_s", throttle_pause_s, most=_SECONDS_MAX)
        if id_form not in pdus.ID_FORMS:
            raise _options.wrong("id_form", f"write one of {', '.join(pdus.ID_FORMS)}")
        self._id_form = pdus.ID_FORMS[id_form]
        self._clock = clock
        self._unused = Unused(clock)
        self._rests_until = clock()
        self._absent = _NOT_BOUND
        self._session: Session | None = None
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
        # No first bind comes any more: who waits for it hears so now.
        self._tried.set()
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
        data_coding, parts = pdus.encode(message.text)
        if len(parts) > pdus.PARTS_MAX:
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="too_long")
        *earlier, last = pdus.submit_bodies(self._fields, message, data_coding, parts)
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
                    answer = await session.request(pdus.SUBMIT_SM, body)
        except TimeoutError:
            if not written:
                full = SendOutcome(SendResult.TEMPORARY, provider_code="window_full")
                return full if self._tried.is_set() else _NOT_BOUND
            return SendOutcome(SendResult.UNKNOWN, provider_code="timeout", maybe_sent=True)
        except Lost:
            return SendOutcome(SendResult.UNKNOWN, provider_code="connection_lost", maybe_sent=True)
        return self._judge(session, answer)

    def _bound(self) -> Session | SendOutcome:
        """Return the session to submit on, or why there is none to submit on now."""
        if self._session is None or not self._session.alive:
            return self._absent
        if self._clock() < self._rests_until:
            return SendOutcome(SendResult.THROTTLED, provider_code="resting")
        return self._session

    def _judge(self, session: Session, answer: pdus.Pdu) -> SendOutcome:
        """Read the answer to a submit, and let it have its effect on the bind."""
        if answer.status == pdus.OK:
            if answer.command != pdus.SUBMIT_SM | pdus.RESPONSE:
                return SendOutcome(SendResult.UNKNOWN, provider_code="unexpected_answer", maybe_sent=True)
            return SendOutcome(SendResult.ACCEPTED, pdus.answered_id(answer.body, self._id_form), "ESME_ROK")
        result = pdus.status_result(answer.status, SendResult.UNKNOWN)
        if result is SendResult.THROTTLED:
            self._rests_until = self._clock() + self._throttle_pause_s
            _log.warning("smpp: %s: the bind rests for %g s", pdus.status_name(answer.status), self._throttle_pause_s)
        if answer.status == pdus.WRONG_BIND_STATE:
            # It does not know us any more, whatever we believe: only a new bind helps.
            session.drop()
        return SendOutcome(result, provider_code=pdus.status_name(answer.status))

    async def _stay_bound(self, on_reports: OnReports) -> None:
        """Connect, bind, and do so again whenever the connection ends."""
        pauses = _pauses(self._reconnect_min_s, self._reconnect_max_s)
        while True:
            began = self._clock()
            try:
                await self._hold(on_reports)
            except Refused as refused:
                _log.error("smpp: %s refused the bind: %s", self._host, refused)
                self._absent = SendOutcome(refused.result, provider_code=str(refused))
                if refused.result is SendResult.AUTHENTICATION:
                    # Asking often with a wrong password locks an account.
                    pauses = _pauses(self._reconnect_max_s, self._reconnect_max_s)
            except (OSError, Lost) as error:
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
        session = Session(reader, writer, on_reports, self._id_form, self.timeout_s, self._unused)
        try:
            await session.bind(self._bind)
            _log.info("smpp: bound to %s", self._host)
            self._session = session
            self._tried.set()
            await session.stay(self._enquire_link_s)
        finally:
            self._session = None
            await session.end()


def _pauses(first_s: float, longest_s: float, chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Give pauses that double up to the longest, each cut by up to a half so that many workers spread out."""
    pause_s = first_s
    while True:
        yield pause_s * (0.5 + chance() / 2)
        pause_s = min(2 * pause_s, longest_s)


# -- options -------------------------------------------------------------------------------------------------------


def _text(name: str, value: object, most: int, *, least: int = 0) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most or not (value.isascii() and value.isprintable()):
        raise _options.wrong(name, f"write {least} to {most} printable ASCII characters")
    return value


def _tls_context(host: str, tls: bool, ca_file: str, verify: bool) -> ssl.SSLContext | None:
    """Return what the SMSC's certificate is checked with; None without TLS."""
    if not verify and not (tls and _is_loopback(host)):
        raise _options.wrong("tls_verify", "false is for tests, with tls = true and a host on loopback")
    if not tls:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise _options.wrong("tls_ca_file", f"{ca_file!r} cannot be read as a PEM file") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
