"""
What the fake gateway does to messages: a script, given at construction or as JSON.

::

    {"latency_ms": 200, "throttle_per_s": 50, "fail": {"result": "temporary", "every": 10}, "lose_answers": 0.01,
     "garbage": 0.01, "seed": 7,
     "reports": {"state": "delivered", "after_ms": 1500, "share": 0.9, "duplicates": 1, "out_of_order": true}}

Each member may be left out; a share is a number from 0 to 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import DeliveryState, SendResult

_STRICT: Final = ConfigDict(extra="forbid", strict=True)

Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[int, Field(ge=0, le=600_000)]

_REFUSALS: Final = tuple(result.value for result in SendResult if result is not SendResult.ACCEPTED)


def _refusing(value: object) -> object:
    """Refuse what is no refusal: ``accepted``, and what is no result at all."""
    if value not in _REFUSALS:
        raise ValueError(f"write one of {', '.join(_REFUSALS)}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Failures:
    """
    Which hand-overs are refused.

    Attributes:
        result: how.
        every: 3 refuses each third hand-over.
        share: how many of all, at random; it stands instead of ``every``.
    """

    result: Annotated[SendResult, BeforeValidator(_refusing)] = SendResult.TEMPORARY
    every: Annotated[int, Field(ge=1)] | None = None
    share: Share | None = None

    @model_validator(mode="after")
    def _check(self) -> Failures:
        if (self.every is None) == (self.share is None):
            raise ValueError("write one of every and share")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class ReportRule:
    """
    Which delivery reports follow the messages that were taken.

    Attributes:
        state: what they say.
        after_ms: how long after the message was taken.
        share: how many messages get one; the others stay on their way for ever.
        duplicates: how often each is said again.
        out_of_order: ``sent`` is reported as well, after the report.
    """

    state: DeliveryState = DeliveryState.DELIVERED
    after_ms: Milliseconds = 0
    share: Share = 1.0
    duplicates: Annotated[int, Field(ge=0, le=10)] = 0
    out_of_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Script:
    """
    The script; the default takes everything and delivers it at once.

    Attributes:
        latency_ms: milliseconds until each answer.
        throttle_per_s: hand-overs above it are answered 429; None does not throttle.
        fail: which hand-overs are refused.
        lose_answers: share of messages that are taken and whose connection is closed without an answer.
        garbage: share of messages that are taken and answered with what nobody can read.
        reports: the delivery reports.
        seed: makes everything that is random the same each time; None does not.
    """

    latency_ms: Milliseconds = 0
    throttle_per_s: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    fail: Failures | None = None
    lose_answers: Share = 0.0
    garbage: Share = 0.0
    reports: ReportRule = Field(default_factory=ReportRule)
    seed: int | None = None


_READER: Final = TypeAdapter[Script](Script)


def read_script(body: bytes | str) -> Script:
    """
    Read a script from JSON.

    Raises ConfigurationError with a line for each member that is wrong; what is no JSON object is one line, and that
    ``every`` and ``share`` exclude each other is told when the other members of ``fail`` are right.
    """
    try:
        return _READER.validate_json(body)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_line(one) for one in error.errors(include_url=False))) from error


def _line(error: Any) -> str:
    said = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    return f"{'.'.join(map(str, error['loc'])) or 'script'}: {said}"
