"""
The SMPP gateway over sockets: against an SMSC of bare octets, ``smpp34``'s own server and the npm package ``smpp``.

Nothing here waits by the clock: a test waits for a PDU, an answer, a report or a log line.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from struct import pack
from types import TracebackType
from typing import Any, Self

import pytest
import smpp34
from support.engine import Engine
from support.processes import DEADLINE_S, free_port
from support.proxy import Proxy
from support.smsc.certificates import Authority
from support.smsc.node import NodeSmsc
from support.smsc.raw import (
    BIND_TRANSCEIVER,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    RESPONSE,
    SUBMIT_SM,
    UNBIND,
    Pdu,
    RawSmsc,
    octets,
    success,
)

from otp_service.core.ports import DeliveryReport, DeliveryState, SendOutcome, SendResult, SmsMessage
from otp_service.core.sms_length import GSM7_BASIC, GSM7_EXTENSION
from sms_adapters.smpp import SmppGateway

PASSWORD = "s3cret77"
ACCENTED = "Mã xác nhận của bạn là 123456. Không cung cấp mã này cho bất kỳ ai."
MESSAGE = SmsMessage(
    to="+84900000001", text="123456 la ma xac nhan", template_key="registration", params=(),
    reference="5-k1-k3t3u3rmwygiymua4yg2vugqla-1", send_number=1, validity_s=180,
)
ACCEPTED = SendOutcome(SendResult.ACCEPTED, "m-1", "ESME_ROK")
NOT_BOUND = SendOutcome(SendResult.TEMPORARY, provider_code="not_bound")
LOST = SendOutcome(SendResult.UNKNOWN, provider_code="connection_lost", maybe_sent=True)
DELIVERED = DeliveryReport(DeliveryState.DELIVERED, "m-1", provider_code="DELIVRD")
RECEIPT = smpp34.DeliverSm(
    "84900000001", "Cong DVC", b"id:m-1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:123456", esm_class=0x04,
).encode()[16:]


class Logged(logging.Handler):
    """What the gateway logs, to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line and wake whoever waits for it."""
        self.lines.append(record.getMessage())
        self._news.set()

    async def line(self, part: str) -> str:
        """Wait for a line that contains a text."""
        while not (found := [line for line in self.lines if part in line]):
            self._news.clear()
            await self._news.wait()
        return found[0]


class Bound:
    """A gateway in use: its reports in a queue."""

    def __init__(self, gateway: SmppGateway) -> None:
        self.gateway = gateway
        self.reports: asyncio.Queue[DeliveryReport] = asyncio.Queue()
        self.taking: Callable[[], None] = lambda: None

    async def take(self, reports: Sequence[DeliveryReport]) -> None:
        """Be ``on_reports``."""
        self.taking()
        for report in reports:
            self.reports.put_nowait(report)

    async def send(self, **fields: Any) -> SendOutcome:
        """Send the message, changed."""
        return await self.gateway.send(replace(MESSAGE, **fields))


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Give the gateway's log lines, and check that nothing private stands in any."""
    handler, logger = Logged(), logging.getLogger("sms_adapters")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    private = (PASSWORD, "123456", "900000001", "84900000001")
    assert [] == [line for line in handler.lines if any(secret in line for secret in private)]


@asynccontextmanager
async def opened(port: int, **options: Any) -> AsyncIterator[Bound]:
    """Open a gateway, whether or not anybody is there, with pauses not worth waiting for; fail what would hang."""
    bound = Bound(SmppGateway(**{
        "host": "127.0.0.1", "port": port, "system_id": "portal", "password": PASSWORD, "sender": "Cong DVC",
        "tls": False, "reconnect_min_s": 0.001, "reconnect_max_s": 0.01, **options,
    }))
    async with asyncio.timeout(DEADLINE_S):
        await bound.gateway.open(bound.take)
        try:
            yield bound
        finally:
            await bound.gateway.close()


@asynccontextmanager
async def bound_to(smsc: RawSmsc, logged: Logged, **options: Any) -> AsyncIterator[Bound]:
    """Open a gateway and wait until it is bound."""
    async with opened(smsc.port, **options) as bound:
        await logged.line("bound to")
        await smsc.arrived(BIND_TRANSCEIVER)
        yield bound


@pytest.fixture
async def smsc() -> AsyncIterator[RawSmsc]:
    """Give an SMSC of bare octets."""
    async with RawSmsc() as smsc:
        yield smsc


def status(number: int) -> Callable[[Pdu], bytes]:
    """Answer with a status and no body."""
    return lambda pdu: octets(pdu.command | RESPONSE, pdu.sequence, status=number)


def silence(_: Pdu) -> None:
    """Answer nothing."""


async def in_step(smsc: RawSmsc) -> None:
    """Wait until all that the gateway has written has arrived: the stream keeps the order."""
    smsc.write(octets(ENQUIRE_LINK, 77))
    while (await smsc.arrived(ENQUIRE_LINK | RESPONSE)).sequence != 77:
        pass


# -- binding and submitting ----------------------------------------------------------------------------------------


async def test_bind_and_submit_have_these_octets(smsc: RawSmsc) -> None:
    """bind_transceiver as SMPP 3.4 says, then submit_sm; its message id is the provider's id."""
    async with opened(smsc.port, system_type="VMA") as bound:
        bind = await smsc.arrived(BIND_TRANSCEIVER)
        assert Pdu(0x09, 0, 1, b"portal\0s3cret77\0VMA\0\x34\x00\x00\x00") == bind
        await in_step(smsc)
        assert ACCEPTED == await bound.send()
        submit = await smsc.arrived(SUBMIT_SM)
        assert (0, 2) == (submit.status, submit.sequence)
        assert (
            b"\0\x05\x00Cong DVC\0\x01\x0184900000001\0\0\0\0\x00000000000300000R\0\x01\x00\x00\x00\x15"
            + MESSAGE.text.encode()
        ) == submit.body


#: Section 5.1.3, and what each says of a message.
STATUSES = {
    0x01: "template_rejected", 0x02: "unknown", 0x03: "unknown", 0x04: "temporary", 0x05: "temporary",
    0x06: "unknown", 0x07: "unknown", 0x08: "temporary", 0x0A: "sender_rejected", 0x0B: "invalid_number",
    0x0C: "unknown", 0x0D: "authentication", 0x0E: "authentication", 0x0F: "authentication", 0x11: "unknown",
    0x13: "unknown", 0x14: "temporary", 0x15: "sender_rejected", 0x33: "unknown", 0x34: "unknown", 0x40: "unknown",
    0x42: "unknown", 0x43: "template_rejected", 0x44: "unknown", 0x45: "temporary", 0x48: "sender_rejected",
    0x49: "sender_rejected", 0x50: "unknown", 0x51: "unknown", 0x53: "authentication", 0x54: "unknown",
    0x55: "unknown", 0x58: "throttled", 0x61: "unknown", 0x62: "unknown", 0x63: "unknown", 0x64: "temporary",
    0x65: "unknown", 0x66: "unknown", 0x67: "unknown", 0xC0: "unknown", 0xC1: "unknown", 0xC2: "unknown",
    0xC3: "unknown", 0xC4: "unknown", 0xFE: "temporary", 0xFF: "unknown",
    0x0400: "unknown", 0x04FF: "unknown", 0xFFFF_FFFF: "unknown",  # of a vendor, and of nobody
}


@pytest.mark.parametrize("nack", [False, True])
@pytest.mark.parametrize(("number", "result"), STATUSES.items())
async def test_every_status_is_a_result(
    smsc: RawSmsc, logged: Logged, number: int, result: str, nack: bool,
) -> None:
    """A status in submit_sm_resp or generic_nack is a clear refusal: nothing was sent."""
    command = GENERIC_NACK if nack else SUBMIT_SM | RESPONSE
    smsc.answers[SUBMIT_SM] = lambda pdu: octets(command, pdu.sequence, status=number)
    async with bound_to(smsc, logged) as bound:
        outcome = await bound.send()
    assert (SendResult(result), None, False) == (outcome.result, outcome.provider_id, outcome.maybe_sent)
    assert (outcome.provider_code or "").startswith("ESME_" if number <= 0xFF else f"0x{number:08X}")


@pytest.mark.parametrize(("command", "body", "outcome"), [
    (SUBMIT_SM | RESPONSE, b"", SendOutcome(SendResult.ACCEPTED, None, "ESME_ROK")),
    (SUBMIT_SM | RESPONSE, b"\0", SendOutcome(SendResult.ACCEPTED, None, "ESME_ROK")),
    (SUBMIT_SM | RESPONSE, b"m 1\0", SendOutcome(SendResult.ACCEPTED, None, "ESME_ROK")),
    (SUBMIT_SM | RESPONSE, b"\xff" * 70, SendOutcome(SendResult.ACCEPTED, None, "ESME_ROK")),
    (SUBMIT_SM | RESPONSE, b"m-2\0\x14\x00\x00\x00", SendOutcome(SendResult.ACCEPTED, "m-2", "ESME_ROK")),
    (ENQUIRE_LINK | RESPONSE, b"", SendOutcome(SendResult.UNKNOWN, None, "unexpected_answer", maybe_sent=True)),
    (GENERIC_NACK, b"", SendOutcome(SendResult.UNKNOWN, None, "unexpected_answer", maybe_sent=True)),
])
async def test_odd_answers_are_read(
    smsc: RawSmsc, logged: Logged, command: int, body: bytes, outcome: SendOutcome,
) -> None:
    """A success without a usable id is a success; another PDU in its place says nothing."""
    smsc.answers[SUBMIT_SM] = lambda pdu: octets(command, pdu.sequence, body)
    async with bound_to(smsc, logged) as bound:
        assert outcome == await bound.send()


async def test_answers_find_their_messages_in_any_order(smsc: RawSmsc, logged: Logged) -> None:
    """Submits go out without waiting for one another, and an answer belongs to its sequence number."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged) as bound:
        sends = [asyncio.create_task(bound.send()) for _ in range(3)]
        submits = [await smsc.arrived(SUBMIT_SM) for _ in range(3)]
        for number, submit in reversed(list(enumerate(submits))):
            smsc.write(octets(SUBMIT_SM | RESPONSE, 9_000 + number, b"nobody's\0"))
            smsc.write(octets(SUBMIT_SM | RESPONSE, submit.sequence, f"m-{number}\0".encode()))
        assert ["m-0", "m-1", "m-2"] == [outcome.provider_id for outcome in await asyncio.gather(*sends)]


async def test_ids_of_answers_are_brought_to_one_form(smsc: RawSmsc, logged: Logged) -> None:
    """With receipts in decimal and answers in hexadecimal, both are given on in decimal."""
    smsc.answers[SUBMIT_SM] = lambda pdu: octets(SUBMIT_SM | RESPONSE, pdu.sequence, b"00001A2B\0")
    async with bound_to(smsc, logged, id_form="decimal") as bound:
        assert "6699" == (await bound.send()).provider_id
        smsc.write(octets(DELIVER_SM, 1, RECEIPT.replace(b"m-1", b"6699").replace(b"\x3c", b"\x3d", 1)))
        assert "6699" == (await bound.reports.get()).provider_id


# -- the window and throttling -------------------------------------------------------------------------------------


async def test_the_window_bounds_what_waits_for_an_answer(smsc: RawSmsc, logged: Logged) -> None:
    """With a window of 2 the third submit goes out when one of the first two is answered."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged, window=2) as bound:
        sends = [asyncio.create_task(bound.send()) for _ in range(5)]
        first = await smsc.arrived(SUBMIT_SM)
        await smsc.arrived(SUBMIT_SM)
        await in_step(smsc)
        assert 0 == smsc.waiting(SUBMIT_SM)
        smsc.write(success(first) or b"")
        await smsc.arrived(SUBMIT_SM)
        await in_step(smsc)
        assert 0 == smsc.waiting(SUBMIT_SM)
        assert ACCEPTED == await sends[0]
        for send in sends:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)


async def test_a_full_window_is_no_perhaps(smsc: RawSmsc, logged: Logged) -> None:
    """Who found no place in its time was not sent, and another gateway may be asked safely."""
    async with bound_to(smsc, logged, window=1) as bound:
        bound.gateway.timeout_s = 0.01
        async with bound.gateway._window:
            outcome = await bound.send()
        await in_step(smsc)
    assert SendOutcome(SendResult.TEMPORARY, provider_code="window_full") == outcome
    assert 0 == smsc.waiting(SUBMIT_SM)


async def test_throttling_stops_the_whole_bind(smsc: RawSmsc, logged: Logged) -> None:
    """Nothing goes out during the pause, whoever sends is told at once, and after it all is as before."""
    now = [1000.0]
    smsc.answers[SUBMIT_SM] = status(0x58)
    async with bound_to(smsc, logged, throttle_pause_s=5, clock=lambda: now[0]) as bound:
        assert SendOutcome(SendResult.THROTTLED, provider_code="ESME_RTHROTTLED") == await bound.send()
        await smsc.arrived(SUBMIT_SM)
        smsc.answers[SUBMIT_SM] = success
        for later in (0.0, 4.9):
            now[0] = 1000.0 + later
            assert SendOutcome(SendResult.THROTTLED, provider_code="resting") == await bound.send()
        await in_step(smsc)
        assert 0 == smsc.waiting(SUBMIT_SM)
        now[0] = 1005.0
        assert ACCEPTED == await bound.send()
        await logged.line("ESME_RTHROTTLED: the bind rests for 5 s")


async def test_one_full_inbox_stops_nobody_else(smsc: RawSmsc, logged: Logged) -> None:
    """ESME_RMSGQFUL may speak of one phone: its message may be tried again, and the next one goes out at once."""
    now = 1000.0
    smsc.answers[SUBMIT_SM] = status(0x14)
    async with bound_to(smsc, logged, throttle_pause_s=3600, clock=lambda: now) as bound:
        assert SendOutcome(SendResult.TEMPORARY, provider_code="ESME_RMSGQFUL") == await bound.send()
        smsc.answers[SUBMIT_SM] = success
        assert ACCEPTED == await bound.send()


async def test_who_waits_for_a_place_learns_of_the_throttling(smsc: RawSmsc, logged: Logged) -> None:
    """A submit that was queued behind the throttled one does not go out any more."""
    smsc.answers[SUBMIT_SM] = status(0x58)
    async with bound_to(smsc, logged, window=1, throttle_pause_s=3600) as bound:
        first, second = await asyncio.gather(bound.send(), bound.send())
        await in_step(smsc)
    assert ("ESME_RTHROTTLED", "resting") == (first.provider_code, second.provider_code)
    assert 1 == smsc.waiting(SUBMIT_SM)


# -- long texts ----------------------------------------------------------------------------------------------------


async def test_the_receipt_is_that_of_the_last_part(smsc: RawSmsc, logged: Logged) -> None:
    """Parts go one after the other, and the message has the id of the last, the only one with a receipt."""
    ids = iter((b"m-1\0", b"m-2\0", b"m-3\0"))
    smsc.answers[SUBMIT_SM] = lambda pdu: octets(SUBMIT_SM | RESPONSE, pdu.sequence, next(ids))
    async with bound_to(smsc, logged) as bound:
        assert SendOutcome(SendResult.ACCEPTED, "m-3", "ESME_ROK") == await bound.send(text="b" * 400)


@pytest.mark.parametrize(("refused", "maybe_sent"), [(1, False), (2, True), (3, True)])
async def test_a_part_that_is_refused_ends_the_message(
    smsc: RawSmsc, logged: Logged, refused: int, maybe_sent: bool,
) -> None:
    """The first part alone refused is a clear no; later, a part may already be on the phone."""
    left = list(range(1, refused))
    smsc.answers[SUBMIT_SM] = lambda pdu: success(pdu) if left and left.pop() else status(0x45)(pdu)
    async with bound_to(smsc, logged) as bound:
        expected = SendOutcome(SendResult.TEMPORARY, provider_code="ESME_RSUBMITFAIL", maybe_sent=maybe_sent)
        assert expected == await bound.send(text="b" * 400)
        await in_step(smsc)
    assert refused == smsc.waiting(SUBMIT_SM)


async def test_a_text_of_more_than_255_parts_is_refused(smsc: RawSmsc, logged: Logged) -> None:
    """A part's header counts in one octet."""
    async with bound_to(smsc, logged) as bound:
        outcome = await bound.send(text="b" * (255 * 153 + 1))
    assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="too_long") == outcome


# -- what goes wrong -----------------------------------------------------------------------------------------------


async def test_without_a_connection_the_answer_comes_at_once(logged: Logged) -> None:
    """Nobody waits for a gateway that is not there, and nothing was sent."""
    async with opened(free_port()) as bound:
        assert NOT_BOUND == await bound.send()
        await logged.line("no connection to 127.0.0.1")
        assert NOT_BOUND == await bound.send()
    assert NOT_BOUND == await bound.send()


@pytest.mark.parametrize(("number", "result", "code"), [
    (0x0E, SendResult.AUTHENTICATION, "ESME_RINVPASWD"),
    (0x0F, SendResult.AUTHENTICATION, "ESME_RINVSYSID"),
    (0x0D, SendResult.AUTHENTICATION, "ESME_RBINDFAIL"),
    (0x05, SendResult.TEMPORARY, "ESME_RALYBND"),
    (0x58, SendResult.TEMPORARY, "ESME_RTHROTTLED"),
    (0x0B, SendResult.TEMPORARY, "ESME_RINVDSTADR"),
    (0x0499, SendResult.TEMPORARY, "0x00000499"),
])
async def test_a_refused_bind_says_why(
    smsc: RawSmsc, logged: Logged, number: int, result: SendResult, code: str,
) -> None:
    """A wrong password is told as such to whoever sends; no status of a bind speaks of the phone's number."""
    smsc.answers[BIND_TRANSCEIVER] = status(number)
    async with opened(smsc.port) as bound:
        await logged.line(f"refused the bind: {code}")
        assert SendOutcome(result, provider_code=code) == await bound.send()
        smsc.answers[BIND_TRANSCEIVER] = success
        await logged.line("bound to")
        assert ACCEPTED == await bound.send()


async def test_a_bind_that_is_not_answered_is_tried_again(smsc: RawSmsc, logged: Logged) -> None:
    """A silent SMSC costs one timeout."""
    smsc.answers[BIND_TRANSCEIVER] = silence
    async with opened(smsc.port, timeout_s=0.05):
        await logged.line("TimeoutError")
        smsc.answers[BIND_TRANSCEIVER] = success
        await logged.line("bound to")


async def test_a_connection_that_breaks_during_a_submit_is_a_perhaps(smsc: RawSmsc, logged: Logged) -> None:
    """Nobody knows whether the SMSC has the message; the gateway binds again by itself."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged) as bound:
        send = asyncio.create_task(bound.send())
        await smsc.arrived(SUBMIT_SM)
        smsc.hang_up()
        assert LOST == await send
        assert NOT_BOUND == await bound.send()
        smsc.answers[SUBMIT_SM] = success
        logged.lines.clear()
        await logged.line("bound to")
        assert ACCEPTED == await bound.send()
    assert 2 == smsc.connections


async def test_a_submit_that_is_not_answered_is_a_perhaps(smsc: RawSmsc, logged: Logged) -> None:
    """After its time the place in the window is free again, and an answer that comes then disturbs nobody."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged, window=1) as bound:
        expected = SendOutcome(SendResult.UNKNOWN, provider_code="timeout", maybe_sent=True)
        bound.gateway.timeout_s = 0.01
        assert expected == await bound.send()
        bound.gateway.timeout_s = 10.0
        smsc.write(success(await smsc.arrived(SUBMIT_SM)) or b"")
        await in_step(smsc)
        smsc.answers[SUBMIT_SM] = success
        assert ACCEPTED == await bound.send()


async def test_a_cancelled_send_gives_its_place_back(smsc: RawSmsc, logged: Logged) -> None:
    """The sender's own limit may come first."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged, window=1) as bound:
        send = asyncio.create_task(bound.send())
        await smsc.arrived(SUBMIT_SM)
        send.cancel()
        await asyncio.gather(send, return_exceptions=True)
        smsc.answers[SUBMIT_SM] = success
        assert ACCEPTED == await bound.send()


async def test_signs_of_life_go_both_ways(smsc: RawSmsc, logged: Logged) -> None:
    """enquire_link is answered, and asked again and again."""
    async with bound_to(smsc, logged, enquire_link_s=0.001):
        await smsc.arrived(ENQUIRE_LINK)
        assert b"" == (await smsc.arrived(ENQUIRE_LINK)).body
        smsc.write(octets(ENQUIRE_LINK, 4711))
        assert Pdu(ENQUIRE_LINK | RESPONSE, 0, 4711, b"") == await smsc.arrived(ENQUIRE_LINK | RESPONSE)
    assert 1 == smsc.connections


async def test_a_dead_connection_is_replaced(smsc: RawSmsc, logged: Logged) -> None:
    """Who does not answer a sign of life is gone, although the connection stands."""
    smsc.answers[ENQUIRE_LINK] = silence
    async with bound_to(smsc, logged, enquire_link_s=0.001, timeout_s=0.05):
        await smsc.arrived(ENQUIRE_LINK)
        await smsc.arrived(BIND_TRANSCEIVER)


@pytest.mark.parametrize("data", [
    octets(UNBIND, 9),
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    pack(">IIII", 15, SUBMIT_SM | RESPONSE, 0, 1),
    pack(">IIII", 0xFFFF_FFFF, SUBMIT_SM | RESPONSE, 0, 1),
    b"\0" * 16,
], ids=["unbind", "HTTP", "too short", "too long", "zeros"])
async def test_the_end_of_a_session_is_followed_by_another(smsc: RawSmsc, logged: Logged, data: bytes) -> None:
    """An SMSC that says goodbye or leaves the protocol is bound to again."""
    async with bound_to(smsc, logged) as bound:
        smsc.write(data)
        logged.lines.clear()
        await logged.line("bound to")
        assert ACCEPTED == await bound.send()
    if data == octets(UNBIND, 9):
        assert Pdu(UNBIND | RESPONSE, 0, 9, b"") == await smsc.arrived(UNBIND | RESPONSE)


async def test_a_wrong_bind_state_is_healed_by_a_new_bind(smsc: RawSmsc, logged: Logged) -> None:
    """An SMSC that has forgotten the bind would refuse every message from now on."""
    smsc.answers[SUBMIT_SM] = status(0x04)
    async with bound_to(smsc, logged) as bound:
        outcome = await bound.send()
        assert SendOutcome(SendResult.TEMPORARY, provider_code="ESME_RINVBNDSTS") == outcome
        await smsc.arrived(BIND_TRANSCEIVER)


async def test_an_unknown_request_is_refused(smsc: RawSmsc, logged: Logged) -> None:
    """generic_nack with ESME_RINVCMDID; what needs no answer gets none."""
    async with bound_to(smsc, logged) as bound:
        smsc.write(octets(0x0102, 1, b"alert"))
        smsc.write(octets(0x000B, 2, b"outbind"))
        smsc.write(octets(0x0103, 3, b"data_sm"))
        assert Pdu(GENERIC_NACK, 0x03, 3, b"") == await smsc.arrived(GENERIC_NACK)
        assert ACCEPTED == await bound.send()


async def test_pdus_may_come_in_any_slices(smsc: RawSmsc, logged: Logged) -> None:
    """TCP knows no PDUs: octets that come one by one, or many PDUs at once, are the same."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged) as bound:
        sends = [asyncio.create_task(bound.send()) for _ in range(2)]
        answers = [success(await smsc.arrived(SUBMIT_SM)) or b"" for _ in sends]
        data = answers[0] + octets(ENQUIRE_LINK, 5) + answers[1]
        for octet in data[:-20]:
            smsc.write(bytes((octet,)))
            await asyncio.sleep(0)
        smsc.write(data[-20:])
        assert [ACCEPTED, ACCEPTED] == await asyncio.gather(*sends)


# -- the end -------------------------------------------------------------------------------------------------------


async def test_closing_unbinds(smsc: RawSmsc, logged: Logged) -> None:
    """It says unbind and nothing else; afterwards nothing is sent and nothing comes back."""
    async with bound_to(smsc, logged) as bound:
        pass
    assert Pdu(UNBIND, 0, 2, b"") == await smsc.arrived(UNBIND)
    assert NOT_BOUND == await bound.send()
    await bound.gateway.close()
    assert 1 == smsc.connections


async def test_closing_does_not_wait_for_answers(smsc: RawSmsc, logged: Logged) -> None:
    """Who still waits learns that the connection is gone."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged) as bound:
        send = asyncio.create_task(bound.send())
        await smsc.arrived(SUBMIT_SM)
        await bound.gateway.close()
        assert LOST == await send


async def test_closing_may_come_at_any_time(smsc: RawSmsc) -> None:
    """Before opening, while it connects, while it binds."""
    smsc.answers[BIND_TRANSCEIVER] = silence
    async with opened(smsc.port) as bound:
        await bound.gateway.close()
        await bound.gateway.open(bound.take)
        await bound.gateway.open(bound.take)
        await smsc.arrived(BIND_TRANSCEIVER)
        await bound.gateway.close()
    assert 0 == smsc.waiting(BIND_TRANSCEIVER)


# -- receipts ------------------------------------------------------------------------------------------------------


async def test_a_receipt_is_handed_on_and_then_answered(smsc: RawSmsc, logged: Logged) -> None:
    """The SMSC keeps a receipt until it has been taken: what is not answered comes again."""
    async with bound_to(smsc, logged) as bound:
        taken: list[int] = []
        bound.taking = lambda: taken.append(smsc.waiting(DELIVER_SM | RESPONSE))
        smsc.write(octets(DELIVER_SM, 41, RECEIPT))
        assert Pdu(DELIVER_SM | RESPONSE, 0, 41, b"\0") == await smsc.arrived(DELIVER_SM | RESPONSE)
        assert DELIVERED == bound.reports.get_nowait()
        assert [0] == taken


async def test_a_receipt_may_come_before_the_answer_to_its_submit(smsc: RawSmsc, logged: Logged) -> None:
    """It is handed on as it comes; the answer still finds its message."""
    smsc.answers[SUBMIT_SM] = silence
    async with bound_to(smsc, logged) as bound:
        send = asyncio.create_task(bound.send())
        submit = await smsc.arrived(SUBMIT_SM)
        smsc.write(octets(DELIVER_SM, 1, RECEIPT))
        assert DELIVERED == await bound.reports.get()
        assert not send.done()
        smsc.write(success(submit) or b"")
        assert ACCEPTED == await send


async def test_a_receipt_that_could_not_be_taken_is_asked_for_again(smsc: RawSmsc, logged: Logged) -> None:
    """A store that is down costs no report: the SMSC is told to come back, and the gateway lives on."""
    async with bound_to(smsc, logged) as bound:
        def fail() -> None:
            raise ConnectionError("secret 123456")

        bound.taking = fail
        smsc.write(octets(DELIVER_SM, 1, RECEIPT))
        assert 0x64 == (await smsc.arrived(DELIVER_SM | RESPONSE)).status
        await logged.line("receipts were not taken: ConnectionError")
        bound.taking = lambda: None
        smsc.write(octets(DELIVER_SM, 2, RECEIPT))
        assert 0 == (await smsc.arrived(DELIVER_SM | RESPONSE)).status
        assert DELIVERED == await bound.reports.get()


async def test_more_receipts_than_can_wait_are_asked_for_again(smsc: RawSmsc, logged: Logged) -> None:
    """While the taker is slow, 1000 wait and the others are told to come back; submits go on meanwhile."""
    async with bound_to(smsc, logged) as bound:
        go_on, began = asyncio.Event(), asyncio.Event()
        sizes: list[int] = []

        async def slow(reports: Sequence[DeliveryReport]) -> None:
            sizes.append(len(reports))
            began.set()
            await go_on.wait()

        assert bound.gateway._session is not None
        bound.gateway._session._on_reports = slow
        smsc.write(octets(DELIVER_SM, 0, RECEIPT))
        await began.wait()
        smsc.write(b"".join(octets(DELIVER_SM, number, RECEIPT) for number in range(1, 1003)))
        refused = [await smsc.arrived(DELIVER_SM | RESPONSE) for _ in range(2)]
        assert [(1001, 0x64), (1002, 0x64)] == [(pdu.sequence, pdu.status) for pdu in refused]
        assert ACCEPTED == await bound.send()
        go_on.set()
        answered = [await smsc.arrived(DELIVER_SM | RESPONSE) for _ in range(1001)]
        assert [(number, 0) for number in range(1001)] == [(pdu.sequence, pdu.status) for pdu in answered]
        assert [1, *[100] * 10] == sizes


@pytest.mark.parametrize(("body", "answer"), [
    (RECEIPT.replace(b"id:", b"is:"), 0),
    (RECEIPT.replace(b"DELIVRD", b"NONSENS"), 0),
    (smpp34.DeliverSm("84900000001", "8088", b"id:m-1 stat:DELIVRD").encode()[16:], 0),
    (RECEIPT[:-70], 0x65),
    (b"", 0x65),
    (b"\xff" * 300, 0x65),
], ids=["no id", "no state", "an incoming SMS", "cut off", "empty", "nonsense"])
async def test_what_is_no_receipt_is_answered_and_dropped(
    smsc: RawSmsc, logged: Logged, body: bytes, answer: int,
) -> None:
    """An incoming SMS and a receipt that says nothing are taken, nonsense is refused for good: neither comes again."""
    async with bound_to(smsc, logged) as bound:
        smsc.write(octets(DELIVER_SM, 7, body))
        assert (7, answer) == (await smsc.arrived(DELIVER_SM | RESPONSE))[2:0:-1]
        assert bound.reports.empty()
        assert ACCEPTED == await bound.send()


async def test_what_cannot_be_used_fills_no_log(smsc: RawSmsc, logged: Logged) -> None:
    """However many such receipts come, over how many connections, a line in ten seconds counts them."""
    now = [1000.0]
    useless = [b"", RECEIPT.replace(b"id:", b"is:"), RECEIPT.replace(b"DELIVRD", b"NONSENS")]

    async def receive(count: int) -> list[str]:
        for number in range(count):
            smsc.write(octets(DELIVER_SM, number, useless[number % 3]))
            await smsc.arrived(DELIVER_SM | RESPONSE)
        return [line for line in logged.lines if "could not be used" in line]

    async with bound_to(smsc, logged, clock=lambda: now[0]) as bound:
        line = "smpp: receipts that could not be used: 1; the last one cannot be read"
        assert [line] == await receive(50)
        now[0] = 1009.9
        logged.lines.clear()
        smsc.hang_up()
        await logged.line("bound to")
        assert [] == await receive(2)
        now[0] = 1010.0
        assert ["smpp: receipts that could not be used: 52; the last one cannot be read"] == await receive(1)
        now[0] = 1020.0
        logged.lines.clear()
        assert [line] == await receive(3)
        now[0] = 1030.0
        smsc.write(octets(DELIVER_SM, 9, useless[1]))
        await logged.line("could not be used: 3; the last one names no message or no known state")
        assert bound.reports.empty()


# -- with the service around it ------------------------------------------------------------------------------------


class ToSmsc(SmppGateway):
    """The adapter as the engine makes one."""

    def __init__(self, _url: str, *, port: int) -> None:
        super().__init__(
            host="127.0.0.1", port=port, system_id="portal", password=PASSWORD, sender="Cong DVC", tls=False,
        )


@pytest.mark.usefixtures("logged")
async def test_a_verification_goes_out_over_the_bind(engine: Engine, smsc: RawSmsc) -> None:
    """The courier hands a code over and counts it; the receipt, answered when taken, becomes the delivery."""
    async with asyncio.timeout(DEADLINE_S):
        worker = await engine.worker(adapter=ToSmsc, port=smsc.port)
        account = engine.accounts["fake"]
        assert account.connected is not None

        async def take(reports: Sequence[DeliveryReport]) -> None:
            await engine.reports.take(account, reports)

        started = await engine.start()
        await account.connected.open(take)
        try:
            await engine.deliver(worker)
            submit = await smsc.arrived(SUBMIT_SM)
            assert engine.code(started).encode() in submit.body.replace(b"\0", b"")  # in either alphabet
            assert "sent" == (await engine.get(started)).delivery
            assert 1 == engine.count("otp_sends_total", gateway="fake", result="accepted")
            smsc.write(octets(DELIVER_SM, 9, RECEIPT))
            assert (0, 9) == (await smsc.arrived(DELIVER_SM | RESPONSE))[1:3]
            assert "delivered" == (await engine.get(started)).delivery
        finally:
            await account.connected.close()


# -- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give an authority that nobody but these tests trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


def server_side(authority: Authority, folder: Path, host: str) -> ssl.SSLContext:
    """Give the TLS context of an SMSC of that name."""
    key, certificate = authority.issue(host)
    pem = folder / "smsc.pem"
    pem.write_text(key + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def test_tls_checks_authority_and_name(authority: Authority, tmp_path: Path, logged: Logged) -> None:
    """A certificate of the configured authority for the configured name is bound to."""
    async with RawSmsc(server_side(authority, tmp_path, "smsc.example")) as smsc, bound_to(
        smsc, logged, tls=True, tls_ca_file=str(authority.ca_file), tls_server_name="smsc.example",
    ) as bound:
        assert ACCEPTED == await bound.send()


@pytest.mark.parametrize(("trusted", "name", "said"), [
    (True, "other.example", "Hostname mismatch"),
    (True, "", "IP address mismatch"),
    (False, "smsc.example", "certificate verify failed"),
])
async def test_tls_sends_nothing_to_the_wrong_smsc(
    authority: Authority, tmp_path: Path, logged: Logged, trusted: bool, name: str, said: str,
) -> None:
    """Another name or another authority: no bind is written, so the password stays here."""
    ca = authority if trusted else Authority(tmp_path / "another")
    async with RawSmsc(server_side(authority, tmp_path, "smsc.example")) as smsc, opened(
        smsc.port, tls=True, tls_ca_file=str(ca.ca_file), tls_server_name=name,
    ) as bound:
        await logged.line(said)
        assert NOT_BOUND == await bound.send()
        assert 0 == smsc.waiting(BIND_TRANSCEIVER)


async def test_tls_is_not_left_out_for_a_server_without(smsc: RawSmsc, logged: Logged) -> None:
    """An SMSC that speaks no TLS gets no password either."""
    async with opened(smsc.port, tls=True, timeout_s=0.05) as bound:
        await logged.line("no connection")
        assert NOT_BOUND == await bound.send()
        assert 0 == smsc.waiting(BIND_TRANSCEIVER)


async def test_tls_without_a_check_is_possible_on_loopback(
    authority: Authority, tmp_path: Path, logged: Logged,
) -> None:
    """For a test set-up, and only when it says so."""
    async with RawSmsc(server_side(authority, tmp_path, "smsc.example")) as smsc, bound_to(
        smsc, logged, tls=True, tls_verify=False,
    ) as bound:
        assert ACCEPTED == await bound.send()


# -- smpp34's own server -------------------------------------------------------------------------------------------


class LibrarySmsc:
    """``smpp34.Server``, behind TLS when asked: it has none of its own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._library_port = free_port()
        self._server = smpp34.Server("127.0.0.1", self._library_port)
        self._front: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self.esme: smpp34.Esme | None = None
        self.port = self._library_port

    async def __aenter__(self) -> Self:
        await self._server.start()
        if self._tls:
            self._front = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._tls)
            self.port = self._front.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self._server.stop()
        if self._front:
            self._front.close()
        await asyncio.gather(*self._pipes)

    async def submit(self) -> smpp34.SubmitSmEvent:
        """Wait for the next submit."""
        while not isinstance(event := await self._server.next(), smpp34.SubmitSmEvent):
            if isinstance(event, smpp34.Esme):
                self.esme = event
        return event

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._library_port)
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    except OSError:
        # One side was cut; the other is told the same way.
        pass
    finally:
        writer.close()


async def test_the_librarys_server_takes_every_kind_of_text(logged: Logged) -> None:
    """GSM-7, UCS-2 and parts arrive as they were meant; each answer finds its message."""
    async with LibrarySmsc() as smsc, opened(smsc.port) as bound:
        await logged.line("bound to")
        send = asyncio.create_task(bound.send())
        submit = await smsc.submit()
        assert ("84900000001", 1, 1) == (submit.destination_addr, submit.dest_addr_ton, submit.dest_addr_npi)
        assert ("Cong DVC", 5, 0) == (submit.source_addr, submit.source_addr_ton, submit.source_addr_npi)
        assert (MESSAGE.text.encode(), 0, 0, 1) == (
            submit.short_message, submit.data_coding, submit.esm_class, submit.registered_delivery,
        )
        submit.accept("m-1")
        assert ACCEPTED == await send

        send = asyncio.create_task(bound.send(text=ACCENTED * 3))
        text = b""
        for number in (1, 2, 3):
            submit = await smsc.submit()
            assert (8, 0x40, b"\x05\x00\x03", bytes((3, number)), int(number == 3)) == (
                submit.data_coding, submit.esm_class, submit.short_message[:3], submit.short_message[4:6],
                submit.registered_delivery,
            )
            text += submit.short_message[6:]
            submit.accept(f"m-{number}")
        assert ACCENTED * 3 == text.decode("utf-16-be")
        assert "m-3" == (await send).provider_id


async def test_the_librarys_server_throttles_and_reports(logged: Logged) -> None:
    """RTHROTTLED, then a receipt before the answer, then one that is no receipt."""
    now = [0.0]
    async with LibrarySmsc() as smsc, opened(smsc.port, throttle_pause_s=5, clock=lambda: now[0]) as bound:
        await logged.line("bound to")
        send = asyncio.create_task(bound.send())
        (await smsc.submit()).reject(smpp34.ESME_RTHROTTLED)
        assert SendResult.THROTTLED is (await send).result
        assert "resting" == (await bound.send()).provider_code
        now[0] = 5.0

        send = asyncio.create_task(bound.send())
        submit = await smsc.submit()
        assert smsc.esme is not None
        parameters = [
            smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, b"m-1\0"), smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, b"\x02"),
        ]
        early = await smsc.esme.deliver_sm("Cong DVC", b"", source_addr="84900000001", esm_class=4, tlvs=parameters)
        assert early.is_success
        assert DELIVERED == await bound.reports.get()
        submit.accept("m-1")
        assert ACCEPTED == await send

        garbage = await smsc.esme.deliver_sm("Cong DVC", b"\xff\x00 id", source_addr="84900000001", esm_class=4)
        assert garbage.is_success
        assert bound.reports.empty()


async def test_the_line_to_the_librarys_server_may_break(logged: Logged) -> None:
    """What was not answered is a perhaps, and the next bind is as good as the first."""
    async with LibrarySmsc() as smsc, Proxy(f"tcp://127.0.0.1:{smsc.port}") as line, opened(
        int(line.address.rpartition(":")[2]),
    ) as bound:
        await logged.line("bound to")
        send = asyncio.create_task(bound.send())
        # An event that nobody holds would be refused by the library.
        unanswered = await smsc.submit()
        line.reset()
        assert LOST == await send
        del unanswered
        logged.lines.clear()
        await logged.line("bound to")
        send = asyncio.create_task(bound.send())
        (await smsc.submit()).accept("m-1")
        assert ACCEPTED == await send


async def test_the_librarys_server_behind_tls(authority: Authority, tmp_path: Path, logged: Logged) -> None:
    """The same over TLS, checked against the authority of this test."""
    async with LibrarySmsc(server_side(authority, tmp_path, "smsc.example")) as smsc, opened(
        smsc.port, tls=True, tls_ca_file=str(authority.ca_file), tls_server_name="smsc.example",
    ) as bound:
        await logged.line("bound to")
        send = asyncio.create_task(bound.send(text=ACCENTED))
        submit = await smsc.submit()
        assert ACCENTED == submit.short_message.decode("utf-16-be")
        submit.accept("m-1")
        assert ACCEPTED == await send


# -- the npm package smpp, which shares nothing with the gateway ---------------------------------------------------


@asynccontextmanager
async def node_bound(logged: Logged, pair: tuple[str, str] | None = None, **options: Any) -> AsyncIterator[Any]:
    """Open a gateway at the independent SMSC and have it bound."""
    async with NodeSmsc(pair) as smsc, opened(smsc.port, **options) as bound:
        bind = await smsc.take("bind_transceiver")
        assert ("portal", PASSWORD, "", 0x34, 0, 0, "") == tuple(bind[field] for field in (
            "system_id", "password", "system_type", "interface_version", "addr_ton", "addr_npi", "address_range",
        ))
        await logged.line("bound to")
        yield smsc, bound
        close = asyncio.create_task(bound.gateway.close())
        await smsc.take("unbind")
        await close


async def test_an_independent_smsc_reads_our_submits(logged: Logged) -> None:
    """Every field and the whole GSM alphabet, decoded by another implementation."""
    async with node_bound(logged) as (smsc, bound):
        text = GSM7_BASIC.replace("\x1b", "")[:100]
        for sent in (text, GSM7_EXTENSION, ACCENTED):
            send = asyncio.create_task(bound.send(text=sent))
            submit = await smsc.take("submit_sm", message_id="m-1")
            assert ACCEPTED == await send
            assert (sent, None, 8 if sent == ACCENTED else 0) == (submit["text"], submit["udh"], submit["data_coding"])
            expected = {
                "service_type": "", "source_addr_ton": 5, "source_addr_npi": 0, "source_addr": "Cong DVC",
                "dest_addr_ton": 1, "dest_addr_npi": 1, "destination_addr": "84900000001", "esm_class": 0,
                "protocol_id": 0, "priority_flag": 0, "registered_delivery": 1, "replace_if_present_flag": 0,
            }
            assert expected == {field: submit[field] for field in expected}


async def test_an_independent_smsc_puts_the_parts_together(logged: Logged) -> None:
    """It finds our header by esm_class and reads reference, count and number from it."""
    async with node_bound(logged) as (smsc, bound):
        send = asyncio.create_task(bound.send(text=ACCENTED * 3))
        submits = [await smsc.take("submit_sm", message_id=f"m-{number}") for number in (1, 2, 3)]
        assert SendOutcome(SendResult.ACCEPTED, "m-3", "ESME_ROK") == await send
        assert ACCENTED * 3 == "".join(submit["text"] for submit in submits)
        reference = submits[0]["udh"][0][4:6]
        assert [[f"0003{reference}030{number}"] for number in (1, 2, 3)] == [submit["udh"] for submit in submits]
        assert [0, 0, 1] == [submit["registered_delivery"] for submit in submits]


async def test_an_independent_smsc_throttles_and_refuses(logged: Logged) -> None:
    """Its statuses are read, and the bind rests."""
    now = [0.0]
    async with node_bound(logged, throttle_pause_s=5, clock=lambda: now[0]) as (smsc, bound):
        send = asyncio.create_task(bound.send())
        await smsc.take("submit_sm", status=0x0B)
        assert SendOutcome(SendResult.INVALID_NUMBER, provider_code="ESME_RINVDSTADR") == await send
        send = asyncio.create_task(bound.send())
        await smsc.take("submit_sm", status=0x58)
        assert SendOutcome(SendResult.THROTTLED, provider_code="ESME_RTHROTTLED") == await send
        assert SendOutcome(SendResult.THROTTLED, provider_code="resting") == await bound.send()


async def test_an_independent_smscs_receipts_are_read(logged: Logged) -> None:
    """In both forms, one before the answer to its submit; each is answered, nonsense too."""
    async with node_bound(logged) as (smsc, bound):
        send = asyncio.create_task(bound.send())
        submit = await smsc.event("submit_sm")
        smsc.do("deliver", esm_class=4, receipted_message_id="m-1", message_state=2)
        assert DELIVERED == await bound.reports.get()
        smsc.do("answer", sequence=submit["sequence"], message_id="m-1")
        assert ACCEPTED == await send
        smsc.do("deliver", esm_class=4, short_message="id:m-2 sub:001 dlvrd:000 stat:UNDELIV err:069 text:")
        assert DeliveryReport(DeliveryState.FAILED, "m-2", provider_code="UNDELIV 69") == await bound.reports.get()
        smsc.do("deliver", esm_class=4, hex="00ff00ff")
        smsc.do("deliver", esm_class=0, short_message="id:m-3 stat:DELIVRD")
        assert [0, 0, 0, 0] == [(await smsc.event("deliver_sm_resp"))["status"] for _ in range(4)]
        assert bound.reports.empty()


async def test_an_independent_smsc_hangs_up(logged: Logged) -> None:
    """A submit without an answer is a perhaps, and the next bind follows; so does one after its unbind."""
    async with node_bound(logged) as (smsc, bound):
        send = asyncio.create_task(bound.send())
        await smsc.event("submit_sm")
        smsc.do("hang_up")
        assert LOST == await send
        await smsc.take("bind_transceiver")
        smsc.do("ask", command="enquire_link")
        assert 0 == (await smsc.event("enquire_link_resp"))["status"]
        smsc.do("ask", command="unbind")
        assert 0 == (await smsc.event("unbind_resp"))["status"]
        logged.lines.clear()
        await smsc.take("bind_transceiver")
        await logged.line("bound to")


async def test_an_independent_smsc_speaks_tls(authority: Authority, logged: Logged) -> None:
    """Its own TLS, its certificate by the authority of this test."""
    async with node_bound(
        logged, authority.issue("smsc.example"), tls=True, tls_ca_file=str(authority.ca_file),
        tls_server_name="smsc.example",
    ) as (smsc, bound):
        send = asyncio.create_task(bound.send())
        assert MESSAGE.text == (await smsc.take("submit_sm", message_id="m-1"))["text"]
        assert ACCEPTED == await send
