"""
The rows about growth: what a start and a check cost while more and more verifications live in the store.

A level is compared with a second, small store whose calls are timed in turns with its own: filling takes minutes, and
a machine that was quiet for the first level may be busy for the last.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from redis.asyncio import Redis

from bench.effort import Effort
from bench.house import CLIENT, environment, info, run_filler, write_config
from bench.machine import Cores, available_memory, running_on
from bench.sources import PURPOSE, address, phone
from bench.table import Row, number
from otp_service import house as building
from otp_service.core.codes import derive_code
from otp_service.core.keyring import SHARDS
from otp_service.core.phone import parse_mobile
from otp_service.service import Caller, StartCommand
from otp_service.settings import load_settings
from otp_service.storage import keys
from otp_service.storage.embedded import EmbeddedServer
from otp_service.telemetry import logs

_FLAT: Final = 1.25
_CHUNK: Final = 25
_TELLING: Final = 50_000
_MOST_FILLERS: Final = 4
#: Of memory and disk, per verification, generously: what must be free before a level is tried.
_ROOM_BYTES: Final = 2_500
#: As long as the settings allow: everything must still be alive when the last level has been filled.
_LONG_LIFE: Final = {
    "OTP__PURPOSES__PHONE_ONLY__LIFE_S": "3600", "OTP__PURPOSES__PHONE_ONLY__CODE__VALIDITY_S": "600",
    "OTP__PURPOSES__PHONE_ONLY__CODE__ALLOW_LONG_VALIDITY": "true",
}
#: Behind everybody that the fillers start.
_FIRST_TIMED: Final = 9_000_000


@dataclass(slots=True)
class Timings:
    """One kind of call on one store: the store's microseconds by chunk, the caller's milliseconds by call."""

    store_us: list[float] = field(default_factory=list)
    caller_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind of call at one level, beside the small store."""

    small: Timings
    large: Timings

    @property
    def ratio(self) -> float:
        """What a chunk cost the store, of what the small store's chunk just before it cost: the median."""
        return median(
            large / small for small, large in zip(self.small.store_us, self.large.store_us, strict=True)
        )


@dataclass(slots=True)
class Growth:
    """
    One store as it is filled.

    Attributes:
        filled: how many verifications the fillers have made.
        fill_s: how long the newest fill took, and how many it made.
        timed: how many starts were timed.
        sample: ids of some of the newest fill, evenly spread.
    """

    house: building.House
    redis: Redis
    cores: Cores
    folder: Path
    environ: Mapping[str, str]
    filled: int = 0
    fill_s: tuple[float, int] = (0.0, 0)
    timed: int = 0
    sample: list[str] = field(default_factory=list)

    @property
    def caller(self) -> Caller:
        """The benchmark's portal."""
        return Caller(next(one for one in self.house.clients if one.name == CLIENT))


async def measure(
    folder: Path, cores: Cores, effort: Effort, say: Callable[[str], None],
) -> tuple[list[Row], list[str]]:
    """Fill a store up to each level and time calls there; returns rows, and facts for under the table."""
    first, *levels = effort.levels
    reads: dict[int, Comparison] = {}
    starts: dict[int, Comparison] = {}
    checks: dict[int, Comparison] = {}
    facts: list[str] = []
    async with AsyncExitStack() as stack:
        small, large = [await stack.enter_async_context(_opened(folder / name, cores)) for name in ("small", "large")]
        for level in levels:
            if reason := _left_out(large, level, effort.fill_s):
                facts.append(f"{number(level)} live verifications left out: {reason}")
                break
            say(f"{number(level)} live verifications")
            await _fill(large, level, effort.calls)
            await _fill(small, small.filled + first, effort.calls)
            with running_on(cores.api):
                reads[level] = await _compared(small, large, _reads(small), _reads(large))
                starts[level] = await _compared(small, large, _starts(small, effort), _starts(large, effort))
                checks[level] = await _compared(small, large, _checks(small), _checks(large))
        seconds, made = large.fill_s
        facts.append(
            f"live verifications: made by the start script itself, in pipelines of {_fillers(cores)} processes"
            f" (the last {number(made)} in {seconds:.0f} s); the queue was emptied unsent and the append-only file not"
            " rewritten meanwhile",
        )
    return [
        _row("start", first, starts, _FLAT),
        _row("check", first, checks, _FLAT),
        _row("read (one look-up, for comparison)", first, reads, None),
    ], facts


@asynccontextmanager
async def _opened(folder: Path, cores: Cores) -> AsyncIterator[Growth]:
    logs.configure(json=True, level="error")
    folder.mkdir(parents=True)
    data_dir = folder / "data"
    server = EmbeddedServer(data_dir)
    with running_on(cores.rest):
        await server.start()
    try:
        environ = environment(write_config(folder), data_dir, "http://127.0.0.1:9/", server.url) | _LONG_LIFE
        settings = load_settings(Path(environ["OTP_CONFIG_DIR"]), environ=environ)
        async with building.opened(settings) as house, Redis.from_url(server.url) as redis:
            await redis.config_set("auto-aof-rewrite-percentage", 0)
            yield Growth(house, redis, cores, folder, environ)
    finally:
        await server.stop()


def _left_out(growth: Growth, level: int, most_s: float) -> str | None:
    """Say why a level is not tried, None when it is."""
    missing = level - growth.filled
    seconds, made = growth.fill_s
    # What a small fill took was spent on starting the fillers.
    needed_s = seconds / made * missing if made >= _TELLING else 0.0
    if needed_s > most_s:
        return f"filling would take about {needed_s:.0f} s; BENCH=full waits for it"
    needed = missing * _ROOM_BYTES
    if needed > available_memory() or needed > shutil.disk_usage(growth.folder).free:
        return f"that takes about {needed / 1e9:.1f} GB of memory and as much disk"
    return None


def _fillers(cores: Cores) -> int:
    return max(2, min(_MOST_FILLERS, len(cores.all) - 1))


async def _fill(growth: Growth, level: int, sample: int) -> None:
    """Add live verifications up to ``level``, by several processes, and forget their SMS."""
    missing, fillers = level - growth.filled, _fillers(growth.cores)
    began = perf_counter()
    share = math.ceil(missing / fillers)
    firsts = range(growth.filled, level, share)
    found = await asyncio.gather(*(
        asyncio.to_thread(
            run_filler, growth.folder, growth.environ, growth.cores.api,
            first=first, count=min(share, level - first), sample=math.ceil(sample / fillers),
        )
        for first in firsts
    ))
    growth.fill_s = perf_counter() - began, missing
    growth.filled = level
    growth.sample = [one for ids in found for one in ids]
    for shard in range(SHARDS):
        await growth.redis.xtrim(keys.sms_queue(shard), maxlen=0, approximate=False)


Calls = Sequence[Callable[[], Awaitable[object]]]


def _starts(growth: Growth, effort: Effort) -> Calls:
    """Return starts of new people."""
    service = growth.house.service
    people = range(_FIRST_TIMED + growth.timed, _FIRST_TIMED + growth.timed + effort.calls)
    growth.timed += effort.calls
    return [
        partial(service.start, growth.caller, StartCommand(
            service.purposes[PURPOSE], parse_mobile(phone(one)).e164, end_user_ip=address(one),
            reference=f"hs-{one:09d}",
        ))
        for one in people
    ]


def _reads(growth: Growth) -> Calls:
    """Return reads of verifications from all over the store."""
    return [partial(growth.house.service.get, growth.caller, one) for one in growth.sample]


def _checks(growth: Growth) -> Calls:
    """Return right checks of verifications from all over the store."""
    service, ring = growth.house.service, growth.house.keys.secrets.ring
    length = service.purposes[PURPOSE].code.length
    return [partial(service.check, growth.caller, one, derive_code(ring, one, 1, length)) for one in growth.sample]


async def _compared(small: Growth, large: Growth, on_small: Calls, on_large: Calls) -> Comparison:
    """Make both stores' calls one after the other, a chunk here and a chunk there."""
    found = Comparison(Timings(), Timings())
    for at in range(0, min(len(on_small), len(on_large)), _CHUNK):
        await _time(small.redis, on_small[at:at + _CHUNK], found.small)
        await _time(large.redis, on_large[at:at + _CHUNK], found.large)
    return found


async def _time(redis: Redis, calls: Calls, timings: Timings) -> None:
    before_us, before = await _spent(redis)
    for call in calls:
        began = perf_counter()
        await call()
        timings.caller_ms.append((perf_counter() - began) * 1000)
    after_us, after = await _spent(redis)
    timings.store_us.append((after_us - before_us) / (after - before))


async def _spent(redis: Redis) -> tuple[int, int]:
    """Return the microseconds the store has spent in scripts, and how many it has run."""
    found = (await info(redis, "commandstats")).get("cmdstat_evalsha", {"usec": 0, "calls": 0})
    return int(found["usec"]), int(found["calls"])


def _row(what: str, first: int, compared: Mapping[int, Comparison], most: float | None) -> Row:
    ratios = [one.ratio for one in compared.values()]
    return Row(
        f"{what}: cost at {' / '.join(map(number, compared))} live verifications, beside a store with {number(first)}",
        f"{' / '.join(f'{ratio:.2f}' for ratio in ratios)} of the small store's cost in the store"
        f" ({' / '.join(number(median(one.large.store_us)) for one in compared.values())} µs);"
        f" {' / '.join(number(median(one.large.caller_ms)) for one in compared.values())} ms for a lone caller",
        f"flat: ≤ {most}" if most else "", max(ratios) <= most if ratios and most else None,
    )
