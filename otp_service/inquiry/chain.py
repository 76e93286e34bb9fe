"""
Asks one source after the other until one knows.

::

    match, mismatch               the answer
    not_available                 the answer; but one that does not know the number passes on to the next
    error                         on to the next

Nobody knows the number only when everyone who might has said so: where one of them failed or could not be asked, the
chain's answer is an error, and the question is asked again later.

The tiers of a route are the better word first.  While somebody of a better tier has failed, or has not been asked yet
because its share is low, a worse one's word is no refusal: only a match counts, and only one that leaves nothing of
what the purpose wants to the better one.  So an outage neither turns citizens away on an old table's word, nor lets
anybody past a question that only the better one can answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Final

from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.core.evidence import (
    NOT_A_SUBSCRIBER,
    Evidence,
    OwnershipOutcome,
    OwnershipQuestion,
    strong_enough,
)
from otp_service.core.phone import carrier_hint
from otp_service.core.routing import RouteBook
from otp_service.inquiry.asker import Asker, Reach
from otp_service.inquiry.health import SourceShares
from otp_service.inquiry.sources import AskedSource
from otp_service.storage.sources import SourceStore, Spending
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

#: With less time left nobody is asked any more.
_LEAST_S: Final = 0.05
_NO_STORE: Final = "store"
#: When a source that has its hands full may be asked again, in seconds.
_BUSY_S: Final = 1.0
#: Why a source is not asked, where that is meant to be: what the next one says stands.
_ON_PURPOSE: Final = frozenset({"over_budget", "asked_before"})

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _HeldBack:
    """Why a source is not asked, and the seconds until it may be; None for never about this verification."""

    reason: str
    wait_s: float | None


@dataclass(slots=True)
class _Inquiry:
    """One question on its way; ``waits_s`` has the seconds until each of those that failed may be asked again."""

    question: OwnershipQuestion
    until: float
    asked: int = 0
    #: What stands for all when nobody knows: of the first that might have known and did not answer.
    error: Evidence | None = None
    waits_s: list[float] = field(default_factory=list)
    #: The last that does not know the number.
    stranger: Evidence | None = None
    #: The tiers of those that might know better than the rest and have not answered: not asked yet, or failed.
    silent: dict[str, int] = field(default_factory=dict)
    #: What the best of those that answered says while a better one is silent.
    held: tuple[int, Evidence] | None = None

    @property
    def left_s(self) -> float:
        return self.until - asyncio.get_running_loop().time()

    def failed(self, evidence: Evidence, wait_s: float | None) -> None:
        """Take note of one that might have known; ``wait_s`` is None for one that is never asked again."""
        self.error = self.error or evidence
        if wait_s is not None:
            self.waits_s.append(wait_s)

    def counts(self, rank: int, evidence: Evidence) -> bool:
        """Whether an answer stands though somebody may know better."""
        if all(rank <= other for other in self.silent.values()):
            return True
        question = self.question
        return (
            evidence.outcome is OwnershipOutcome.MATCH and strong_enough(evidence.assurance, question.min_assurance)
            and not (question.sim_swap_decides and evidence.sim_swapped is None)
        )

    def hold(self, rank: int, evidence: Evidence) -> None:
        """Keep an answer for when everybody better has spoken."""
        if self.held is None or rank < self.held[0]:
            self.held = rank, evidence

    def released(self) -> Evidence | None:
        """Return the answer that was held, when nobody better is silent any more."""
        return self.held[1] if self.held is not None and self.counts(*self.held) else None

    def nothing_learnt(self) -> Evidence | None:
        """Return what to say when nobody has answered; None when nobody might have."""
        if self.error is None:
            return self.stranger
        return replace(self.error, retry_after_s=min(self.waits_s, default=0.0) or None)


class Chain:
    """
    The sources of a deployment.

    Args:
        sources: by name; all that the routes name.
        routes: which of them may know, and in which order they are asked; the prefix's carrier is a hint.
        asker: asks one.
        shares: how well each does.
        store: where questions are spent.
        metrics: counts what was not asked.
        most_asks: questions to sources per call.
        fallback_for_tests: asked for test keys where all others reach real registers.
        shard_of: returns the shard of a question's reference, None for one that is no verification's id.

    Raises:
        ConfigurationError: a route names a source that is not there.
    """

    def __init__(
        self, sources: Mapping[str, AskedSource], routes: RouteBook, asker: Asker, shares: SourceShares,
        store: SourceStore, metrics: Metrics, *, most_asks: int = 4, fallback_for_tests: AskedSource | None = None,
        shard_of: Callable[[str], int | None],
    ) -> None:
        if missing := [name for name in routes.names if name not in sources]:
            raise ConfigurationError(f"ownership routes name sources that are not there: {', '.join(missing)}")
        self._sources = sources
        self._routes = routes
        self._asker = asker
        self._shares = shares
        self._store = store
        self._metrics = metrics
        self._most_asks = most_asks
        self._fallback_for_tests = fallback_for_tests
        self._shard_of = shard_of

    async def ask(self, question: OwnershipQuestion, *, deadline_s: float) -> Evidence:
        """
        Ask until one knows, within ``deadline_s``.  Never raises for what a source, the network or the store does.

        Notes of our own: ``resting``, ``busy``, ``over_budget``, ``asked_before``, ``no_time``, ``no_question_left``,
        ``store``, ``test_key``, and those of :meth:`Asker.ask`.  ``retry_after_s`` says when the first of those that
        failed may be asked again.
        """
        inquiry = _Inquiry(question, asyncio.get_running_loop().time() + deadline_s)
        order, ranks = self._order(question), self._ranks(question)
        inquiry.silent = {source.name: ranks.get(source.name, 0) for source in order}
        for source in order:
            if inquiry.asked == self._most_asks:
                # It might have known: what the others do not know is not unknown for that.
                self._metrics.source_skip(source.name, "no_question_left")
                inquiry.failed(Evidence(OwnershipOutcome.ERROR, source.name, note="no_question_left"), None)
                break
            answer = await self._try(source, inquiry)
            if answer is None:
                continue
            rank = ranks.get(source.name, 0)
            if answer.note == _NO_STORE or inquiry.counts(rank, answer):
                return answer
            inquiry.hold(rank, answer)
        if (held := inquiry.released()) is not None:
            return held
        nothing = inquiry.nothing_learnt()
        return nothing or Evidence(OwnershipOutcome.NOT_AVAILABLE, "", note="test_key")

    def _ranks(self, question: OwnershipQuestion) -> dict[str, int]:
        return self._routes.ranks(carrier_hint(question.phone_number), question.purpose)

    def _order(self, question: OwnershipQuestion) -> Sequence[AskedSource]:
        """Return whom to ask, in order; test keys ask nobody who reaches a real register."""
        names = self._routes.order(
            carrier_hint(question.phone_number), question.purpose, self._shares.now, question.reference,
        )
        order = [self._sources[name] for name in names]
        if not question.test:
            return order
        for source in order:
            if source.traits.real:
                self._metrics.source_skip(source.name, "test_key")
        artificial = [source for source in order if not source.traits.real]
        return artificial or ([self._fallback_for_tests] if self._fallback_for_tests else [])

    async def _try(self, source: AskedSource, inquiry: _Inquiry) -> Evidence | None:
        """Ask one source; returns what is the answer for all, None when the next is to be asked."""
        spending = self._spending(source, inquiry.question)
        try:
            async with asyncio.timeout_at(inquiry.until):
                held_back = self._held_back(source, inquiry) or (spending and await self._spend(spending))
        except (StoreUnavailable, TimeoutError):
            # Nothing could be settled either.
            return Evidence(OwnershipOutcome.ERROR, source.name, note=_NO_STORE)
        if held_back:
            self._metrics.source_skip(source.name, held_back.reason)
            _log.info(
                "source skipped", source=source.name, reason=held_back.reason,
                verification_id=inquiry.question.reference,
            )
            inquiry.failed(Evidence(OwnershipOutcome.ERROR, source.name, note=held_back.reason), held_back.wait_s)
            if held_back.reason in _ON_PURPOSE:
                inquiry.silent.pop(source.name)
            return None
        inquiry.asked += 1
        reach = Reach()
        source.in_hand += 1
        try:
            evidence = await self._asker.ask(source, inquiry.question, within_s=inquiry.left_s, reach=reach)
        finally:
            source.in_hand -= 1
        self._shares.heard(source.name, evidence)
        if spending is not None:
            await self._settle_spending(spending, evidence, reach)
        return self._passed(source, inquiry, evidence)

    def _held_back(self, source: AskedSource, inquiry: _Inquiry) -> _HeldBack | None:
        """Say why a source is not asked now, as far as this process knows."""
        if rests_s := self._shares.rests_s(source.name):
            return _HeldBack("resting", rests_s)
        if source.busy:
            return _HeldBack("busy", _BUSY_S)
        return _HeldBack("no_time", 0.0) if inquiry.left_s < _LEAST_S else None

    async def _spend(self, spending: Spending) -> _HeldBack | None:
        """Spend a question, or say why it may not be asked.  Raises StoreUnavailable."""
        outcome, left_ms = await self._store.spend_question(spending)
        if outcome == "ok":
            return None
        return _HeldBack(outcome, left_ms / 1000 if outcome == "over_budget" else None)

    def _passed(self, source: AskedSource, inquiry: _Inquiry, evidence: Evidence) -> Evidence | None:
        """Return evidence that is the answer; None when it passes on to the next source."""
        if evidence.outcome is OwnershipOutcome.ERROR:
            _log.info(
                "source did not answer", source=source.name, note=evidence.note,
                provider_code=evidence.provider_code, verification_id=inquiry.question.reference,
                retry_after_s=evidence.retry_after_s,
            )
            inquiry.failed(evidence, evidence.retry_after_s or 0.0)
            return None
        inquiry.silent.pop(source.name)
        if evidence.outcome is OwnershipOutcome.NOT_AVAILABLE and evidence.note == NOT_A_SUBSCRIBER:
            inquiry.stranger = evidence
            return None
        return evidence

    def _spending(self, source: AskedSource, question: OwnershipQuestion) -> Spending | None:
        """Return what a question costs; None when it costs nothing."""
        once, budget = not source.traits.repeatable, source.budget
        if not once and budget is None:
            return None
        return Spending(
            self._shard_of(question.reference) or 0, question.reference, source.name, token_hex(8), once,
            (budget.count, budget.period_s * 1000) if budget else None,
        )

    async def _settle_spending(self, spending: Spending, evidence: Evidence, reach: Reach) -> None:
        """Give back what was spent in vain, where that is certain: a lost answer stays spent."""
        in_vain = evidence.outcome is OwnershipOutcome.ERROR and not reach.answer_lost
        if not in_vain and evidence.note != NOT_A_SUBSCRIBER:
            return
        try:
            await self._store.give_back_question(spending, with_budget=not reach.reached)
        except StoreUnavailable as error:
            _log.warning("question not given back", source=spending.source, error=str(error))
