"""Everything in its order: the service once, then growth on a store of its own, then cold starts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import monotonic
from typing import Final

from rich.console import Console

from bench import growth, house, queue_delay, rates, startup, store_use, worker_kills, worker_rate
from bench.effort import Effort
from bench.machine import describe, share_out
from bench.processes import ROOT
from bench.table import Row, markdown, show

_REPORT: Final = ROOT / "build" / "bench.md"


async def run(effort: Effort) -> None:
    """Measure everything, print the table and write it to ``build/bench.md``."""
    began, progress = monotonic(), Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        progress.print(f"{monotonic() - began:4.0f} s  {text}")

    cores = share_out()
    _REPORT.parent.mkdir(exist_ok=True)
    rows: list[Row] = []
    # Beside the project, not in a folder that may be memory: the append-only file must meet a disk.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_REPORT.parent) as name:
        folder = Path(name)
        say("starting the service")
        async with house.opened(folder, cores) as running:
            version = await house.info(running.redis, "server")
            facts = describe(cores, version.get("valkey_version") or version["redis_version"])
            say("round trips")
            trips = await store_use.round_trips(running)
            say("memory")
            weight = await store_use.memory(running, effort)
            rows += await rates.measure(running, effort, say)
            say("queue to gateway")
            waits = await queue_delay.measure(running, effort)
            say("one worker process")
            rows += [*trips, *waits, await worker_rate.measure(running, cores, effort), weight]
        say("killed workers")
        rows.append(await worker_kills.measure(folder / "kills", cores, effort))
        found, more = await growth.measure(folder / "growth", cores, effort, say)
        rows += found
        facts += more
        say("cold starts")
        rows.append(startup.measure(folder, cores, effort))
    facts.append(f"BENCH={effort.name}, {monotonic() - began:.0f} s")
    _REPORT.write_text(markdown(rows, facts))
    show(rows, facts, Console())
    say(f"written to {_REPORT.relative_to(ROOT)}")
