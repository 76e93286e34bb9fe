"""Connections to addresses that others chose: the public internet and nowhere else, and nothing that lies gets far."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from support.smsc.certificates import Authority
from support.webhooks import Receiver

from otp_service.core.ports import HttpResponse, NoAnswer
from otp_service.delivery import guarded
from otp_service.delivery.guarded import Address, Answer, GuardedConnections, is_public

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "168.63.129.15", "168.63.129.17",
    "172.15.0.1", "172.32.0.1", "192.167.1.1", "223.255.255.1",
    "2600::1", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
]
NOT_PUBLIC = [
    # private, loopback, link-local and its metadata service, unspecified, shared (carriers), reserved, multicast
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0",
    "0.1.2.3", "100.64.0.1", "100.127.255.255", "240.0.0.1", "255.255.255.255", "224.0.0.1", "239.1.1.1",
    # documentation, benchmarks, protocol assignments, the 6to4 relay
    "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "198.19.255.255", "192.0.0.8", "192.88.99.1",
    # name servers of nowhere (AS112), multicast relays (AMT), the host of a machine at Azure
    "192.31.196.1", "192.175.48.1", "192.52.193.1", "168.63.129.16",
    # the same in IPv6
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "3fff::1",
    "100::1", "5f00::1", "4000::1",
    # IPv4 inside IPv6: mapped, compatible, NAT64 (also a local one), 6to4, Teredo, ORCHID
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1", "::8.8.8.8",
    "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1",
    "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2620:4f:8000::1", "::ffff:168.63.129.16",
]


class Names(AbstractResolver):
    """A name server that a test plays: every look-up gets the next answer, the last one for good."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - as it is called
    ) -> list[ResolveResult]:
        """Answer as scripted."""
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [
            ResolveResult(
                hostname=host, host=one, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
            )
            for one in answer.split()
        ]

    async def close(self) -> None:
        """There is nothing to close."""


async def post(url: str, *, timeout_s: float = 5.0, **options: Any) -> HttpResponse | NoAnswer:
    """Make one POST over new connections."""
    async with GuardedConnections(**options) as connections:
        return await connections.post(url, {"x-test": "1"}, b"{}", timeout_s=timeout_s)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver on loopback."""
    async with Receiver().open() as receiver:
        yield receiver


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(answer: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that speaks no HTTP but what a test says; gives its port."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    """Addresses of the public internet are let through, those of IPv4 also where NAT64 writes them as IPv6."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public(address: str) -> None:
    """Everything else is refused, however it is wrapped."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("host", [
    "127.0.0.1", "0x7f.1", "127.1", "2130706433", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "localhost", "169.254.169.254", "10.0.0.1", "[fe80::1]", "[64:ff9b::7f00:1]",
])
async def test_no_spelling_of_an_address_gets_through(host: str, receiver: Receiver) -> None:
    """Loopback, private and link-local addresses are refused at the socket, however they are written."""
    answer = await post(f"http://{host}:{receiver.port}/")
    # Numbers that only some read as addresses do not even get as far as that.
    odd = host in {"127.1", "2130706433", "0177.0.0.1", "0"}
    assert NoAnswer("url_refused" if odd else "address_refused") == answer
    assert [] == receiver.taken


async def test_a_name_that_leads_to_loopback_is_refused(receiver: Receiver) -> None:
    """A public name whose address is private is refused after resolution; of several addresses none is tried."""
    for addresses in ("127.0.0.1", "::1", "127.0.0.1 10.0.0.1 ::ffff:127.0.0.1"):
        names = Names(addresses)
        answer = await post(f"http://webhooks.example.vn:{receiver.port}/", resolver=names)
        assert NoAnswer("address_refused") == answer
        assert ["webhooks.example.vn"] == names.asked
    assert [] == receiver.taken


def as_if_public(address: Address) -> bool:
    """Let 127.0.0.2 play the public internet, because tests reach no other host."""
    return address == ip_address("127.0.0.2")


async def test_rebinding_a_name_does_not_help() -> None:
    """A name that was public when first asked and is private when connected to again is refused (DNS rebinding)."""
    async with Receiver(host="127.0.0.2", answer=(204, {"connection": "close"})).open() as outside:
        inside = Receiver(port=outside.port)
        async with inside.open(), GuardedConnections(
            resolver=Names("127.0.0.2", "127.0.0.1"), public=as_if_public,
        ) as connections:
            url = f"http://webhooks.example.vn:{outside.port}/"
            first = await connections.post(url, {}, b"{}", timeout_s=5)
            connector: Any = connections._world.connector
            connector.clear_dns_cache()
            second = await connections.post(url, {}, b"{}", timeout_s=5)
        assert isinstance(first, HttpResponse)
        assert (204, 1) == (first.status, len(outside.taken))
        assert NoAnswer("address_refused") == second
        assert [] == inside.taken


async def test_of_mixed_addresses_the_public_one_is_taken() -> None:
    """Where a name leads to private and public addresses, only the public one is connected to."""
    async with Receiver(host="127.0.0.2").open() as outside, Receiver(port=outside.port).open() as inside:
        answer = await post(
            f"http://webhooks.example.vn:{outside.port}/", resolver=Names("127.0.0.1 127.0.0.2"), public=as_if_public,
        )
        assert isinstance(answer, HttpResponse)
        assert (1, 0) == (len(outside.taken), len(inside.taken))


async def test_a_client_of_the_demo_reaches_loopback_and_nothing_else(receiver: Receiver) -> None:
    """Where loopback is allowed its names lead there, but only to there, and other names do not."""
    names = Names("10.0.0.1")
    for host in ("127.0.0.1", "localhost"):
        answer = await post(f"http://{host}:{receiver.port}/", loopback=True)
        assert isinstance(answer, HttpResponse)
    assert NoAnswer("address_refused") == await post(
        f"http://localhost:{receiver.port}/", loopback=True, resolver=names,
    )
    assert NoAnswer("address_refused") == await post(
        f"http://inside.example.vn:{receiver.port}/", loopback=True, resolver=Names("127.0.0.1"),
    )
    assert 2 == len(receiver.taken)


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    """A redirect is an answer like any other: nobody is sent on to an address of the receiver's choice."""
    receiver.answer = (307, {"location": f"http://127.0.0.1:{receiver.port}/inner"})
    answer = await post(receiver.url, loopback=True)
    assert isinstance(answer, HttpResponse)
    assert (307, ["/otp"]) == (answer.status, [taken.path for taken in receiver.taken])


async def test_no_proxy_and_no_cookie(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and passwords of the environment are not used, cookies are not kept, and we say little of ourselves."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    receiver.answer = (204, {"set-cookie": "a=1"})
    async with GuardedConnections(loopback=True) as connections:
        for _ in range(2):
            answer = await connections.post(receiver.url, {"x-test": "1"}, b"{}", timeout_s=5)
            assert isinstance(answer, HttpResponse)
    for taken in receiver.taken:
        assert {"host", "x-test", "user-agent", "accept", "accept-encoding", "content-length", "content-type"} == set(
            taken.headers,
        )
        assert "otp-service" == taken.headers["user-agent"]


async def test_of_an_answer_little_is_read(receiver: Receiver) -> None:
    """Of a long answer 4 KiB are looked at, and the connection is dropped."""
    receiver.body = b"x" * 5_000_000
    answer = await post(receiver.url, loopback=True)
    assert isinstance(answer, HttpResponse)
    assert (204, b"") == (answer.status, answer.body)
    receiver.answer = (200, {})
    answer = await post(receiver.url, loopback=True)
    assert isinstance(answer, HttpResponse)
    assert (200, 4096, False) == (answer.status, len(answer.body), answer.whole)


async def test_compressed_answers_stay_compressed(receiver: Receiver) -> None:
    """A small answer that would unpack into a large one is not unpacked."""
    receiver.answer, receiver.body = (200, {"content-encoding": "gzip"}), b"not gzip at all"
    answer = await post(receiver.url, loopback=True)
    assert isinstance(answer, HttpResponse)
    assert b"not gzip at all" == answer.body


async def test_a_status_counts_without_its_body() -> None:
    """A receiver that says 200 and then keeps us waiting for the rest has taken it."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha")
        asked.set()
        await reader.read()

    async with raw(answer) as port, asyncio.timeout(10):
        found = await post(f"http://127.0.0.1:{port}/", loopback=True, timeout_s=60)
    assert asked.is_set()
    assert isinstance(found, HttpResponse)
    assert (200, b"ha", False) == (found.status, found.body, found.whole)


@pytest.mark.parametrize("said", [
    b"", b"\x00\xff\x00 what", b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
])
async def test_what_is_no_http_is_no_answer(said: bytes) -> None:
    """A receiver that closes at once or talks nonsense has not answered; nothing of ours breaks."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(said)
        await writer.drain()

    async with raw(answer) as port:
        found = await post(f"http://127.0.0.1:{port}/", loopback=True)
    assert NoAnswer("connection_lost", maybe_taken=True, lost=True) == found


def endless(first: bytes, more: bytes, ended: asyncio.Event) -> Talk:
    """Return a receiver that talks as long as anybody listens, and then sets ``ended``."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"{}")
            writer.write(first)
            while True:
                writer.write(more)
                await writer.drain()
        finally:
            ended.set()

    return answer


@pytest.mark.parametrize("more", [
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2000,
])
async def test_a_flood_before_the_answer_ends(more: bytes) -> None:
    """A receiver that says "wait" without an end is hung up on after 32 KiB, whatever time it has (Invariant 14)."""
    ended = asyncio.Event()
    async with raw(endless(b"", more, ended)) as port, asyncio.timeout(10):
        found = await post(f"http://127.0.0.1:{port}/", loopback=True, timeout_s=60)
        await ended.wait()
    assert NoAnswer("too_much", maybe_taken=True) == found


@pytest.mark.parametrize(("first", "more"), [
    (b"1", b";a=b" * 10_000), (b"", b"1;" + b"x" * 8000 + b"\r\ny\r\n"),
])
async def test_a_flood_in_the_answer_ends(first: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a body that is all wrapping 32 KiB are taken: the status counts, and the flood is told (Invariant 14)."""
    monkeypatch.setattr(guarded, "_BODY_S", 60)
    ended = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with raw(endless(head + first, more, ended)) as port, asyncio.timeout(10):
        found = await post(f"http://127.0.0.1:{port}/", loopback=True, timeout_s=60)
        await ended.wait()
    assert isinstance(found, Answer)
    assert (200, True, False) == (found.status, found.flooded, found.whole)


async def test_every_exchange_is_counted_by_itself() -> None:
    """A connection that is used again is not hung up on for all that it has carried before."""
    callers: list[asyncio.StreamWriter] = []
    head = b"HTTP/1.1 200 OK\r\nfilling: %b\r\ncontent-length: 4000\r\n\r\n" % (b"x" * 4000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        while True:
            await reader.readuntil(b"{}")
            writer.write(head + b"y" * 4000)

    async with raw(answer) as port, GuardedConnections(loopback=True) as connections:
        for _ in range(20):
            found = await connections.post(f"http://127.0.0.1:{port}/", {}, b"{}", timeout_s=5)
            assert isinstance(found, Answer)
            assert (200, 4000, True, False) == (found.status, len(found.body), found.whole, found.flooded)
    assert 1 == len(callers)


async def test_silence_ends(receiver: Receiver) -> None:
    """A receiver that says nothing is waited for as long as it was given, then it may have taken it."""
    receiver.gate = asyncio.Event()
    assert NoAnswer("timeout", maybe_taken=True) == await post(receiver.url, loopback=True, timeout_s=1.0)
    assert 1 == len(receiver.taken)


async def test_where_nobody_listens() -> None:
    """A closed port and a name that does not exist are told apart, for whoever looks at the log."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert NoAnswer("connection_refused") == await post(f"http://127.0.0.1:{port}/", loopback=True)
    lost = Names(OSError("no such name"))
    assert NoAnswer("name_not_found") == await post("https://nowhere.example.vn/", resolver=lost)
    for broken in ("https://a..b/", "https://example.vn:99999/", "https://[::1/", "not a url"):
        assert NoAnswer("url_refused") == await post(broken)


async def test_certificates_are_checked(tmp_path: Path) -> None:
    """A receiver whose certificate nobody vouches for gets nothing."""
    key, certificate = Authority(tmp_path).issue("localhost")
    (tmp_path / "both.pem").write_text(key + certificate)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "both.pem")
    came: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(1))

    async with raw(answer, tls) as port:
        assert NoAnswer("tls_failed") == await post(f"https://localhost:{port}/", loopback=True)
    assert [] == came


async def test_dead_name_servers_hold_up_nobody(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are never answered hold up no other name, nor anything else in the process (Invariant 14)."""
    import threading  # noqa: PLC0415 - for what blocks in a thread, as getaddrinfo does

    release = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *args: Any, **options: Any) -> Any:
        if host.endswith("dead.example.vn"):
            release.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(4))
    async with GuardedConnections(loopback=True) as connections:
        dead = [
            asyncio.create_task(connections.post(f"https://{at}.dead.example.vn/", {}, b"{}", timeout_s=60))
            for at in range(20)
        ]
        try:
            answer = await connections.post(f"http://localhost:{receiver.port}/", {}, b"{}", timeout_s=5)
            assert isinstance(answer, HttpResponse)
            async with asyncio.timeout(5):
                assert 1 == await loop.run_in_executor(None, int, "1")
        finally:
            release.set()
        assert {NoAnswer("name_not_found")} == set(await asyncio.gather(*dead))
