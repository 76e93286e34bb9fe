"""The row about starting: from exec to the first 200 of ``/readyz``."""

from __future__ import annotations

from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Final

from bench.effort import Effort
from bench.machine import Cores, free_port
from bench.processes import BenchmarkError, started, wait_until_ready
from bench.sources import PATH, address, phone
from bench.table import Row
from otp_service.settings import DEMO_KEY

_READY_S: Final = 2.0
_KEPT: Final = 200


def measure(folder: Path, cores: Cores, effort: Effort) -> Row:
    """Start the demo on a new data folder and on one that has data, in turns: what disturbs one disturbs both."""
    kept = folder / "demo-kept"
    _start_s(kept, cores, fill=True)
    fresh, again = [], []
    for number in range(effort.starts):
        fresh.append(_start_s(folder / f"demo-{number}", cores))
        again.append(_start_s(kept, cores))
    return Row(
        "start-up of the demo to ready, embedded store",
        f"{median(fresh):.2f} s with a new data folder, {median(again):.2f} s with {_KEPT} verifications in it"
        f" (median of {effort.starts})",
        f"< {_READY_S:.0f} s", max(median(fresh), median(again)) < _READY_S,
    )


def _start_s(data_dir: Path, cores: Cores, *, fill: bool = False) -> float:
    port = free_port()
    log = data_dir.with_suffix(".log")
    environ = {"PORT": str(port), "DATA_DIR": str(data_dir)}
    began = perf_counter()
    with started(["-m", "otp_service", "demo"], cores=cores.all, environ=environ, log=log) as process:
        wait_until_ready(process, port, "/readyz", log)
        seconds = perf_counter() - began
        if fill:
            _fill(port)
    _wait_until_gone(data_dir)
    return seconds


def _fill(port: int) -> None:
    """Start verifications, each of another person."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {DEMO_KEY}", "Content-Type": "application/json"}
    for person in range(_KEPT):
        body = f'{{"phone_number":"{phone(person)}","purpose":"phone_only","end_user_ip":"{address(person)}"}}'
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 201:
            raise BenchmarkError(f"the demo answered {told!r}")
    connection.close()


def _wait_until_gone(data_dir: Path) -> None:
    """Return when the demo's store has stopped: the next start must be a cold one."""
    with suppress(FileNotFoundError, ValueError):
        pid = int((data_dir / "store" / "server.pid").read_text())
        while Path(f"/proc/{pid}").exists():
            sleep(0.01)
