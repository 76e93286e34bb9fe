"""
Fills a store with live verifications, fast: the start script itself, in big pipelines.

The service builds each call as always (ids, digests, sealed phone, limits); what differs is that nobody waits for one
answer before the next call is made.  Several of these processes run side by side::

    python -m bench.fill FIRST COUNT SAMPLE

starts verifications of the people FIRST … FIRST + COUNT - 1, and prints about SAMPLE of their ids, evenly spread over
those whose codes will be good for a while.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Generator, Sequence
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import hiredis

from bench.house import CLIENT
from bench.processes import BenchmarkError
from bench.sources import PURPOSE, address, phone
from otp_service.core.phone import parse_mobile
from otp_service.house import opened
from otp_service.service import Caller, StartCommand, VerificationService
from otp_service.settings import load_settings
from otp_service.storage.scripts import Script
from otp_service.telemetry import logs

_PIPELINE: Final = 500
#: No code is good for longer than ten minutes, and filling may take longer than that.
_FRESH_S: Final = 420.0


class Recorder:
    """Stands where the store's client stands: packs a call, and leaves its caller waiting."""

    def __init__(self) -> None:
        self.packed = b""

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Recorder:
        """Pack the call."""
        self.packed = hiredis.pack_command(("EVALSHA", script.sha, len(keys), *keys, *args))
        return self

    def __await__(self) -> Generator[None, None, list[Any]]:
        """Wait for an answer that nobody brings."""
        yield
        return []


def _packed(service: VerificationService, recorder: Recorder, caller: Caller, person: int) -> bytes:
    """Return the packed script call of one start."""
    command = StartCommand(
        service.purposes[PURPOSE], parse_mobile(phone(person)).e164, end_user_ip=address(person),
        reference=f"hs-{person:09d}",
    )
    call = service.start(caller, command)
    call.send(None)
    call.close()
    return recorder.packed


class Pipeline:
    """One connection on which the next calls are built while the store works on those before."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(unquote(urlsplit(url).path))
        self._reader = hiredis.Reader()
        self._owed = 0

    def send(self, calls: Sequence[bytes]) -> list[str]:
        """Send these calls once the answers to those before are here; returns the ids that those started."""
        ids = [self._answer() for _ in range(self._owed)]
        self._owed = len(calls)
        self._socket.sendall(b"".join(calls))
        return ids

    def _answer(self) -> str:
        answer: Any = self._reader.gets()
        while answer is False:
            self._reader.feed(self._socket.recv(1 << 18))
            answer = self._reader.gets()
        if not isinstance(answer, list) or answer[0] != b"ok":
            raise BenchmarkError(f"the start script answered {answer!r}")
        found: str = answer[2].decode()
        return found


async def _fill(first: int, count: int, sample: int) -> None:
    logs.configure(json=True, level="error")
    settings = load_settings()
    async with opened(settings) as house:
        recorder: Any = Recorder()
        house.store.client, client = recorder, house.store.client
        caller = Caller(next(one for one in house.clients if one.name == CLIENT))
        pipeline, made = Pipeline(settings.store.url), list[tuple[float, str]]()
        for at in range(first, first + count, _PIPELINE):
            people = range(at, min(at + _PIPELINE, first + count))
            began = monotonic()
            ids = pipeline.send([_packed(house.service, recorder, caller, person) for person in people])
            made += ((began, one) for one in ids)
        made += ((monotonic(), one) for one in pipeline.send(()))
        house.store.client = client
    fresh = [one for when, one in made if when > monotonic() - _FRESH_S]
    print("\n".join(fresh[:: max(1, len(fresh) // sample)]))


if __name__ == "__main__":
    asyncio.run(_fill(*map(int, sys.argv[1:4])))
