"""
What goes wrong at the operator: a script, given at the start or as JSON.

::

    {"latency_ms": 300, "throttle": {"per_s": 5, "retry_after": 2}, "wrong": true,
     "swaps": {"0900000001": 12, "0900000002": "2026-01-31T08:00:00Z"},
     "answer": {"status": 503}, "every": 3,
     "token": {"reject": true}}

``latency_ms``, ``throttle``, ``down``, ``answer``, ``garbage`` and ``every`` stand for the two APIs at the top and for
the token endpoint inside ``token``.  Each member may be left out; the default answers everything at once, rightly.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from otp_service.core.errors import ConfigurationError, PhoneNotMobile
from otp_service.core.phone import parse_mobile

_STRICT: Final = ConfigDict(extra="forbid", strict=True)

#: Hours for which the operator remembers a change of the SIM, and CAMARA's largest ``maxAge``.
MOST_HOURS: Final = 2400


class Garbage(StrEnum):
    """
    What stands where an answer should.

    IMPORTANT: a new member also goes into ``spoilt`` of ``faults.py``.
    """

    HTML = "html"
    TRUNCATED = "truncated"
    WRONG_TYPES = "wrong_types"
    EMPTY = "empty"


def _e164(text: object) -> str:
    """Return a phone number of the script as E.164."""
    try:
        return parse_mobile(str(text)).e164
    except PhoneNotMobile:
        raise ValueError("write Vietnamese mobile numbers") from None


def _moment(value: object) -> object:
    """Read a moment as RFC 3339 with its time zone; hours stay as they are."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("write hours ago, or a moment with its time zone: 2026-01-31T08:00:00Z")
    return moment.astimezone(UTC)


def _header_value(value: int | str) -> int | str:
    """Refuse what no header can carry."""
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError("write seconds, or what the header shall say, in ASCII")
    return value


Milliseconds = Annotated[int, Field(ge=0, le=600_000)]
RetryAfter = Annotated[int | str, AfterValidator(_header_value)]
Phone = Annotated[str, BeforeValidator(_e164)]
#: Hours ago, at any time it is asked; or a moment.
Swap = Annotated[Annotated[float, Field(ge=0, le=1_000_000)] | datetime, BeforeValidator(_moment)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Throttle:
    """
    Above ``per_s`` calls a second the answer is 429.

    Attributes:
        per_s: calls a second.
        retry_after: value of ``Retry-After``, seconds or any text (an HTTP date, nonsense); None sends none.
    """

    per_s: Annotated[float, Field(gt=0, le=1_000_000)]
    retry_after: RetryAfter | None = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Answer:
    """
    An answer given whatever was asked.

    Attributes:
        status: of HTTP.
        code: of the ``ErrorInfo``, or ``error`` of the token endpoint; None takes the usual one of the status.
        retry_after: as in :class:`Throttle`.
    """

    status: Annotated[int, Field(ge=200, le=599)]
    code: Annotated[str, Field(min_length=1, max_length=96)] | None = None
    retry_after: RetryAfter | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Faults:
    """
    What goes wrong at an endpoint.

    Attributes:
        latency_ms: milliseconds until each answer.
        throttle: how many calls a second are answered.
        down: the connection is closed without an answer.
        answer: what is said instead.
        garbage: how the right answer is spoilt.
        every: 3 lets only each third call fail; with none of the three above it fails with 503.
    """

    latency_ms: Milliseconds = 0
    throttle: Throttle | None = None
    down: bool = False
    answer: Answer | None = None
    garbage: Garbage | None = None
    every: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_failure(self) -> Faults:
        if sum((self.down, self.answer is not None, self.garbage is not None)) > 1:
            raise ValueError("write one of down, answer and garbage")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TokenFaults(Faults):
    """
    What goes wrong with tokens.

    Attributes:
        reject: no client is known any more.
        lasts_calls: a token is taken for so many calls, then no longer, whatever it was promised.
        lasts_s: the same in seconds.
    """

    reject: bool = False
    lasts_calls: Annotated[int, Field(ge=0)] | None = None
    lasts_s: Annotated[float, Field(ge=0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Script(Faults):
    """
    The script.

    Attributes:
        wrong: the opposite of what is right is answered: a match for a mismatch, a swap for none.
        swaps: when SIMs were changed last, by phone; all others never were.
        token: the token endpoint's faults.
    """

    wrong: bool = False
    swaps: dict[Phone, Swap] = Field(default_factory=dict, repr=False)
    token: TokenFaults = Field(default_factory=TokenFaults)


_READER: Final = TypeAdapter[Script](Script)


def read_script(body: bytes | str) -> Script:
    """Read a script from JSON.  Raises ConfigurationError with a line for each member that is wrong."""
    try:
        return _READER.validate_json(body)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_line(one) for one in error.errors(include_url=False))) from error


def shown(script: Script) -> bytes:
    """Return a script as JSON that can be read again."""
    return _READER.dump_json(script)


def _line(error: Any) -> str:
    # A phone number is a key of swaps: where a line says what is wrong in there, it does not repeat it.
    path = error["loc"][:1] if error["loc"][:1] == ("swaps",) else error["loc"]
    said = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    return f"{'.'.join(map(str, path)) or 'script'}: {said}"
