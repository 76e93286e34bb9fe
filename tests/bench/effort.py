"""How long everything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """
    One way to run the benchmarks.

    Attributes:
        name: what BENCH says.
        rounds: how often rates are measured, each time all of them one after the other.
        phase_s: seconds of one measurement of a rate.
        pace_s: seconds at 500 SMS/s.
        backlog: how many queued SMS a worker is timed with.
        killed: how many queued SMS must survive killed workers.
        verifications: how many live verifications memory is counted over.
        levels: numbers of live verifications at which calls are timed.
        calls: timed calls per level.
        fill_s: seconds that filling up to the next level may take; beyond it the level is left out.
        starts: cold starts per kind.
    """

    name: str
    rounds: int
    phase_s: float
    pace_s: float
    backlog: int
    killed: int
    verifications: int
    levels: tuple[int, ...]
    calls: int
    fill_s: float
    starts: int


EFFORTS: Final = {
    effort.name: effort
    for effort in (
        Effort("quick", 3, 0.5, 3.0, 2_000, 1_000, 5_000, (1_000, 20_000), 300, 20.0, 1),
        Effort("default", 8, 1.0, 10.0, 6_000, 10_000, 20_000, (1_000, 100_000, 1_000_000), 1_000, 120.0, 3),
        Effort("full", 16, 2.0, 30.0, 12_000, 10_000, 20_000, (1_000, 100_000, 1_000_000), 1_000, float("inf"), 5),
    )
}
