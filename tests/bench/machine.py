"""The machine: which core does what, what a process has used, and what to say of it all."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """``api`` is for the measured process alone; ``rest`` for the store, the worker and the load."""

    api: frozenset[int]
    rest: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        """Every core there is."""
        return self.api | self.rest

    @property
    def shared(self) -> bool:
        """Whether there is one core for everything."""
        return self.api == self.rest


def share_out() -> Cores:
    """Give the first core to the measured process and the others to everything else."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores(frozenset({first}), frozenset(others) or frozenset({first}))


@contextmanager
def running_on(cores: frozenset[int]) -> Iterator[None]:
    """Run this process, and what it starts, on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU a process has used, its threads and the kernel on its behalf included (proc(5))."""
    # The name, in parentheses, may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def free_port() -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def available_memory() -> int:
    """Return the bytes a new process could have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def describe(cores: Cores, store_version: str) -> list[str]:
    """Return what a reader must know of the machine, one fact per line."""
    spread = (
        "one core for everything: rates by the clock say little, rates per CPU second still hold"
        if cores.shared else
        f"measured process alone on one core; store, worker, gateway and load on {_plural(len(cores.rest))}"
    )
    return [
        f"{_plural(len(cores.all))} ({_processor()}), {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, store {store_version}",
        spread,
    ]


def _plural(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
