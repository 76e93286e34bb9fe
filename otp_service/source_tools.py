"""What ``otp-service sources`` and ``otp-service ask-test`` show: what there is, and one question step by step."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from secrets import token_bytes
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from otp_service import plugins
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion, SimSwapEffect, judged
from otp_service.core.names import fold
from otp_service.core.phone import carrier_hint
from otp_service.core.routing import Route, RouteBook, places
from otp_service.core.verification import Purpose
from otp_service.delivery.tokens import Tokens
from otp_service.house import House, opened
from otp_service.inquiry.asker import Asker, Reach
from otp_service.inquiry.chain import Chain
from otp_service.inquiry.health import SourceShares
from otp_service.inquiry.sources import AskedSource
from otp_service.key_file import KeyFile
from otp_service.settings import Settings
from otp_service.sources_from_settings import make_source, purpose_problems
from otp_service.storage.sources import SourceStore
from otp_service.telemetry.metrics import Metrics

#: Called with each step as it happens: its name, and what happened.
Tell = Callable[[str, str], None]

#: In the path of an address these may be somebody's: escapes, and digits as years and numbers have them.
_PERSONAL = re.compile(r"%|[0-9]{4}")


@dataclass(frozen=True, slots=True)
class Installed:
    """
    An adapter that is installed; ``problem`` when it is broken.

    What it says of itself by a class attribute holds for each of its sources; None where its options decide.
    """

    name: str
    assurance: str | None = None
    real: bool | None = False
    repeatable: bool | None = True
    knows_swaps: bool | None = False
    contract: str = ""
    problem: str = ""


def installed() -> list[Installed]:
    """Return every adapter that an entry point names; one that does not load is shown with its problem."""
    return [_installed(name) for name in plugins.installed(plugins.SOURCES)]


def _installed(name: str) -> Installed:
    try:
        kind: Any = plugins.find(plugins.SOURCES, name)
    except ConfigurationError as error:
        return Installed(name, problem=str(error))
    assurance, contract = getattr(kind, "assurance", None), getattr(kind, "contract", "")
    return Installed(
        name, assurance if isinstance(assurance, str) else None,
        _declared(kind, "real", default=False), _declared(kind, "repeatable", default=True),
        _declared(kind, "knows_swaps", default=False), contract if isinstance(contract, str) else "",
    )


def _declared(kind: Any, attribute: str, *, default: bool) -> bool | None:
    """Return what a class says; None for a property, or what is only declared: its options decide."""
    declared = any(attribute in getattr(one, "__annotations__", {}) for one in kind.__mro__)
    found = getattr(kind, attribute, None if declared else default)
    return found if isinstance(found, bool) else None


@dataclass(frozen=True, slots=True)
class Use:
    """
    A source of the settings.

    Attributes:
        name: its name.
        adapter: its adapter's.
        routes: its places in the routes; none when it is not used.
        bounds: how long and how often it may be asked.
        real: whether it reaches a real register; None when it is not made.
        problem: what keeps it, and so the service, from starting; empty when nothing does, or it is not used.
    """

    name: str
    adapter: str
    routes: tuple[str, ...] = ()
    bounds: str = ""
    real: bool | None = None
    problem: str = ""

    @property
    def state(self) -> str:
        """Say in short how it stands."""
        return self.problem or (("ok, reaches a real register" if self.real else "ok") if self.routes else "not used")


def uses(settings: Settings) -> tuple[list[Use], list[str]]:
    """
    Return the sources, and what the purposes want that none of those in use can give.

    Those in use come first, in the order of the routes; then those that no route names, which are not made.
    """
    key, used = _table_key(settings), settings.source_book().names
    rows, made = [], []
    for name in dict.fromkeys((*used, *settings.sources)):
        section = settings.source(name)
        real, problem = None, ""
        if name in used:
            try:
                source = make_source(settings, name, key)
            except ConfigurationError as error:
                problem = "\n".join(line.removeprefix(f"sources.{name}: ") for line in str(error).splitlines())
            else:
                made.append(source)
                real = source.traits.real
        budget = f", {section.budget} per {section.budget_period / 86_400:g} d" if section.budget else ""
        rows.append(Use(
            name, section.adapter_for(name), tuple(places(settings.ownership.all_routes(), name)),
            f"{section.deadline_s:g} s{budget}", real, problem,
        ))
    return rows, purpose_problems(settings, made) if len(made) == len(used) else []


def _table_key(settings: Settings) -> bytes:
    """Return the key of subscriber tables; one for this moment where the service has not made its secrets yet."""
    if not settings.key_path.exists():
        return token_bytes(32)
    file = KeyFile(settings.key_path)
    file.load_or_create()
    return file.ring(time.time()).table_key()


# -- one question ------------------------------------------------------------------------------------------------------


async def ask_test(
    settings: Settings, question: OwnershipQuestion, tell: Tell, *, source: str = "",
) -> Evidence:
    """
    Ask one source, in use or not, or those in use as for a citizen; tell each step, without personal data.

    Budgets are spent; the sources' shares neither count nor learn anything.

    Args:
        settings: the settings in force.
        question: what is asked; an empty purpose takes the first that asks.
        tell: is told the steps, the last being ``result``: what the purpose makes of the answer.
        source: the name of the one to ask; empty asks the chain.

    Raises ConfigurationError, StoreUnavailable.
    """
    purpose = _purpose(settings, question.purpose)
    question = replace(question, purpose=purpose.name)
    async with opened(settings) as house:
        sources = dict(house.sources)
        if source and source not in sources:
            sources[source] = make_source(settings, source, house.keys.secrets.ring.table_key())
        book = RouteBook([Route(({source: 1},))]) if source else settings.source_book()
        carrier = carrier_hint(question.phone_number)
        order = book.order(carrier, purpose.name, {}, question.reference)
        tell("route", f"{carrier or 'no carrier known'} by prefix, {purpose.name}: {', then '.join(order)}")
        async with _asking(house, question, tell) as asker:
            store, metrics = SourceStore(house.store.client), house.metrics
            chain = Chain(
                sources, book, asker, SourceShares(store, sources, metrics), store, metrics,
                most_asks=settings.ownership.questions, shard_of=lambda _: None,
            )
            evidence = await chain.ask(question, deadline_s=settings.ownership.worker_deadline_s)
    evidence = judged(evidence, purpose.evidence)
    tell("result", _result(evidence, purpose))
    return evidence


def _purpose(settings: Settings, name: str) -> Purpose:
    """Return the purpose of that name, or the first that asks who owns the SIM."""
    asking = [purpose.name for purpose in settings.purposes.values() if purpose.checks_ownership]
    name = name or next(iter(asking), "")
    if name not in asking:
        there = ", ".join(asking) or "none"
        raise ConfigurationError(f"no purpose {name!r} that asks who owns the SIM; there are {there}")
    return settings.purposes[name]


@asynccontextmanager
async def _asking(house: House, question: OwnershipQuestion, tell: Tell) -> AsyncIterator[Asker]:
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[_traced(question, tell)],
    ) as session:
        tokens = Tokens(SourceStore(house.store.client), lambda: house.keys.secrets.ring, kind="source")
        try:
            yield _Telling(session, tokens, house.metrics, house.settings, tell)
        finally:
            await tokens.close()


class _Telling(Asker):
    """An asker that tells whom it asks and what was answered."""

    def __init__(
        self, session: aiohttp.ClientSession, tokens: Tokens, metrics: Metrics, settings: Settings, tell: Tell,
    ) -> None:
        super().__init__(session, tokens, metrics)
        self._settings = settings
        self._tell = tell

    async def ask(
        self, source: AskedSource, question: OwnershipQuestion, *, within_s: float = math.inf,
        reach: Reach | None = None,
    ) -> Evidence:
        """Ask once; see :class:`Asker`."""
        adapter = self._settings.source(source.name).adapter_for(source.name)
        self._tell("source", f"{source.name}: adapter {adapter}{', a real register' if source.traits.real else ''}")
        loop = asyncio.get_running_loop()
        began = loop.time()
        evidence = await super().ask(source, question, within_s=within_s, reach=reach)
        self._tell("evidence", f"{_said(evidence)} ({(loop.time() - began) * 1000:.0f} ms)")
        return evidence


def _traced(question: OwnershipQuestion, tell: Tell) -> aiohttp.TraceConfig:
    """Return what tells of each request that a session makes, tokens' included."""
    trace = aiohttp.TraceConfig()

    async def start(_: object, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        context.began = asyncio.get_running_loop().time()
        tell("request", request_line(params.method, params.url, question))

    async def end(_: object, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        tell("answer", f"{params.response.status} ({_ms(context)})")

    async def failed(_: object, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams) -> None:
        cut_off = isinstance(params.exception, asyncio.CancelledError | TimeoutError)
        why = "time is up" if cut_off else type(params.exception).__name__
        tell("answer", f"none: {why} ({_ms(context)})")

    trace.on_request_start.append(start)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(failed)
    return trace


def _ms(context: SimpleNamespace) -> str:
    return f"{(asyncio.get_running_loop().time() - context.began) * 1000:.0f} ms"


def request_line(method: str, url: URL, question: OwnershipQuestion) -> str:
    """Write a request without user, query, and whatever in its path may be personal data."""
    names = set(fold(question.full_name or "").split())
    path = "/".join(
        "…" if _PERSONAL.search(part) or names & set(fold(part).split()) else part for part in url.raw_path.split("/")
    )
    return f"{method} {url.scheme}://{url.host_port_subcomponent}{path}"


def _said(evidence: Evidence) -> str:
    """Write evidence: outcome, assurance, note, what each field came to, and what else it says."""
    said = [evidence.outcome.value, *(one for one in (evidence.assurance, evidence.note) if one)]
    if evidence.provider_code:
        said.append(f"it said {evidence.provider_code}")
    said += [f"{field.value} {outcome.value}" for field, outcome in evidence.fields.items()]
    if evidence.sim_swapped is not None:
        said.append(f"SIM changed lately: {'yes' if evidence.sim_swapped else 'no'}")
    if evidence.retry_after_s:
        said.append(f"to be left alone for {evidence.retry_after_s:g} s")
    return ", ".join(said)


def _result(evidence: Evidence, purpose: Purpose) -> str:
    """Say what a purpose makes of the answer."""
    risky = evidence.sim_swapped and purpose.evidence.sim_swap is SimSwapEffect.REJECT
    if risky and evidence.outcome is OwnershipOutcome.MATCH:
        return f"match, which {purpose.name} refuses as a risk: the SIM was changed lately"
    note = f", {evidence.note}" if evidence.note else ""
    return f"{evidence.outcome.value}{note}"
