from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from bench.gateway import Gateway
from bench.sources import check_request, phone, start_request
from bench.table import Row, markdown, number
from support.processes import eventually

from otp_service.core.client import Client
from otp_service.core.messages import Catalogue
from otp_service.core.ports import HttpRequest, SmsMessage
from otp_service.core.verification import OwnershipPolicy, Purpose
from otp_service.web.requests import CheckBody, read_body, read_start
from sms_adapters.fake import FakeGateway

PURPOSE = Purpose("phone_only", OwnershipPolicy.NEVER)
ID = "7-k1-abcdefghijklmnopqrstuvwxyz"


def body_of(request: bytes) -> dict[str, str]:
    """Return the JSON of a request whose length is told right."""
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    found: dict[str, str] = orjson.loads(body)
    return found


@pytest.mark.parametrize("person", [0, 255, 256, 65_536, 9_999_999])
def test_every_start_of_the_load_is_one_that_the_service_accepts(person: int) -> None:
    """The load's starts are good ones: a benchmark of refusals would be quick and worthless."""
    found = read_start(
        body_of(start_request(person)), client=Client("bench-portal", purposes=frozenset({"phone_only"})),
        purposes={"phone_only": PURPOSE}, locale="vi",
    )

    assert "+84" + phone(person)[1:] == found.command.phone_number
    assert (f"10.{person // 65_536}.{person // 256 % 256}.{person % 256}") == found.command.end_user_ip


def test_every_check_of_the_load_is_one_that_the_service_accepts() -> None:
    """The load's checks carry the code in a body of the told length."""
    request = check_request(ID.encode(), b"012345")

    assert "012345" == read_body(CheckBody, body_of(request)).code
    assert request.startswith(f"POST /v1/verifications/{ID}/check HTTP/1.1\r\n".encode())


async def test_the_fake_gateway_reads_the_code_of_what_the_adapter_sends() -> None:
    """An SMS of the real catalogue, sent by the real adapter, gives its code and the verification's id once."""
    folder = Path(__file__).parents[2] / "config" / "messages"
    catalogue = Catalogue(
        {locale: tomllib.loads((folder / f"{locale}.toml").read_text("utf-8")) for locale in ("vi", "en")}, "vi",
    )
    told: list[tuple[bytes, bytes]] = []
    async with Gateway() as gateway, aiohttp.ClientSession() as session:
        gateway.listener = lambda *sms: told.append(sms)
        adapter = FakeGateway(gateway.url)
        for send_number in (1, 2):
            rendered = catalogue.sms(
                "vi", "phone_only", code="012345", validity_s=180, send_number=send_number, brand="Cong DVC", host=None,
            )
            request = adapter.build_request(SmsMessage(
                to="+84900000001", text=rendered.text, template_key=rendered.template_key, params=rendered.params,
                reference=f"{ID}-{send_number}", send_number=send_number, validity_s=180, segments=rendered.segments,
            ))
            assert isinstance(request, HttpRequest)
            async with session.request(request.method, request.url, headers=request.headers, data=request.body) as got:
                assert 200 == got.status
                await got.read()
        await asyncio.sleep(0)

    assert [(ID.encode(), b"012345")] == told
    assert {ID.encode(): b"012345"} == gateway.codes


async def handed_over(gateway: Gateway, *bodies: bytes) -> list[bytes]:
    """Hand SMS over, one after the other on one connection; returns the answers."""
    reader, writer = await asyncio.open_connection(*urlsplit(gateway.url).netloc.split(":"))
    answers = []
    try:
        for body in bodies:
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            answers.append(await reader.readuntil(b"}"))
    finally:
        writer.close()
    return answers


def sms(reference: str, code: str) -> bytes:
    """Return a hand-over's body."""
    return orjson.dumps({"reference": reference, "to": "+84900000001", "text": f"{code} la ma xac minh."})


async def test_duplicates_at_the_fake_gateway_are_counted() -> None:
    """A reference that comes again is a duplicate, and one with another code than before a contradiction."""
    async with Gateway() as gateway:
        await handed_over(gateway, sms(f"{ID}-1", "012345"), sms(f"{ID}-1", "012345"), sms(f"{ID}-2", "999999"))
        assert (3, 0) == (gateway.handed_over, gateway.contradicted)
        await handed_over(gateway, sms(f"{ID}-1", "543210"))
        assert (4, 1) == (gateway.handed_over, gateway.contradicted)
        gateway.forget()
        assert (0, 0) == (gateway.handed_over, gateway.contradicted)


async def test_the_fake_gateway_answers_late() -> None:
    """A late answer is the ordinary one, and does not come early."""
    loop = asyncio.get_running_loop()
    async with Gateway(answer_after_s=0.05) as gateway:
        began = loop.time()
        (answer,) = await handed_over(gateway, sms(f"{ID}-1", "012345"))
        assert loop.time() - began >= 0.049
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"id":"1"}')


async def test_late_answers_keep_nobody_waiting() -> None:
    """While nothing is answered every SMS is taken at once, and connections that are given up are forgotten."""
    async with Gateway(answer_after_s=3600) as gateway:
        waiting = [asyncio.create_task(handed_over(gateway, sms(f"{ID}-{at}", "012345"))) for at in range(1, 41)]
        await eventually(lambda: gateway.handed_over == 40, "every SMS at the gateway")
        assert 40 == gateway.connections
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await eventually(lambda: gateway.connections == 0, "the connections are gone")


def test_the_table_is_markdown_whatever_stands_in_it() -> None:
    """Line breaks and bars inside a cell do not break the table; no budget is neither met nor missed."""
    table = markdown([Row("a|b", "1\n2", "< 3", met=True), Row("c", "9", "< 3", met=False), Row("d", "5")], ["a fact"])

    assert [
        "| what | measured | budget | met |", "| --- | --- | --- | --- |", "| a\\|b | 1<br>2 | < 3 | yes |",
        "| c | 9 | < 3 | not met |", "| d | 5 |  |  |", "", "* a fact",
    ] == table.splitlines()


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1 234"), (1_000_000, "1 000 000")],
)
def test_numbers_are_shown_with_three_figures(value: float, shown: str) -> None:
    """Figures that mean nothing are left out, and thousands stand apart."""
    assert shown == number(value)
