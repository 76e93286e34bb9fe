"""
Rows about speed: how many calls one API core answers, beside bare handlers measured in the same rounds.

Compared are the best rounds of each kind by CPU time, as ``timeit`` does: what else the machine does only adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.effort import Effort
from bench.house import House
from bench.load import Load, Source
from bench.machine import cpu_s
from bench.sources import BareChecks, Checks, Pairs, Starts, Timed
from bench.table import Row, number

_PAIR_SHARE: Final = 7
_SAME_WORK: Final = 0.8
_WARM_UP_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Rate:
    """One measurement of a process: good answers, and the seconds it worked and the clock showed."""

    calls: int
    cpu_s: float
    clock_s: float

    @property
    def us(self) -> float:
        """Microseconds of CPU per call."""
        return self.cpu_s / self.calls * 1e6

    @property
    def per_cpu_s(self) -> float:
        """Calls per second of CPU: what the core would do if nothing else held it up."""
        return self.calls / self.cpu_s

    @property
    def per_s(self) -> float:
        """Calls per second by the clock."""
        return self.calls / self.clock_s


@dataclass(slots=True)
class Rounds:
    """Every measurement, one of each kind per round."""

    bare: list[Rate] = field(default_factory=list)
    bare_start: list[Rate] = field(default_factory=list)
    bare_check: list[Rate] = field(default_factory=list)
    start: list[Rate] = field(default_factory=list)
    check: list[Rate] = field(default_factory=list)
    pair: list[Rate] = field(default_factory=list)


async def measure(house: House, effort: Effort, say: Callable[[str], None]) -> list[Row]:
    """Measure the rounds and return their rows."""
    rounds = Rounds()
    async with Load(house.bare_port) as bare, Load(house.api_port) as api:
        for source in (Timed(_WARM_UP_S), BareChecks(_WARM_UP_S)):
            await bare.run(source)
        await api.run(Pairs(_WARM_UP_S, api, house.gateway))
        for number_ in range(effort.rounds):
            say(f"rates, round {number_ + 1} of {effort.rounds}")
            await _round(house, effort.phase_s, bare, api, rounds)
    return _rows(rounds)


async def _round(house: House, seconds: float, bare: Load, api: Load, rounds: Rounds) -> None:
    house.gateway.forget()
    house.gateway.listener = None
    rounds.bare.append(await _measured(bare, Timed(seconds), house.bare_pid))
    rounds.bare_start.append(await _measured(bare, Starts(seconds), house.bare_pid))
    starts = Starts(seconds)
    # The bare handlers have no worker beside them either: both have the store to themselves.
    with house.worker_paused():
        rounds.start.append(await _measured(api, starts, house.api_pid))
    await house.drained()
    rounds.bare_check.append(await _measured(bare, BareChecks(seconds), house.bare_pid))
    checks = Checks([(one, house.gateway.codes[one]) for one in starts.ids])
    rounds.check.append(await _measured(api, checks, house.api_pid))
    pairs = await _measured(api, Pairs(2 * seconds, api, house.gateway), house.api_pid)
    rounds.pair.append(Rate(pairs.calls // 2, pairs.cpu_s, pairs.clock_s))


async def _measured(load: Load, source: Source, pid: int) -> Rate:
    before = cpu_s(pid)
    clock_s = await load.run(source)
    return Rate(source.good, cpu_s(pid) - before, clock_s)


def _rows(rounds: Rounds) -> list[Row]:
    bare, pair = _best(rounds.bare), _best(rounds.pair)
    share = bare.per_cpu_s / pair.per_cpu_s
    by_clock = max(one.per_s for one in rounds.bare) / max(one.per_s for one in rounds.pair)
    start, check = _best(rounds.start), _best(rounds.check)
    bare_start, bare_check = _best(rounds.bare_start), _best(rounds.bare_check)
    return [
        Row("bare aiohttp handler: requests on one core", _told(rounds.bare)),
        Row(
            "start + check pairs on one API core, worker beside it, every SMS sent",
            f"{_told(rounds.pair)}\n1/{share:.1f} of the bare handler by CPU (1/{by_clock:.1f} by the clock)",
            f"≥ 1/{_PAIR_SHARE} of the bare handler, by CPU", share <= _PAIR_SHARE,
        ),
        _same_work("start", start.us, bare_start.us),
        _same_work("check", check.us, bare_check.us),
        _same_work("start + check", start.us + check.us, bare_start.us + bare_check.us),
    ]


def _same_work(what: str, us: float, bare_us: float) -> Row:
    return Row(
        f"{what}, against a bare handler with the same parsing and one script call",
        f"{bare_us / us:.0%} ({number(us)} µs of CPU against {number(bare_us)} µs)",
        f"≥ {_SAME_WORK:.0%}, by CPU", bare_us / us >= _SAME_WORK,
    )


def _best(rates: Sequence[Rate]) -> Rate:
    """Return the round that was disturbed least."""
    return min(rates, key=lambda rate: rate.us)


def _told(rates: Sequence[Rate]) -> str:
    quickest = max(rates, key=lambda rate: rate.per_s)
    return (
        f"{number(_best(rates).per_cpu_s)} per CPU second, {number(quickest.per_s)} per second by the clock"
        f" (its core {quickest.cpu_s / quickest.clock_s:.0%} busy)"
    )
