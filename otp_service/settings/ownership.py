"""``[ownership]`` and ``[sources.*]``: who knows whose SIM it is, in which order they are asked, how often."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from otp_service.core.routing import Route, parse_tiers
from otp_service.settings.base import Listed, Period, Section
from otp_service.settings.routing import Named, ServedSection
from otp_service.settings.sections import Options, Plugin

_DAY_S: Final = 86_400
_LONGEST_PERIOD_DAYS: Final = 31

SOURCE: Final = Named("source", "ask", "viettel=3 aggregator")

SourceName = Annotated[str, AfterValidator(SOURCE.name)]
Sources = Annotated[tuple[str, ...], Listed, AfterValidator(SOURCE.tiers)]


class SourceRouteSection(ServedSection):
    """``[[ownership.routes]]``: other sources for some carriers or purposes; the first that fits decides."""

    rest: ClassVar[str] = "ownership.sources"

    sources: Sources

    def route(self) -> Route:
        """Return the rule the core works with."""
        return Route(parse_tiers(self.sources), self.carriers, self.purposes)


class OwnershipSection(Section):
    """``[ownership]``: the sources that answer what no route takes, and how long they are waited for."""

    sources: Sources = ("tttb",)
    inline_deadline_s: float = Field(3.0, ge=0, le=30)
    worker_deadline_s: float = Field(15.0, gt=0, le=60)
    retry_backoff_s: float = Field(2.0, ge=0.1, le=300)
    questions: int = Field(4, ge=1, le=20)
    routes: tuple[SourceRouteSection, ...] = ()

    @field_validator("worker_deadline_s")
    @classmethod
    def _patient(cls, worker_deadline_s: float, info: ValidationInfo) -> float:
        if worker_deadline_s < info.data.get("inline_deadline_s", 0):
            raise ValueError("at least inline_deadline_s: behind the worker no citizen waits")
        return worker_deadline_s

    def all_routes(self) -> tuple[Route, ...]:
        """Return every route, the one for all that is left last."""
        return (*(section.route() for section in self.routes), Route(parse_tiers(self.sources)))


class SourceSection(Section):
    """``[sources.<name>]``: a source of evidence.  ``options`` go to the adapter and may hold secrets."""

    adapter: Plugin | None = None
    deadline_s: float = Field(5.0, gt=0, le=60)
    budget: int = Field(0, ge=0, le=1_000_000_000)
    budget_period: Period = _DAY_S
    options: Options = Field(default_factory=dict, repr=False)

    @field_validator("budget_period")
    @classmethod
    def _whole_days(cls, period_s: float) -> float:
        if period_s % _DAY_S or not 1 <= period_s / _DAY_S <= _LONGEST_PERIOD_DAYS:
            raise ValueError('"24h", or days up to "31d": periods begin at midnight in Vietnam')
        return period_s

    def adapter_for(self, name: str) -> str:
        """Return the adapter of the source of this name: by default that of the same name."""
        return self.adapter or name
