"""
The service as it is measured: ``otp-service serve`` alone on a core, the worker and an embedded store beside it.

The settings are the shipped ones with three differences: a client with a known key, the fake gateway, and the two
limits that a single portal could exhaust (of the client and of the service) opened.  Every verification has a phone
and an address of its own, so the others never refuse.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from bench.gateway import Gateway
from bench.machine import Cores, free_port, running_on
from bench.processes import ROOT, BenchmarkError, started, wait_until_ready
from bench.sources import API_KEY, PURPOSE
from otp_service.core.keyring import SHARDS
from otp_service.storage import keys
from otp_service.storage.embedded import EmbeddedServer

CLIENT: Final = "bench-portal"
_DRAIN_WITHIN_S: Final = 120.0

_CLIENTS: Final = f"""
[clients.{CLIENT}]
display_name = "Benchmark"
purposes = ["{PURPOSE}"]

[[clients.{CLIENT}.keys]]
digest = "sha256:{sha256(API_KEY.encode()).hexdigest()}"
expires = 2099-01-01
"""
_LIMITS: Final = ("CLIENT_SENDS", "SERVICE_SENDS", "CLIENT_UNPROVEN_SENDS", "ADDRESS_UNPROVEN_SENDS")
_OPEN: Final = {"COUNT": "1000000", "PERIOD": "1s", "BURST": "1000000"}


def write_config(folder: Path) -> Path:
    """Copy the shipped configuration and add the benchmark's client."""
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "clients.toml").write_text(_CLIENTS)
    return config


def environment(config: Path, data_dir: Path, gateway_url: str, store_url: str = "") -> dict[str, str]:
    """Return the variables that make the shipped settings the benchmark's."""
    opened = {
        f"OTP__LIMITS__{limit}__{name}": value
        for limit in _LIMITS for name, value in _OPEN.items()
    }
    return {
        **opened, "OTP_CONFIG_DIR": str(config), "OTP__STORE__DATA_DIR": str(data_dir), "OTP__STORE__URL": store_url,
        "OTP__SENDING__GATEWAYS": "fake", "OTP__GATEWAYS__FAKE__OPTIONS__URL": gateway_url, "OTP__SERVER__DRAIN_S": "0",
    }


@dataclass(frozen=True, slots=True)
class House:
    """The running service: how to reach it, and what to watch."""

    api_pid: int
    worker_pid: int
    api_port: int
    private_port: int
    bare_pid: int
    bare_port: int
    redis: Redis
    gateway: Gateway

    async def drained(self) -> None:
        """Return when no SMS is queued any more."""
        deadline = monotonic() + _DRAIN_WITHIN_S
        while await queued(self.redis):
            if monotonic() > deadline:
                raise BenchmarkError(f"the worker has not emptied the queue in {_DRAIN_WITHIN_S:.0f} s")
            await asyncio.sleep(0.05)

    @contextmanager
    def worker_paused(self) -> Iterator[None]:
        """Let the worker rest: what is queued meanwhile is sent afterwards."""
        os.kill(self.worker_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.worker_pid, signal.SIGCONT)

    def counted(self, sample: str) -> float:
        """Return a counter of the API process."""
        connection = HTTPConnection("127.0.0.1", self.private_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = (one for family in text_string_to_metric_families(text) for one in family.samples)
        return next(one.value for one in found if one.name == sample)


@asynccontextmanager
async def opened(folder: Path, cores: Cores) -> AsyncIterator[House]:
    """Start store, API, worker and the bare handlers with their data in ``folder``, and end them all again."""
    data_dir = folder / "data"
    config = write_config(folder)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway())
        server = EmbeddedServer(data_dir)
        with running_on(cores.rest):
            await server.start()
        stack.push_async_callback(server.stop)
        redis = await stack.enter_async_context(Redis.from_url(server.url))
        environ = environment(config, data_dir, gateway.url)

        def run(name: str, arguments: list[str], allowed: frozenset[int], ready: tuple[int, str], **more: str) -> int:
            log = folder / f"{name}.log"
            process = stack.enter_context(started(arguments, cores=allowed, environ=environ | more, log=log))
            wait_until_ready(process, *ready, log)
            return process.pid

        api, private, worker, bare = free_port(), free_port(), free_port(), free_port()
        api_pid = run(
            "api", ["-m", "otp_service", "serve"], cores.api, (api, "/readyz"),
            OTP__SERVER__PORT=str(api), OTP__SERVER__PRIVATE_PORT=str(private),
        )
        worker_pid = run(
            "worker", ["-m", "otp_service", "worker"], cores.rest, (worker, "/readyz"),
            OTP__SERVER__PRIVATE_PORT=str(worker),
        )
        bare_pid = run(
            "bare", ["-m", "bench.bare", str(bare)], cores.api, (bare, "/bare"), OTP__STORE__URL=server.url,
        )
        yield House(api_pid, worker_pid, api, private, bare_pid, bare, redis, gateway)


async def queued(redis: Redis) -> int:
    """Return how many SMS no worker has finished."""
    pipeline = redis.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipeline.xlen(keys.sms_queue(shard))
    return sum(await pipeline.execute())


def run_filler(
    folder: Path, environ: Mapping[str, str], cores: frozenset[int], *, first: int, count: int, sample: int,
) -> list[str]:
    """Run one process of ``bench/fill.py`` to its end and return the ids it prints."""
    log = folder / f"fill-{first}.log"
    arguments = ["-m", "bench.fill", str(first), str(count), str(sample)]
    with started(arguments, cores=cores, environ=environ, log=log) as process:
        code = process.wait()
    printed = log.read_text()
    if code != 0:
        raise BenchmarkError(f"filling failed:\n{printed}")
    return printed.split()


async def info(redis: Redis, section: str) -> dict[str, Any]:
    """Return a section of what the store says of itself."""
    found: dict[str, Any] = await redis.info(section)
    return found
