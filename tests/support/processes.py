"""
Real processes of the service: each in a group of its own, known by its own id, watched by what it logs.

::

    async with Installation(tmp_path, gateway_url=gateway.url) as site:
        api, worker = await site.serve(), await site.worker()
        worker.kill()
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from otp_service.storage.embedded import EmbeddedServer

Found = TypeVar("Found")

DEADLINE_S = 30.0
_POLL_S = 0.01
_TESTS = Path(__file__).resolve().parents[1]
_CONFIG = _TESTS.parent / "config"

#: The keys of the two portals of every installation.  ``OTHER_KEY`` is another client's.
PORTAL_KEY = "otp_live_" + "artificial-portal-key-of-the-tests-00000000"
OTHER_KEY = "otp_live_" + "artificial-key-of-another-portal-0000000000"
#: A browser origin of the first portal.
ORIGIN = "https://portal.example.vn"

_CLIENTS = """\
[clients.portal]
display_name = "Portal"
purposes = ["registration", "account_link", "sign_in", "password_reset", "assisted_registration", "phone_only"]
origins = ["{origin}"]
proof = "never"
[[clients.portal.keys]]
digest = "sha256:{portal}"
expires = 2999-01-01
scopes = ["verify", "read", "redeem", "evidence", "metrics"]

[clients.other]
display_name = "Another portal"
purposes = ["registration", "phone_only"]
origins = ["https://other.example.vn"]
proof = "never"
[[clients.other.keys]]
digest = "sha256:{other}"
expires = 2999-01-01
"""

#: Log lines that mean a defect of ours, whatever was done to the process.
_DEFECTS = frozenset({
    "defect", "send failed", "ownership check failed", "webhook failed", "worker stopped", "readiness check failed",
})
_COMPLAINT = re.compile(r"Traceback|Warning:|Exception ignored|never retrieved|never awaited")


async def eventually(
    condition: Callable[[], Found | Awaitable[Found | None] | None], what: str, within_s: float = DEADLINE_S,
) -> Found:
    """Return the first true value of ``condition``, asked again and again; fails loudly after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        given = condition()
        found = await given if isinstance(given, Awaitable) else given
        if found:
            return found
        if loop.time() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(_POLL_S)


def free_port() -> int:
    """Return a loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Run:
    """One process.  ``base`` and ``private`` are the addresses of its listeners."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], out: Path, err: Path, port: int = 0) -> None:
        self.name = name
        self.popen = popen
        self.base = f"http://127.0.0.1:{port}"
        self._out, self._err = out, err

    @property
    def stdout(self) -> str:
        """All it has written so far."""
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """All it has complained of so far."""
        return self._err.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its complete log lines of one event."""
        lines = (line for line in self.stdout.split("\n")[:-1] if line.startswith("{"))
        return [event for event in map(json.loads, lines) if event["event"] == name]

    @property
    def private(self) -> str:
        """The private listener's address."""
        return f"http://{self.events('private listener')[0]['address']}"

    async def ready(self) -> Self:
        """Wait until it says that it is ready."""
        def is_ready() -> bool:
            if self.popen.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}: {self.stdout}{self.stderr}")
            return bool(self.events("ready"))

        await eventually(is_ready, f"{self.name} ready")
        return self

    def terminate(self) -> None:
        """Ask it to stop, as a supervisor does."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a power cut does, and reap it."""
        self._signal(signal.SIGKILL)
        self.popen.wait(DEADLINE_S)

    async def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        await eventually(lambda: self.popen.poll() is not None, f"{self.name} ended")
        return self.popen.returncode

    async def stop(self) -> int:
        """Ask it to stop and wait for it."""
        self.terminate()
        return await self.ended()

    def complaints(self) -> list[str]:
        """Return what no run may leave behind: tracebacks, warnings, defects."""
        lines = [line for line in (self.stdout + self.stderr).splitlines() if _COMPLAINT.search(line)]
        return lines + [json.dumps(event) for name in sorted(_DEFECTS) for event in self.events(name)]

    def _signal(self, number: signal.Signals) -> None:
        # Its own id and group, and only while it is our child: an id that was reaped may be somebody else's.
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, number)


class Installation:
    """
    One installation of the service: settings, data, and every process that a test starts on them.

    At its end everything is killed, and a traceback, warning or defect in any log fails the test.

    Args:
        root: a folder of its own.
        gateway_url: where SMS go; needed by ``serve`` and ``worker``.
        settings: ``SECTION__NAME=value``, as in the environment, for every process.
    """

    def __init__(self, root: Path, *, gateway_url: str = "", **settings: str) -> None:
        self.root = root
        self.data_dir = root / "data"
        self.config_dir = root / "config"
        self.runs: list[Run] = []
        self._logs = root / "logs"
        self._logs.mkdir(parents=True)
        shutil.copytree(_CONFIG, self.config_dir)
        digests = {"portal": sha256(PORTAL_KEY.encode()), "other": sha256(OTHER_KEY.encode())}
        (self.config_dir / "clients.toml").write_text(
            _CLIENTS.format(origin=ORIGIN, **{name: digest.hexdigest() for name, digest in digests.items()}),
        )
        self.settings = {"STORE__DATA_DIR": str(self.data_dir), "SERVER__DRAIN_S": "0", **settings}
        if gateway_url:
            self.settings = {"SENDING__GATEWAYS": "fake", "GATEWAYS__FAKE__OPTIONS__URL": gateway_url} | self.settings

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.kill_everything()
        complaints = [f"{run.name}: {line}" for run in self.runs for line in run.complaints()]
        if kind is None and complaints:
            raise AssertionError("\n".join(complaints))

    @property
    def store_url(self) -> str:
        """The embedded server's address, whether or not it is up."""
        return EmbeddedServer(self.data_dir).url

    def store(self) -> redis_asyncio.Redis:
        """Give a client of the embedded server; it tries once."""
        return redis_asyncio.Redis.from_url(self.store_url, retry=Retry(NoBackoff(), 0))

    async def record(self, verification_id: str) -> dict[str, str]:
        """Return a verification's record as the store has it; fields as in ``scripts/_verification.lua``."""
        async with self.store() as store:
            (key,) = [key async for key in store.scan_iter(f"otp:*:v:{verification_id}")]
            found: Mapping[Any, Any] = await store.hgetall(key)
        return {name.decode(): value.decode(errors="replace") for name, value in found.items()}

    async def demo(self, **settings: str) -> Run:
        """Start the demo and wait until it is ready."""
        port = free_port()
        more = {"PORT": str(port), "DATA_DIR": str(self.data_dir)}
        run = self.launch("demo", port=port, environ=more, settings={"SERVER__PRIVATE_PORT": "0", **settings})
        return await run.ready()

    async def serve(self, **settings: str) -> Run:
        """Start an API process and wait until it is ready."""
        port = free_port()
        own = {"SERVER__PORT": str(port), "SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}"}
        own["SERVER__PRIVATE_PORT"] = "0"
        return await self.launch("serve", port=port, settings=own | settings).ready()

    async def worker(self, **settings: str) -> Run:
        """Start a worker and wait until it is ready."""
        return await self.launch("worker", settings={"SERVER__PRIVATE_PORT": "0", **settings}).ready()

    def launch(
        self, *command: str, port: int = 0, program: tuple[str, ...] = ("-m", "otp_service"),
        environ: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a process; any warning is an error in it."""
        name = f"{len(self.runs):02d}-{command[0]}"
        out, err = self._logs / f"{name}.out", self._logs / f"{name}.err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            popen = subprocess.Popen(
                [sys.executable, "-W", "error", *program, *command], stdin=subprocess.DEVNULL, stdout=to_out,
                stderr=to_err, cwd=self.root, env=self._environ(settings or {}) | dict(environ or {}),
                start_new_session=True,
            )
        run = Run(name, popen, out, err, port)
        self.runs.append(run)
        return run

    async def command(self, *words: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line to its end."""
        return await asyncio.to_thread(
            subprocess.run, [sys.executable, "-W", "error", "-m", "otp_service", *words], input=stdin, text=True,
            capture_output=True, cwd=self.root, env=self._environ(settings), timeout=DEADLINE_S, check=False,
            start_new_session=True,
        )

    def _environ(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return a process's environment: nothing of ours but what was asked for."""
        kept = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("OTP_", "COV_")) and name not in {"PORT", "DATA_DIR", "PYTHONWARNINGS"}
        }
        ours = {f"OTP__{name}": value for name, value in (self.settings | dict(settings)).items()}
        own = {"PYTHONPATH": f"{_TESTS.parent}:{_TESTS}", "OTP_CONFIG_DIR": str(self.config_dir), "NO_COLOR": "1"}
        return kept | own | ours

    def kill_store(self) -> None:
        """Kill the embedded server as a power cut does, and wait until it is gone."""
        pid = self._store_pid()
        assert pid is not None, "no embedded server"
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.set_blocking(descriptor, True)
            _wait_for_end(descriptor)
        finally:
            os.close(descriptor)

    def kill_everything(self) -> None:
        """Kill every process that was started here, and the store, at once."""
        for run in self.runs:
            run._signal(signal.SIGKILL)
        if self._store_pid() is not None:
            self.kill_store()
        for run in self.runs:
            run.popen.wait(DEADLINE_S)

    def _store_pid(self) -> int | None:
        """Return the embedded server's id, if the process of that id really is this installation's."""
        pid = EmbeddedServer(self.data_dir).pid
        if pid is None:
            return None
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return None
        return pid if b"valkey" in words.lower() and self._is_in_store(pid) else None

    def _is_in_store(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").resolve() == (self.data_dir / "store").resolve()
        except FileNotFoundError:
            return False


def _wait_for_end(descriptor: int) -> None:
    """Wait until the process behind a pidfd has ended (pidfd_open(2): it becomes readable)."""
    import select  # noqa: PLC0415 - the only place that waits for a process which is not our child

    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(DEADLINE_S * 1000), "the store did not die"
