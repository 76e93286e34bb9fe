"""What is sent: prepared requests, each start with a phone number and an address of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from time import monotonic
from typing import Final

from bench.gateway import Gateway
from bench.load import Load, Source

API_KEY: Final = "bench-portal-key"
PURPOSE: Final = "phone_only"
PATH: Final = "/v1/verifications"

_HEAD: Final = (
    f"Host: 127.0.0.1\r\nAuthorization: Bearer {API_KEY}\r\nContent-Type: application/json\r\nContent-Length: "
).encode()
_START: Final = f"POST {PATH} HTTP/1.1\r\n".encode() + _HEAD
_GET: Final = b"GET /bare HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_ID: Final = b'"id":"'
_CREATED: Final = b'"created_at":"'

#: Artificial numbers, 070 and seven digits: none of them magic, and one run never uses a number twice.
_people: Final = count()


def phone(person: int) -> str:
    """Return the made-up number of the n-th person."""
    return f"070{person % 10_000_000:07d}"


def address(person: int) -> str:
    """Return the private address of the n-th person."""
    return f"10.{person >> 16 & 255}.{person >> 8 & 255}.{person & 255}"


def start_request(person: int) -> bytes:
    """Return the bytes that start a verification of the n-th person."""
    body = (
        f'{{"phone_number":"{phone(person)}","purpose":"{PURPOSE}","end_user_ip":"{address(person)}",'
        f'"reference":"hs-{person:09d}"}}'
    ).encode()
    return b"%b%d\r\n\r\n%b" % (_START, len(body), body)


def check_request(verification_id: bytes, code: bytes) -> bytes:
    """Return the bytes that check a code of six digits."""
    return b'POST /v1/verifications/%b/check HTTP/1.1\r\n%b17\r\n\r\n{"code":"%b"}' % (verification_id, _HEAD, code)


def member(answer: bytes, name: bytes) -> bytes:
    """Return the text of a member of a JSON answer; ``name`` is quoted and ends with the opening quote."""
    at = answer.index(name) + len(name)
    return answer[at:answer.index(b'"', at)]


class Timed(Source):
    """The same request, or one made for each call, until the time is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._until = monotonic() + seconds

    def next(self) -> bytes | None:
        """Return the next request until the time is over."""
        return None if self.finished() else self.request()

    def request(self) -> bytes:
        """Return the next request."""
        return _GET

    def finished(self) -> bool:
        """Whether the time is over."""
        return monotonic() >= self._until


class Starts(Timed):
    """
    Starts.

    Attributes:
        ids: of the verifications that were started.
    """

    def __init__(self, seconds: float, most: int | None = None) -> None:
        super().__init__(seconds)
        self.ids: list[bytes] = []
        self._most = most
        self._made = 0

    def request(self) -> bytes:
        """Return one more start."""
        self._made += 1
        return start_request(next(_people))

    def finished(self) -> bool:
        """Whether the time is over or enough were started."""
        return super().finished() or self._made == self._most

    def accepted(self, answer: bytes) -> None:
        """Remember the verification."""
        self.ids.append(member(answer, _ID))


class BareChecks(Timed):
    """Checks for a handler that knows no verification."""

    _REQUEST = check_request(b"7-k1-abcdefghijklmnopqrstuvwxyz", b"123456")

    def request(self) -> bytes:
        """Return the check."""
        return self._REQUEST


class Checks(Source):
    """One right check for each of these verifications."""

    def __init__(self, right: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._requests: Iterator[bytes] = iter([check_request(*one) for one in right])
        self._left = True

    def next(self) -> bytes | None:
        """Return the next check."""
        request = next(self._requests, None)
        self._left = request is not None
        return request

    def finished(self) -> bool:
        """Whether all were sent."""
        return not self._left


class Pairs(Source):
    """
    Starts, and a check for each as soon as its SMS has come, for some seconds and until all are checked.

    At most ``_OPEN`` verifications wait for their SMS: where the worker is the slower one, its pace is kept.
    """

    _OPEN: Final = 512

    def __init__(self, seconds: float, load: Load, gateway: Gateway) -> None:
        super().__init__()
        self._until = monotonic() + seconds
        self._ready: deque[bytes] = deque()
        self._open = 0
        self._kick = load.kick
        gateway.listener = self._came
        asyncio.get_running_loop().call_later(seconds, self._kick)

    def next(self) -> bytes | None:
        """Return a check that can be made, else a start."""
        if self._ready:
            return self._ready.popleft()
        if self._open >= self._OPEN or monotonic() >= self._until:
            return None
        self._open += 1
        return start_request(next(_people))

    def _came(self, verification_id: bytes, code: bytes) -> None:
        self._ready.append(check_request(verification_id, code))
        self._kick()

    def answered(self, answer: bytes) -> None:
        """Close what a check ended, or a start that came to nothing."""
        if answer[9:12] != b"201":
            self._open -= 1
        super().answered(answer)

    def finished(self) -> bool:
        """Whether the time is over and nothing is open."""
        return not self._open and monotonic() >= self._until


class Paced(Source):
    """
    Starts at an even pace.

    Attributes:
        created: when each verification was made, by the store's clock, as the answer has it.
    """

    def __init__(self, seconds: float, per_s: float, load: Load) -> None:
        super().__init__()
        self.created: dict[bytes, bytes] = {}
        self._total = round(seconds * per_s)
        self._per_s = per_s
        self._load = load
        self._due = 0
        self._made = 0

    async def pace(self) -> None:
        """Make starts due until all are; a late wake-up makes several due at once."""
        began = monotonic()
        while self._due < self._total:
            await asyncio.sleep(1 / self._per_s)
            self._due = min(self._total, round((monotonic() - began) * self._per_s))
            self._load.kick()

    def next(self) -> bytes | None:
        """Return a start that is due."""
        if self._made >= self._due:
            return None
        self._made += 1
        return start_request(next(_people))

    def finished(self) -> bool:
        """Whether all were sent."""
        return self._made == self._total

    def accepted(self, answer: bytes) -> None:
        """Remember when it was made."""
        self.created[member(answer, _ID)] = member(answer, _CREATED)
