"""``[sources.*]`` becomes sources; one that is not what the core needs is told before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from inspect import iscoroutinefunction
from typing import Any, Final

from otp_service import plugins
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import ASSURANCE_LEVELS, SimSwapEffect, strong_enough
from otp_service.core.routing import Route
from otp_service.core.verification import Purpose
from otp_service.inquiry.sources import AskedSource, Budget
from otp_service.ownership.tttb import MADE_UP
from otp_service.settings import Settings
from otp_service.settings.routing import RESERVED

#: Inside the configuration folder; everything in it is made up.
SAMPLE: Final = MADE_UP

_BOOLEANS: Final = ("real", "repeatable", "knows_swaps")


def make_sources(settings: Settings, table_key: bytes, *, trying: str = "") -> list[AskedSource]:
    """
    Make every source that a route names, and the one that is tried out.

    ``table_key`` is the key ring's for tables of subscribers.

    Raises ConfigurationError with a line for each problem, which names the source, or the purpose that could never be
    answered.
    """
    names = dict.fromkeys((*settings.source_book().names, *([trying] if trying else [])))
    sources, problems = [], []
    for name in names:
        try:
            sources.append(make_source(settings, name, table_key))
        except ConfigurationError as error:
            problems.append(str(error))
    problems = problems or purpose_problems(settings, sources)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return sources


def make_source(settings: Settings, name: str, table_key: bytes) -> AskedSource:
    """
    Make one source.

    Raises ConfigurationError with a line for each problem, which names the source.
    """
    section = settings.source(name)
    try:
        source = plugins.make(plugins.SOURCES, section.adapter_for(name), section.options, key=table_key)
    except ConfigurationError as error:
        raise ConfigurationError(f"sources.{name}: {error}") from error
    if problems := _misshapen(source):
        raise ConfigurationError("\n".join(f"sources.{name}: {problem}" for problem in problems))
    budget = Budget(section.budget, round(section.budget_period)) if section.budget else None
    return AskedSource(name, source, deadline_s=section.deadline_s, budget=budget)


def made_up_source(settings: Settings) -> AskedSource | None:
    """Make the source that test keys ask where all others reach real registers: the made-up table, if it is there."""
    path = settings.config_dir.joinpath(*SAMPLE)
    if not path.is_file():
        return None
    return AskedSource(RESERVED, plugins.make(plugins.SOURCES, "tttb", {"subscribers": str(path)}))


def refuse_real(sources: Iterable[AskedSource]) -> None:
    """Raise ConfigurationError when a source reaches a real register: the demo's key is known to everybody."""
    if real := [source.name for source in sources if source.traits.real]:
        raise ConfigurationError(
            f"the demo refuses sources that know real people: {plugins.listed(real)} (ownership.sources)",
        )


def routes_for(settings: Settings, purpose: Purpose) -> Iterator[Route]:
    """Yield the routes that questions for a purpose may take."""
    for route in settings.ownership.all_routes():
        if not route.purposes or purpose.name in route.purposes:
            yield route
            if not route.carriers:  # it takes all that is left
                return


def purpose_problems(settings: Settings, sources: Iterable[AskedSource]) -> list[str]:
    """Say of each purpose what it wants of its sources and none of them can give."""
    by_name = {source.name: source for source in sources}
    problems = []
    for purpose in settings.purposes.values():
        if purpose.checks_ownership:
            names = dict.fromkeys(
                name for route in routes_for(settings, purpose) for tier in route.tiers for name in tier
            )
            problems += [
                f"purposes.{purpose.name}: {text}" for text in lacking(purpose, [by_name[name] for name in names])
            ]
    return problems


def lacking(purpose: Purpose, sources: list[AskedSource]) -> list[str]:
    """Say what a purpose wants of evidence that none of these sources can give."""
    rules, names = purpose.evidence, ", ".join(source.name for source in sources)
    problems = []
    if rules.sim_swap is not SimSwapEffect.IGNORE and not any(source.traits.knows_swaps for source in sources):
        problems.append(f'sim_swap = "{rules.sim_swap}", and no source knows of changed SIMs: {names}')
    if not any(strong_enough(source.source.assurance, rules.min_assurance) for source in sources):
        reached = plugins.listed(list(dict.fromkeys(source.source.assurance for source in sources)))
        problems.append(f'min_assurance = "{rules.min_assurance}", and no source reaches it: {names} ({reached})')
    return problems


def _misshapen(source: Any) -> list[str]:
    """Say what keeps an object from being a source of core/source_ports.py: a slip shows when a citizen waits."""
    problems = []
    name, assurance = getattr(source, "name", None), getattr(source, "assurance", None)
    if not (isinstance(name, str) and name):
        problems.append("its attribute name is not a text")
    if assurance not in ASSURANCE_LEVELS:
        problems.append(f"its attribute assurance is none of {', '.join(ASSURANCE_LEVELS)}")
    problems += [
        f"its attribute {one} is not True or False" for one in _BOOLEANS
        if not isinstance(getattr(source, one, False), bool)
    ]
    asks, converses = (callable(getattr(source, one, None)) for one in ("ask", "converse"))
    if asks and converses:
        problems.append("it has both ask and converse; a source has one of them")
    elif converses:
        problems += _misshapen_talk(source)
    elif not asks:
        problems.append("it has neither ask (OwnershipSource) nor converse (HttpSource)")
    elif not iscoroutinefunction(source.ask):
        problems.append("its method ask is not async (OwnershipSource)")
    return problems


def _misshapen_talk(source: Any) -> list[str]:
    """Say what keeps an object with ``converse`` from being an HttpSource."""
    problems = []
    timeout_s = getattr(source, "timeout_s", None)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s < math.inf:
        problems.append("its attribute timeout_s is not a positive number of seconds")
    there = [callable(getattr(source, one, None)) for one in ("build_token_request", "parse_token")]
    if any(there) and not all(there):
        problems.append("it has one of build_token_request and parse_token; a source with tokens has both")
    return problems
