"""The SMPP gateway's options, what it writes, how it reads receipts, and what is sent before the first bind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpp34 import DeliverSm, SmppError, Tlv, decode
from support.processes import DEADLINE_S
from support.smsc.raw import BIND_TRANSCEIVER, RESPONSE, SUBMIT_SM, Pdu, RawSmsc, octets, success

import sms_adapters
from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    ConnectedGateway,
    DeliveryReport,
    DeliveryState,
    SendOutcome,
    SendResult,
    SmsMessage,
)
from otp_service.core.sms_length import GSM7_BASIC, GSM7_EXTENSION, segments
from sms_adapters import smpp, smpp_pdus
from sms_adapters.contract import GatewayContract
from sms_adapters.smpp import SmppGateway

TEXT = "123456 la ma xac nhan"
REFERENCE = "5-k1-k3t3u3rmwygiymua4yg2vugqla-1"
DELIVERED, FAILED, SENT = DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.SENT


def gateway(**options: Any) -> SmppGateway:
    """Make a gateway with what every account needs."""
    return SmppGateway(**{
        "host": "smsc.example.vn", "system_id": "portal", "password": "s3cret77", "sender": "Cong DVC", **options,
    })


def message(text: str = TEXT, **fields: Any) -> SmsMessage:
    """Make a message."""
    return SmsMessage(**{
        "to": "+84900000001", "text": text, "template_key": "registration", "params": (), "reference": REFERENCE,
        "send_number": 1, "validity_s": 180, **fields,
    })


def bodies(text: str, **fields: Any) -> list[bytes]:
    """Return what the gateway would submit."""
    data_coding, parts = smpp_pdus.encode(text)
    return list(smpp_pdus.submit_bodies(gateway()._fields, message(text, **fields), data_coding, parts))


class TestContract(GatewayContract):
    secrets = ("s3cret77",)

    def gateway(self) -> ConnectedGateway:
        """Return a fresh gateway."""
        return gateway()


# -- options -------------------------------------------------------------------------------------------------------


def test_options_may_be_text() -> None:
    """Numbers and booleans come as text from the environment."""
    made = gateway(
        port="2776", tls="false", window="3", enquire_link_s="5", reconnect_min_s="0.5", reconnect_max_s="9",
        throttle_pause_s="2", timeout_s="4", source_ton="0", source_npi="0", dest_ton="2", dest_npi="8",
    )
    assert (2776, 4.0, None, 3) == (made._port, made.timeout_s, made._tls, made._window._value)
    assert (0, 0, 2, 8) == (
        made._fields.source_ton, made._fields.source_npi, made._fields.dest_ton, made._fields.dest_npi,
    )


def test_tls_is_on_unless_it_is_switched_off() -> None:
    """Nobody sends codes in clear by leaving a line out, and each way has its usual port."""
    protected, clear = gateway(), gateway(tls=False)
    assert protected._tls is not None
    assert protected._tls.check_hostname
    assert (3550, "smsc.example.vn") == (protected._port, protected._server_name)
    assert (2775, None, None) == (clear._port, clear._server_name, clear._tls)


@pytest.mark.parametrize(("sender", "shown", "ton", "npi"), [
    ("Cong DVC", "Cong DVC", 5, 0), ("+84900000009", "84900000009", 1, 1), ("8088", "8088", 1, 1),
])
def test_the_kind_of_sender_is_seen(sender: str, shown: str, ton: int, npi: int) -> None:
    """A brand name is alphanumeric (TON 5), a number is international (TON 1)."""
    fields = gateway(sender=sender)._fields
    assert (shown, ton, npi) == (fields.sender, fields.source_ton, fields.source_npi)


@pytest.mark.parametrize(("wrong", "said"), [
    ({"host": ""}, "host"),
    ({"system_id": "x" * 16}, "system_id"),
    ({"system_id": ""}, "system_id"),
    ({"password": "s3cret77s"}, "password"),
    ({"password": "s3cr\0t"}, "password"),
    ({"password": 12345678}, "password"),
    ({"sender": "A brand name"}, "sender"),
    ({"sender": "Cổng DVC"}, "sender"),
    ({"sender": ""}, "sender"),
    ({"system_type": "x" * 13}, "system_type"),
    ({"service_type": "x" * 6}, "service_type"),
    ({"port": "0"}, "port"),
    ({"port": "many"}, "port"),
    ({"source_ton": "7"}, "source_ton"),
    ({"window": "0"}, "window"),
    ({"window": "-1"}, "window"),
    ({"timeout_s": "soon"}, "timeout_s"),
    ({"timeout_s": "nan"}, "timeout_s"),
    ({"timeout_s": "61"}, "timeout_s"),
    ({"enquire_link_s": "0"}, "enquire_link_s"),
    ({"throttle_pause_s": "-1"}, "throttle_pause_s"),
    ({"tls": "maybe"}, "tls"),
    ({"tls_verify": "false"}, "tls_verify"),
    ({"tls_verify": "false", "host": "127.0.0.1", "tls": "false"}, "tls_verify"),
    ({"tls": "false", "tls_server_name": "smsc.example.vn"}, "tls_server_name"),
    ({"tls_ca_file": "/no/such/file.pem"}, "tls_ca_file"),
    ({"id_form": "octal"}, "id_form"),
])
def test_a_wrong_option_is_named(wrong: dict[str, Any], said: str) -> None:
    """What cannot be used refuses to start, with the option's name and never the password."""
    with pytest.raises(ConfigurationError, match=rf"smpp: {said}\b|\b{said}\b") as refused:
        gateway(**wrong)
    assert "s3cr" not in str(refused.value)


def test_an_unverified_certificate_is_for_loopback_alone() -> None:
    """Only a test on this machine may leave the certificate unchecked, and only when it says so."""
    for host in ("127.0.0.1", "::1", "localhost"):
        assert gateway(host=host)._tls.check_hostname  # type: ignore[union-attr]
        assert not gateway(host=host, tls_verify=False)._tls.check_hostname  # type: ignore[union-attr]
    for host in ("10.0.0.1", "smsc.example.vn", "localhost.example.vn"):
        with pytest.raises(ConfigurationError, match="tls_verify"):
            gateway(host=host, tls_verify=False)


def test_without_the_library_only_construction_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module can be imported without the extra; who configures the gateway is told which extra is missing."""
    monkeypatch.setitem(sys.modules, "smpp34", None)
    for name in ("smpp", "smpp_session", "smpp_pdus"):
        monkeypatch.delitem(sys.modules, f"sms_adapters.{name}")
        monkeypatch.delattr(sms_adapters, name)
    module = import_module("sms_adapters.smpp")
    assert module is not smpp
    with pytest.raises(ConfigurationError, match=r"otp-service\[smpp\]"):
        module.SmppGateway(host="127.0.0.1", system_id="portal", password="s3cret77", sender="Cong DVC")


# -- what is written -----------------------------------------------------------------------------------------------


def test_a_submit_has_these_octets() -> None:
    """A short text: one submit_sm in the default alphabet, valid as long as the code, with a receipt."""
    expected = (
        b"\0" b"\x05\x00Cong DVC\0" b"\x01\x0184900000001\0"  # service_type, source, destination
        b"\x00\x00\x00" b"\0" b"000000000300000R\0"             # esm_class, protocol_id, priority; schedule; validity
        b"\x01\x00\x00\x00" b"\x15" + TEXT.encode()             # receipt, replace, data_coding, default message
    )
    assert [expected] == bodies(TEXT)


def test_an_accented_text_goes_as_ucs2() -> None:
    """One letter outside the GSM alphabet makes the text UCS-2, data_coding 8."""
    (body,) = bodies("Mã 123456")
    assert b"\x01\x00\x08\x00\x12" + "Mã 123456".encode("utf-16-be") == body[-23:]


def test_the_gsm_alphabet_is_written_by_its_code_points() -> None:
    """All 137 characters, by the tables of 3GPP TS 23.038: escaped ones take two octets."""
    basic = bytes(code for code in range(128) if code != 0x1B)
    assert (0, [basic]) == smpp_pdus.encode(GSM7_BASIC)
    escaped = bytes.fromhex("1b0a 1b14 1b28 1b29 1b2f 1b3c 1b3d 1b3e 1b40 1b65")
    assert (0, [escaped]) == smpp_pdus.encode(GSM7_EXTENSION)


@pytest.mark.parametrize(("text", "sizes"), [
    ("a" * 160, [160]),
    ("a" * 161, [6 + 153, 6 + 8]),
    ("a" * 152 + "{" * 10, [6 + 152, 6 + 20]),
    ("ạ" * 70, [140]),
    ("ạ" * 71, [6 + 134, 6 + 8]),
    ("ạ" * 66 + "😀" * 5, [6 + 132, 6 + 20]),
])
def test_a_long_text_is_cut_into_parts(text: str, sizes: list[int]) -> None:
    """153 septets or 67 UTF-16 units to a part, no escaped character or surrogate pair cut in two."""
    found = bodies(text)
    assert sizes == [decode_sm(body).sm_length for body in found]
    assert len(sizes) == segments(text)


def test_parts_carry_a_header_and_only_the_last_asks_for_a_receipt() -> None:
    """UDH 05 00 03, the reference of this send, the count and the number; the same octets on every retry."""
    found = [decode_sm(body) for body in bodies("b" * 400)]
    reference = found[0].short_message[3]
    assert [bytes((5, 0, 3, reference, 3, number)) for number in (1, 2, 3)] == [sm.short_message[:6] for sm in found]
    assert [(0x40, 0), (0x40, 0), (0x40, 1)] == [(sm.esm_class, sm.registered_delivery) for sm in found]
    assert b"b" * 400 == b"".join(sm.short_message[6:] for sm in found)
    assert bodies("b" * 400) == bodies("b" * 400)
    other = decode_sm(bodies("b" * 400, reference=REFERENCE[:-1] + "2")[0])
    assert reference != other.short_message[3]


@given(st.text(alphabet=st.sampled_from(GSM7_BASIC + GSM7_EXTENSION + "ạđ😀\u0301"), max_size=400))
def test_the_cut_is_the_one_that_was_counted(text: str) -> None:
    """The parts of any text are as many as it is said to take, and together they are the text."""
    data_coding, parts = smpp_pdus.encode(text)
    assert segments(text) == len(parts)
    whole = b"".join(parts)
    assert text == (whole.decode("utf-16-be") if data_coding == 8 else from_gsm7(whole))


@pytest.mark.parametrize(("validity_s", "written"), [
    (180, "000000000300000R"), (1, "000000000001000R"), (0, "000000000001000R"), (3_599, "000000005959000R"),
    (90_061, "000001010101000R"),
])
def test_the_validity_is_a_relative_time(validity_s: int, written: str) -> None:
    """YYMMDDhhmmss, a tenth of a second, 00 and R; never nothing, which would mean the SMSC's own days."""
    assert written == smpp_pdus._validity(validity_s)


def test_pauses_double_up_to_the_longest() -> None:
    """Each is cut by up to a half."""
    assert [1.0, 2.0, 4.0, 5.0, 5.0] == list(islice(smpp._pauses(1.0, 5.0, lambda: 1.0), 5))
    assert [0.5, 1.0, 2.0, 2.5, 2.5] == list(islice(smpp._pauses(1.0, 5.0, lambda: 0.0), 5))


# -- what is sent before the first bind ----------------------------------------------------------------------------

NOT_BOUND = SendOutcome(SendResult.TEMPORARY, provider_code="not_bound")


@asynccontextmanager
async def binding(answer: Callable[[Pdu], bytes | None] = lambda _: None) -> AsyncIterator[tuple[SmppGateway, RawSmsc]]:
    """Open a gateway whose SMSC answers the bind as told, by default not at all: the test does."""
    async def take(_: Sequence[DeliveryReport]) -> None:
        raise AssertionError("no receipt was sent")

    async with asyncio.timeout(DEADLINE_S), RawSmsc() as smsc:
        smsc.answers[BIND_TRANSCEIVER] = answer
        opened = gateway(host="127.0.0.1", port=smsc.port, tls=False)
        await opened.open(take)
        try:
            yield opened, smsc
        finally:
            await opened.close()


async def test_what_comes_before_the_first_bind_is_sent_after_it() -> None:
    """A worker that starts with a full queue does not take its gateway for dead: each send waits, and none is lost."""
    async with binding() as (opened, smsc):
        sends = [asyncio.create_task(opened.send(message())) for _ in range(3)]
        bind = await smsc.arrived(BIND_TRANSCEIVER)
        assert [False] * 3 == [send.done() for send in sends]
        assert 0 == smsc.waiting(SUBMIT_SM)
        smsc.write(success(bind) or b"")
        accepted = SendOutcome(SendResult.ACCEPTED, "m-1", "ESME_ROK")
        assert [accepted] * 3 == await asyncio.gather(*sends)
        assert 3 == smsc.waiting(SUBMIT_SM)


async def test_what_waits_for_a_first_bind_that_fails_was_not_sent() -> None:
    """When the connection breaks instead, who waits is told at once: another gateway may be asked safely."""
    async with binding() as (opened, smsc):
        send = asyncio.create_task(opened.send(message()))
        await smsc.arrived(BIND_TRANSCEIVER)
        assert not send.done()
        smsc.hang_up()
        assert NOT_BOUND == await send
        assert 0 == smsc.waiting(SUBMIT_SM)


async def test_what_waits_for_a_first_bind_that_is_refused_learns_why() -> None:
    """A wrong password is the answer to the first message already."""
    async with binding(lambda pdu: octets(pdu.command | RESPONSE, pdu.sequence, status=0x0E)) as (opened, smsc):
        expected = SendOutcome(SendResult.AUTHENTICATION, provider_code="ESME_RINVPASWD")
        assert expected == await opened.send(message())
        assert 0 == smsc.waiting(SUBMIT_SM)


async def test_nobody_waits_longer_than_his_time_for_the_first_bind() -> None:
    """An SMSC that says nothing costs a message its time, and the message was not sent."""
    async with binding() as (opened, smsc):
        await smsc.arrived(BIND_TRANSCEIVER)
        opened.timeout_s = 0.01
        assert NOT_BOUND == await opened.send(message())
        assert 0 == smsc.waiting(SUBMIT_SM)


async def test_who_waits_for_the_first_bind_is_told_when_the_gateway_closes() -> None:
    """A worker that stops before the first bind does not hold its messages until their time is over."""
    async with binding() as (opened, smsc):
        send = asyncio.create_task(opened.send(message()))
        await smsc.arrived(BIND_TRANSCEIVER)
        assert not send.done()
        await opened.close()
        await asyncio.sleep(0)
        assert send.done()
        assert NOT_BOUND == send.result()
        assert 0 == smsc.waiting(SUBMIT_SM)


async def test_nobody_waits_for_a_gateway_that_was_not_opened() -> None:
    """Without a connection under way there is nothing to wait for: the answer comes at once."""
    send = asyncio.create_task(gateway().send(message()))
    await asyncio.sleep(0)
    assert send.done()
    assert NOT_BOUND == send.result()


# -- receipts ------------------------------------------------------------------------------------------------------

TEXT_FORM = "id:{id} sub:001 dlvrd:001 submit date:2611220700 done date:2611220701 stat:{stat} err:{err} text:Ma"
MESSAGE_ID, STATE, NETWORK_ERROR, PAYLOAD = 0x001E, 0x0427, 0x0423, 0x0424


def receipt(
    text: str | bytes = "", tlvs: Sequence[tuple[int, bytes]] = (), *, esm_class: int = 0x04, id_form: str = "same",
    data_coding: int = 0,
) -> DeliveryReport | None:
    """Read a deliver_sm."""
    octets = text.encode("ascii") if isinstance(text, str) else text
    delivered = DeliverSm(
        "84900000001", "Cong DVC", octets, esm_class=esm_class, data_coding=data_coding,
        tlvs=[Tlv(tag, value) for tag, value in tlvs],
    )
    return smpp_pdus._read_receipt(delivered, smpp_pdus.ID_FORMS[id_form])


@pytest.mark.parametrize(("number", "word", "state"), [
    (1, "ENROUTE", SENT), (2, "DELIVRD", DELIVERED), (3, "EXPIRED", FAILED), (4, "DELETED", FAILED),
    (5, "UNDELIV", FAILED), (6, "ACCEPTD", SENT), (7, "UNKNOWN", SENT), (8, "REJECTD", FAILED),
])
def test_every_state_is_read_in_both_forms(number: int, word: str, state: DeliveryState) -> None:
    """message_state and its word in the text say the same (sections 5.2.28 and appendix B)."""
    expected = DeliveryReport(state, "m-1", provider_code=word)
    assert expected == receipt(tlvs=[(MESSAGE_ID, b"m-1\0"), (STATE, bytes((number,)))])
    assert expected == receipt(TEXT_FORM.format(id="m-1", stat=word, err="000"))


def test_the_parameters_are_preferred_to_the_text() -> None:
    """Id and state come from the optional parameters where they are, one by one."""
    text = TEXT_FORM.format(id="99", stat="UNDELIV", err="045")
    assert DeliveryReport(DELIVERED, "m-1", provider_code="DELIVRD 45") == receipt(
        text, [(MESSAGE_ID, b"m-1\0"), (STATE, b"\x02")]
    )
    assert DeliveryReport(FAILED, "m-1", provider_code="UNDELIV 45") == receipt(text, [(MESSAGE_ID, b"m-1\0")])
    assert DeliveryReport(DELIVERED, "99", provider_code="DELIVRD 45") == receipt(text, [(STATE, b"\x02")])


@pytest.mark.parametrize(("id_form", "of_text", "of_parameter"), [
    ("same", ("00aB", "00aB"), ("00aB", "00aB")),
    ("hex", ("1A2B", "6699"), ("006699", "6699")),
    ("hex", ("0x1A2B", "0x1A2B"), ("m-1", "m-1")),
    ("decimal", ("0000006699", "6699"), ("1a2b", "6699")),
    ("decimal", ("1a2b", "1a2b"), ("m-1", "m-1")),
])
def test_ids_are_brought_to_one_form(
    id_form: str, of_text: tuple[str, str], of_parameter: tuple[str, str],
) -> None:
    """The text's id may have another base than the answer's, the parameter's has not; no such number is kept as is."""
    found = receipt(TEXT_FORM.format(id=of_text[0], stat="DELIVRD", err="000"), id_form=id_form)
    assert DeliveryReport(DELIVERED, of_text[1], provider_code="DELIVRD") == found
    found = receipt(tlvs=[(MESSAGE_ID, of_parameter[0].encode()), (STATE, b"\x02")], id_form=id_form)
    assert DeliveryReport(DELIVERED, of_parameter[1], provider_code="DELIVRD") == found


@pytest.mark.parametrize("text", [
    "id:m-1 stat:DELIVRD",
    "ID:m-1 SUB:1 STAT:delivrd ERR:0",
    "stat:DELIVRD id: m-1",
    "id:m-1\nsub:001\nstat:DELIVRD\nerr:000",
    "id:m-1 stat:DELIVRD text:id:m-2 stat:UNDELIV err:9",
    "id:m-1 stat:DELIVRD Text:stat:UNDELIV",
    "id:m-1 id:m-2 stat:DELIVRD stat:UNDELIV",
])
def test_the_text_form_is_read_as_providers_write_it(text: str) -> None:
    """Order, case and missing fields do not matter, and what follows ``text:`` is the message, not the receipt."""
    assert DeliveryReport(DELIVERED, "m-1", provider_code="DELIVRD") == receipt(text)


def test_a_receipt_may_come_in_the_payload_or_as_ucs2() -> None:
    """An empty short_message means message_payload; data_coding 8 is decoded."""
    expected = DeliveryReport(DELIVERED, "m-1", provider_code="DELIVRD")
    assert expected == receipt(tlvs=[(PAYLOAD, b"id:m-1 stat:DELIVRD")])
    assert expected == receipt("id:m-1 stat:DELIVRD".encode("utf-16-be"), data_coding=8)


def test_the_networks_error_is_told() -> None:
    """What the phone's network said goes to the log beside the state."""
    found = receipt("id:m-1 stat:UNDELIV", [(NETWORK_ERROR, b"\x03\x00\x45")])
    assert DeliveryReport(FAILED, "m-1", provider_code="UNDELIV 030045") == found


def test_an_intermediate_notification_is_not_final() -> None:
    """esm_class 0x20: the SMSC will try again, so a failure is "on its way"."""
    text = TEXT_FORM.format(id="m-1", stat="UNDELIV", err="001")
    assert DeliveryReport(SENT, "m-1", provider_code="UNDELIV 1") == receipt(text, esm_class=0x20)


@pytest.mark.parametrize("esm_class", [0x00, 0x08, 0x10, 0x40])
def test_an_incoming_sms_is_never_a_receipt(esm_class: int) -> None:
    """A citizen who texts us what looks like a receipt changes nothing."""
    assert receipt(TEXT_FORM.format(id="m-1", stat="DELIVRD", err="000"), esm_class=esm_class) is None


def test_an_smscs_own_parameter_makes_a_receipt() -> None:
    """Some SMSCs leave esm_class 0: only they can set receipted_message_id."""
    expected = DeliveryReport(DELIVERED, "m-1", provider_code="DELIVRD")
    assert expected == receipt(tlvs=[(MESSAGE_ID, b"m-1\0"), (STATE, b"\x02")], esm_class=0)


@pytest.mark.parametrize(("text", "tlvs"), [
    ("", []),
    ("id:m-1", []),
    ("stat:DELIVRD", []),
    ("id: stat:DELIVRD", []),
    ("id:m-1 stat:WHATEVER", []),
    ("id:" + "x" * 65 + " stat:DELIVRD", []),
    ("\x00\xff", []),
    ("", [(MESSAGE_ID, b"\xff\xfe\0"), (STATE, b"\x02")]),
    ("", [(MESSAGE_ID, b"\0"), (STATE, b"\x02")]),
    ("", [(MESSAGE_ID, b"m-1\0"), (STATE, b"")]),
    ("", [(MESSAGE_ID, b"m-1\0"), (STATE, b"\x63")]),
    ("", [(MESSAGE_ID, b"m-1\0"), (STATE, b"\x02" * 200)]),
])
def test_a_receipt_without_message_or_state_says_nothing(text: str, tlvs: list[tuple[int, bytes]]) -> None:
    """What names no message or says no state is not guessed at, and is no incoming SMS either: it is counted."""
    with pytest.raises(smpp_pdus.SaysNothing):
        receipt(text.encode("latin-1"), tlvs)


@given(st.binary(max_size=200), st.integers(0, 255), st.lists(st.tuples(
    st.sampled_from([MESSAGE_ID, STATE, NETWORK_ERROR, PAYLOAD, 0x1400]), st.binary(max_size=70),
), max_size=4))
def test_any_octets_are_read_or_not(text: bytes, esm_class: int, tlvs: list[tuple[int, bytes]]) -> None:
    """No deliver_sm makes the reader raise but what it documents, and what it gives can be kept."""
    found = None
    with suppress(smpp_pdus.SaysNothing):
        found = receipt(text, tlvs, esm_class=esm_class, data_coding=len(text) % 9)
    if found is not None:
        assert found.provider_id
        assert 64 >= len(found.provider_id)
        assert 64 >= len(found.provider_code or "")


def test_nonsense_is_refused_by_the_library_with_its_own_error() -> None:
    """The one exception that the gateway expects of the decoder is the one it raises."""
    with pytest.raises(SmppError):
        decode(b"\x00\x00\x00\x14\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff")


def decode_sm(body: bytes) -> Any:
    """Decode a submit_sm."""
    return decode((16 + len(body)).to_bytes(4) + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01" + body)


def from_gsm7(octets: bytes) -> str:
    """Read octets of the GSM alphabet, by positions in the two tables of the standard."""
    extension = dict(zip(bytes.fromhex("0a1428292f3c3d3e4065"), "\f^{}\\[~]|€", strict=True))
    basic = GSM7_BASIC[:0x1B] + "\x1b" + GSM7_BASIC[0x1B:]
    text, codes = "", iter(octets)
    for code in codes:
        text += extension[next(codes)] if code == 0x1B else basic[code]
    return text
