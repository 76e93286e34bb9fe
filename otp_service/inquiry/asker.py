"""
Asks one source one question and makes evidence of whatever comes: the only place where a source's code is run.

Whatever a source does, raises or answers, the result is evidence; only a well-formed match at a known assurance level
is a match (invariant 8).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import aiohttp

from otp_service.core.errors import StoreUnavailable
from otp_service.core.evidence import ASSURANCE_LEVELS, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.ports import HttpRequest, HttpResponse, NoAnswer, TokenFetcher
from otp_service.core.reading import provider_code
from otp_service.core.source_ports import Conversation, HttpSource, OwnershipSource
from otp_service.delivery.exchange import Peer, exchange
from otp_service.delivery.tokens import Token, Tokens
from otp_service.inquiry.sources import AskedSource
from otp_service.telemetry.logs import get_logger, where
from otp_service.telemetry.metrics import Metrics

_MOST_REQUESTS: Final = 8
#: How much of a question's time may pass before there is a token.
_TOKEN_PART: Final = 0.75
#: Nobody was there; a second try costs nothing, and finds whoever has just been started again.
_AT_ONCE_AGAIN: Final = frozenset({"connection_refused", "not_connected"})
#: A source that did not answer within so many seconds is slow, however little time there was.
_FAIR_S: Final = 1.0
_LONGEST_REST_S: Final = 3600.0
_NOTE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LEARNT: Final = frozenset({OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH})

_log = get_logger()


@dataclass(slots=True)
class Reach:
    """
    How far a question came.

    Attributes:
        reached: the source may have got it.
        answer_lost: the source may have answered it, and that answer was not read.
    """

    reached: bool = False
    answer_lost: bool = False


class Asker:
    """
    Asks sources.

    Args:
        session: the connections; it belongs to the caller.
        tokens: what sources with tokens are asked with.
        metrics: counts answers and latency per source.
    """

    def __init__(self, session: aiohttp.ClientSession, tokens: Tokens, metrics: Metrics) -> None:
        self._session = session
        self._tokens = tokens
        self._metrics = metrics

    async def ask(
        self, source: AskedSource, question: OwnershipQuestion, *, within_s: float = math.inf,
        reach: Reach | None = None,
    ) -> Evidence:
        """
        Ask once, within the source's deadline and ``within_s``; ``reach`` is told how far the question came.

        Never raises for what a source or the network does; notes of our own are ``timeout``, ``no_time`` (there was
        hardly any), ``no_token``, ``unauthenticated``, ``store``, ``too_many_requests``, ``assurance_unknown`` and
        ``exception``.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        limit_s = min(source.deadline_s, within_s)
        reach = reach or Reach()
        try:
            async with asyncio.timeout(limit_s):
                evidence = _checked(await self._ask(source, question, reach, began + limit_s * _TOKEN_PART))
        except TimeoutError:
            evidence = _error("timeout" if limit_s >= min(source.deadline_s, _FAIR_S) else "no_time")
        except StoreUnavailable:
            evidence = _error("store")
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled us: something that the source waited for was.
            evidence = _failed(source, error)
        except Exception as error:  # noqa: BLE001 - whatever a source raises is "no answer", never a match
            evidence = _failed(source, error)
        if evidence.note in {"timeout", "no_time", "exception"} and reach.reached:
            reach.answer_lost = True
        self._metrics.ownership_check(source.name, evidence.outcome, loop.time() - began)
        return replace(evidence, source=source.name, stale_token=False)

    async def _ask(
        self, source: AskedSource, question: OwnershipQuestion, reach: Reach, token_until: float,
    ) -> object:
        if source.over_http is None:
            # How far it comes is not ours to see.
            reach.reached = reach.answer_lost = True
            return await cast("OwnershipSource", source.source).ask(question)
        if source.with_token is None:
            return await self._converse(source, source.over_http.converse(question), reach)
        return await self._authorised(source, source.over_http, source.with_token, question, reach, token_until)

    async def _authorised(
        self, source: AskedSource, over_http: HttpSource, fetcher: TokenFetcher, question: OwnershipQuestion,
        reach: Reach, token_until: float,
    ) -> object:
        """Talk with the token that is kept; one that is not taken is replaced once."""
        refused_version = 0
        for _ in range(2):
            token = await self._token(source, fetcher, refused_version, token_until)
            if token is None:
                return replace(_error("no_token"), retry_after_s=self._tokens.rests_s(source.name) or None)
            evidence = await self._converse(source, over_http.converse(question, token.value), reach)
            if not isinstance(evidence, Evidence) or not evidence.stale_token:
                return evidence
            refused_version = token.version
        return _error("unauthenticated")

    async def _token(
        self, source: AskedSource, fetcher: TokenFetcher, refused_version: int, until: float,
    ) -> Token | None:
        """Get a token while there is time enough to use it."""
        try:
            async with asyncio.timeout_at(until):
                return await self._tokens.get(source, fetcher, self._exchange, not_version=refused_version)
        except TimeoutError:
            return None

    async def _converse(self, source: AskedSource, talk: Conversation, reach: Reach) -> object:
        """Carry a talk's requests and answers; returns what it returns."""
        try:
            request = next(talk)
            for _ in range(_MOST_REQUESTS):
                request = talk.send(await self._carried(source, request, reach))
        except StopIteration as done:
            return done.value
        finally:
            _close(talk, source)
        return _error("too_many_requests")

    async def _carried(self, source: AskedSource, request: HttpRequest, reach: Reach) -> HttpResponse | NoAnswer:
        """Make one request of a talk, and keep account of how far it came."""
        before = replace(reach)
        reach.reached = reach.answer_lost = True  # until more is known of it
        answer = await self._exchange(source, request)
        if isinstance(answer, NoAnswer):
            if not answer.maybe_taken:
                reach.reached, reach.answer_lost = before.reached, before.answer_lost
        elif not answer.whole:
            return NoAnswer("answer_too_long", maybe_taken=True)
        elif _refuses(answer.status):
            reach.answer_lost = before.answer_lost
        return answer

    async def _exchange(self, source: Peer, request: HttpRequest) -> HttpResponse | NoAnswer:
        answer = await exchange(self._session, request, source.timeout_s, who={"source": source.name})
        if isinstance(answer, NoAnswer) and answer.code in _AT_ONCE_AGAIN:
            answer = await exchange(self._session, request, source.timeout_s, who={"source": source.name})
        return answer


def _refuses(status: int) -> bool:
    """Whether a status says that the question was not dealt with; any other may be an answer that was not read."""
    return 400 <= status < 500 or status == 503


def _checked(found: Any) -> Evidence:
    """Return evidence that is safe to use; raises TypeError for what is none."""
    if not isinstance(found, Evidence):
        raise TypeError(f"{type(found).__name__} is no Evidence")
    if not isinstance(found.outcome, OwnershipOutcome) or not isinstance(found.fields, Mapping):
        raise TypeError("outcome or fields are of another type")
    assurance = found.assurance if found.outcome in _LEARNT and found.assurance in ASSURANCE_LEVELS else None
    if found.outcome is OwnershipOutcome.MATCH and assurance is None:
        return _error("assurance_unknown")
    # A note goes into the log: whatever is no word may be somebody's data.
    note = found.note
    if note is not None and not (isinstance(note, str) and _NOTE.fullmatch(note)):
        note = "unnamed"
    return replace(
        found, assurance=assurance, note=note, retry_after_s=_rest_s(found.retry_after_s),
        provider_code=provider_code(found.provider_code),
    )


def _rest_s(said: object) -> float | None:
    if not isinstance(said, int | float) or not said > 0:  # not a number compares as false
        return None
    return min(float(said), _LONGEST_REST_S)


def _error(note: str) -> Evidence:
    return Evidence(OwnershipOutcome.ERROR, "", note=note)


def _failed(source: AskedSource, error: BaseException) -> Evidence:
    _log.warning("ownership source failed", source=source.name, error=type(error).__name__, where=where(error))
    return _error("exception")


def _close(talk: Conversation, source: AskedSource) -> None:
    """End a talk; what it raises then must not take the place of a cancellation."""
    try:
        talk.close()
    except Exception as error:  # noqa: BLE001 - a source's own code; its text may hold data
        _log.warning("ownership source failed", source=source.name, error=type(error).__name__)
