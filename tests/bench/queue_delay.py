"""The rows about SMS: how long one waits between the transition that queued it and the gateway."""

from __future__ import annotations

import asyncio
from datetime import datetime
from statistics import quantiles
from typing import Final

from bench.effort import Effort
from bench.house import House
from bench.load import Load
from bench.sources import Paced
from bench.table import Row, number

_PER_S: Final = 500
_P99_MS: Final = 50.0
#: What a provider takes to answer.
LATE_S: Final = 0.2


async def measure(house: House, effort: Effort) -> list[Row]:
    """Measure with a gateway that answers at once, then with one that answers as late as a provider does."""
    rows = [await _measured(house, effort, f"queue to gateway at {_PER_S} SMS/s")]
    house.gateway.answer_after_s = LATE_S
    rows.append(await _measured(
        house, effort, f"queue to gateway at {_PER_S} SMS/s, gateway answering after {LATE_S * 1000:.0f} ms",
    ))
    house.gateway.answer_after_s = 0.0
    return rows


async def _measured(house: House, effort: Effort, what: str) -> Row:
    """Start 500 verifications a second and compare when each was made with when the gateway had its SMS."""
    gateway = house.gateway
    gateway.forget()
    gateway.listener = None
    async with Load(house.api_port) as load:
        paced = Paced(effort.pace_s, _PER_S, load)
        clock_s, _ = await asyncio.gather(load.run(paced), paced.pace())
        await house.drained()
    # created_at is the store's clock in the transition that queued the SMS, cut to the millisecond below.
    waits_ms = [
        gateway.arrived_s[one] * 1000 - datetime.fromisoformat(created.decode()).timestamp() * 1000
        for one, created in paced.created.items()
    ]
    cuts = quantiles(waits_ms, n=100)
    return Row(
        what,
        f"p50 {number(cuts[49])} ms, p99 {number(cuts[98])} ms, longest {number(max(waits_ms))} ms"
        f" ({number(paced.good / clock_s)} SMS/s for {clock_s:.0f} s)",
        f"p99 < {_P99_MS:.0f} ms", cuts[98] < _P99_MS,
    )
