"""The row about one worker's speed: how fast it empties a queue into a gateway that answers as late as a provider."""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import Final

from bench.effort import Effort
from bench.house import House
from bench.load import Load
from bench.machine import Cores, cpu_s, running_on
from bench.processes import BenchmarkError
from bench.queue_delay import LATE_S
from bench.rates import Rate
from bench.sources import Starts
from bench.table import Row, number

_PER_S: Final = 500
_FILL_WITHIN_S: Final = 60.0
_DONE_WITHIN_S: Final = 60.0
#: The first and the last of a backlog are left out: connections are being made, hands are running empty.
_FROM: Final = 0.2
_TO: Final = 0.9


async def measure(house: House, cores: Cores, effort: Effort) -> Row:
    """Queue SMS while the worker rests, then give it the measured core and see how fast they come."""
    gateway = house.gateway
    gateway.forget()
    gateway.answer_after_s, gateway.listener = LATE_S, None
    try:
        with house.worker_paused():
            async with Load(house.api_port) as load:
                starts = Starts(_FILL_WITHIN_S, most=effort.backlog)
                await load.run(starts)
            # The API has nothing to do now.
            os.sched_setaffinity(house.worker_pid, cores.api)
        with running_on(cores.rest):
            rate = await _steady(house, len(starts.ids))
            await house.drained()
    finally:
        gateway.answer_after_s = 0.0
        os.sched_setaffinity(house.worker_pid, cores.rest)
    return Row(
        f"one worker process, {number(len(starts.ids))} SMS queued, gateway answering after {LATE_S * 1000:.0f} ms",
        f"{number(rate.per_s)} SMS/s by the clock (its core {rate.cpu_s / rate.clock_s:.0%} busy),"
        f" {number(rate.per_cpu_s)} per CPU second",
        f"≥ {_PER_S} SMS/s", rate.per_s >= _PER_S,
    )


async def _steady(house: House, queued: int) -> Rate:
    began_s, began_cpu_s, began = await _reached(house, round(queued * _FROM))
    ended_s, ended_cpu_s, ended = await _reached(house, round(queued * _TO))
    return Rate(ended - began, ended_cpu_s - began_cpu_s, ended_s - began_s)


async def _reached(house: House, count: int) -> tuple[float, float, int]:
    """Wait for so many SMS; returns the clock, the worker's CPU seconds, and how many there are exactly."""
    deadline = monotonic() + _DONE_WITHIN_S
    while len(house.gateway.arrived_s) < count:
        if monotonic() > deadline:
            raise BenchmarkError(f"not {count} SMS in {_DONE_WITHIN_S:.0f} s")
        await asyncio.sleep(0.01)
    return monotonic(), cpu_s(house.worker_pid), len(house.gateway.arrived_s)
