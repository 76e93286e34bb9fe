"""The sample portal's process: there with the demo, gone with it, and told nothing but what a client is told."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.demo import Demo
from support.http import Api
from support.processes import Installation, Run, eventually


@dataclass(frozen=True)
class PortalProcess:
    """The portal's process as the system knows it."""

    url: str
    descriptor: int
    words: str
    environ: dict[str, str] = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether it is gone (pidfd_open(2): the descriptor becomes readable)."""
        poller = select.poll()
        poller.register(self.descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def kill(self) -> None:
        """Kill it as a power cut does."""
        signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Installation]:
    """Give an installation of its own, so that a test may kill its demo; its settings hold a secret."""
    async with Installation(tmp_path / "site", GATEWAYS__ESMS__OPTIONS__SECRET_KEY="not-for-the-portal") as site:
        yield site


@pytest.fixture
def keeping() -> Iterator[ExitStack]:
    """Close what a test has opened."""
    with ExitStack() as stack:
        yield stack


async def portal_of(site: Installation, run: Run, keeping: ExitStack) -> PortalProcess:
    """Return the portal's process of a demo, once it answers."""
    url = await Demo(site, run).portal()

    def child() -> int | None:
        for pid in Path(f"/proc/{run.popen.pid}/task/{run.popen.pid}/children").read_text().split():
            if b"otp_service.portal_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        return None

    pid = await eventually(child, "the portal's process")
    descriptor = os.pidfd_open(pid)
    keeping.callback(os.close, descriptor)
    words = Path(f"/proc/{pid}/cmdline").read_text()
    environ = dict(line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if line)
    portal = PortalProcess(url, descriptor, words, environ)
    async with Api(portal.url, None) as anybody:
        assert 200 == (await anybody.get("/livez")).status
    return portal


async def test_the_portal_is_a_client_like_any_other(site: Installation, keeping: ExitStack) -> None:
    """It is told where the service is, a key and a secret, by environment alone, and nothing of the settings."""
    run = await site.demo()
    portal = await portal_of(site, run, keeping)
    told = {name: value for name, value in portal.environ.items() if name.startswith(("PORTAL_", "OTP_"))}
    secrets = [told.pop("PORTAL_API_KEY"), told.pop("PORTAL_WEBHOOK_SECRET")]

    assert {
        "PORTAL_OTP_URL": run.base, "PORTAL_DATA_DIR": str(site.data_dir / "portal"),
        "PORTAL_PHONE_URL": f"{run.base}/demo/phone",
    } == {name: value for name, value in told.items() if name != "PORTAL_LISTEN_FD"}
    assert "not-for-the-portal" not in str(portal.environ)
    for secret in secrets:
        assert len(secret) > 40
        assert secret not in run.stdout + run.stderr + portal.words
    async with Api(portal.url, None) as anybody:
        home = await anybody.get("/")
        assert (200, True) == (home.status, f"{run.base}/demo/phone" in home.body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_the_portal_ends_with_the_demo(site: Installation, keeping: ExitStack, number: signal.Signals) -> None:
    """Stopped, interrupted from the keyboard or killed: the demo leaves no portal behind, and its port is free."""
    run = await site.demo()
    portal = await portal_of(site, run, keeping)
    run._signal(number)
    assert (0 if number != signal.SIGKILL else -number) == await run.ended()
    # A demo that is asked to end waits for its portal; one that is killed cannot.
    assert portal.ended or number == signal.SIGKILL
    await eventually(lambda: portal.ended, "the portal's end")
    host, _, port = portal.url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        assert 0 != probe.connect_ex((host, int(port)))


async def test_the_service_goes_on_without_the_portal(site: Installation, keeping: ExitStack) -> None:
    """A portal that dies is said to have ended; the service answers, and stops in order."""
    run = await site.demo()
    (await portal_of(site, run, keeping)).kill()
    (ended,) = await eventually(lambda: run.events("the sample portal ended"), "a word about the portal's end")
    assert -signal.SIGKILL == ended["exit_code"]
    async with Api(run.base, None) as anybody:
        assert 200 == (await anybody.get("/livez")).status
    assert 0 == await run.stop()


async def test_a_taken_port(site: Installation, keeping: ExitStack) -> None:
    """The portal stands beside the demo, on the next port; where that is taken, on any."""
    with socket.create_server(("127.0.0.1", 0)) as mine, socket.socket() as taken:
        port = mine.getsockname()[1]
        with suppress(OSError):  # taken by somebody else will do
            taken.bind(("127.0.0.1", port + 1))
            taken.listen()
        mine.close()
        run = await site.launch(
            "demo", port=port, environ={"PORT": str(port), "DATA_DIR": str(site.data_dir)},
            settings={"SERVER__PRIVATE_PORT": "0"},
        ).ready()
        portal = await portal_of(site, run, keeping)
        assert portal.url not in {f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"}
