"""
The row about killed workers: a full queue, and workers killed (SIGKILL) every second until it is empty.

A worker's second begins with its first hand-over: importing Python takes as long again, and a worker that dies before
it has touched anything proves nothing.  Whatever it had in hand waits for its lease to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from subprocess import Popen
from time import monotonic
from typing import Final

from redis.asyncio import Redis

from bench.effort import Effort
from bench.gateway import Gateway
from bench.house import environment, queued, run_filler, write_config
from bench.machine import Cores, running_on
from bench.processes import BenchmarkError, started
from bench.queue_delay import LATE_S
from bench.table import Row, number
from otp_service.storage.embedded import EmbeddedServer

_LIFE_S: Final = 1.0
#: A code that has expired is not sent: everything must be over before that.
_VALID_S: Final = 300
_GIVE_UP_S: Final = 240.0
_LOOK_EVERY_S: Final = 0.02


async def measure(folder: Path, cores: Cores, effort: Effort) -> Row:
    """Fill a queue before there is any worker, then start and kill workers until it is empty."""
    folder.mkdir()
    data_dir = folder / "data"
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway(answer_after_s=LATE_S))
        server = EmbeddedServer(data_dir)
        with running_on(cores.rest):
            await server.start()
        stack.push_async_callback(server.stop)
        redis = await stack.enter_async_context(Redis.from_url(server.url))
        environ = environment(write_config(folder), data_dir, gateway.url, server.url) | {
            "OTP__PURPOSES__PHONE_ONLY__CODE__VALIDITY_S": str(_VALID_S), "OTP__SERVER__PRIVATE_PORT": "0",
        }
        ids = await asyncio.to_thread(
            run_filler, folder, environ, cores.api, first=0, count=effort.killed, sample=effort.killed,
        )
        began = monotonic()
        with running_on(cores.rest):
            kills = await _kill_until_empty(redis, gateway, folder / "worker.log", environ, cores)
        seconds = monotonic() - began
    lost = {one.encode() for one in ids} - gateway.codes.keys()
    again = gateway.handed_over - len(gateway.codes)
    return Row(
        f"{number(len(ids))} queued SMS, the worker killed every second until the queue is empty",
        f"{len(lost)} lost, {again} handed over again, {gateway.contradicted} of them with another code;"
        f" {kills} kills in {seconds:.0f} s",
        "none lost", not lost and not gateway.contradicted,
    )


async def _kill_until_empty(
    redis: Redis, gateway: Gateway, log: Path, environ: Mapping[str, str], cores: Cores,
) -> int:
    """Let one worker live after the other until nothing is queued; returns how many were killed."""
    deadline, kills = monotonic() + _GIVE_UP_S, 0
    while await queued(redis):
        if monotonic() > deadline:
            raise BenchmarkError(f"{await queued(redis)} SMS are still queued after {_GIVE_UP_S:.0f} s, {kills} kills")
        with started(["-m", "otp_service", "worker"], cores=cores.api, environ=environ, log=log) as worker:
            await _live(worker, redis, gateway, log)
            if await queued(redis):
                worker.kill()
                kills += 1
        # What it had sent when it died counts before the next one's second begins.
        while gateway.connections:
            await asyncio.sleep(_LOOK_EVERY_S)
    return kills


async def _live(worker: Popen[bytes], redis: Redis, gateway: Gateway, log: Path) -> None:
    """Return a second after the worker's first hand-over, or when nothing is queued any more."""
    before, ends = gateway.handed_over, 0.0
    while await queued(redis) and not (ends and monotonic() >= ends):
        if worker.poll() is not None:
            raise BenchmarkError(f"the worker ended by itself; its log ends with:\n{log.read_text()[-2000:]}")
        if not ends and gateway.handed_over > before:
            ends = monotonic() + _LIFE_S
        await asyncio.sleep(_LOOK_EVERY_S)
