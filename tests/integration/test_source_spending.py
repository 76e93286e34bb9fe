"""What questions to sources cost: budgets of a day, sources that must not be asked twice, and what is given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from support.engine import DAY, HOUR, NOW_MS, OTHER_PHONE, PHONE, Backend, Engine
from support.proxy import Proxy
from support.town import (
    DOWN,
    ERROR,
    KNOWN,
    MATCH,
    STRANGER,
    Provider,
    Source,
    Wire,
    listening,
    over,
    town,
)

from otp_service.core.evidence import Evidence
from otp_service.inquiry.sources import Budget
from otp_service.storage import keys, scripts
from otp_service.storage.sources import Spending


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Give a provider that listens."""
    async with listening() as one:
        yield one


# -- budgets ------------------------------------------------------------------------------------------------------

#: Midnight in Vietnam before the tests' clock: 17:00 UTC.
MIDNIGHT_MS = (NOW_MS + 7 * HOUR * 1000) // (DAY * 1000) * DAY * 1000 - 7 * HOUR * 1000
ELAPSED_S = (NOW_MS - MIDNIGHT_MS) / 1000


async def test_a_budget_is_counted_over_all_processes(engine: Engine) -> None:
    """So many questions a day and no more, whichever process asks; then the next source is asked."""
    budgets = {"one": Budget(3)}
    async with engine.sibling() as other, town(engine, KNOWN, KNOWN, budgets=budgets) as here:
        async with town(other, KNOWN, KNOWN, budgets=budgets) as there:
            found = [(await one.ask()).source for one in (here, there, here, there, here)]
        assert ["one", "one", "one", "two", "two"] == found
        assert {"over_budget": 1} == here.skips("one")


async def test_parallel_questions_keep_to_the_budget(engine: Engine) -> None:
    """However many ask at once, no question too many is asked."""
    async with town(engine, KNOWN, KNOWN, budgets={"one": Budget(7)}) as one:
        await asyncio.gather(*(one.ask() for _ in range(30)))
        assert [7, 23] == one.asked()


async def test_a_budget_begins_anew_at_midnight_in_vietnam(engine: Engine) -> None:
    """A day is Vietnam's; until it is over the chain says when to ask again."""
    async with town(engine, KNOWN, budgets={"one": Budget(1)}) as one:
        assert MATCH is (await one.ask()).outcome
        found = await one.ask()
        assert (ERROR, "over_budget", DAY - ELAPSED_S) == (found.outcome, found.note, found.retry_after_s)
        engine.advance(DAY - ELAPSED_S - 0.001)
        assert (ERROR, 0.001) == ((found := await one.ask()).outcome, found.retry_after_s)
        engine.advance(0.001)
        assert [MATCH, ERROR] == [(await one.ask()).outcome for _ in range(2)]
        assert 2 == one.asked()[0]


async def test_a_budget_of_several_days(engine: Engine) -> None:
    """A period of several days begins at a midnight too."""
    week = 7 * DAY
    began_ms = (NOW_MS + 7 * HOUR * 1000) // (week * 1000) * week * 1000 - 7 * HOUR * 1000
    async with town(engine, KNOWN, budgets={"one": Budget(1, week)}) as one:
        await one.ask()
        assert week - (NOW_MS - began_ms) / 1000 == (await one.ask()).retry_after_s
        assert 0 == (began_ms + 7 * HOUR * 1000) % (DAY * 1000)


async def test_a_clock_set_back_gives_no_budget_back(engine: Engine) -> None:
    """After a jump of the store's clock and back, what was spent is still spent."""
    async with town(engine, KNOWN, budgets={"one": Budget(1)}) as one:
        engine.advance(DAY)
        await one.ask()
        engine.advance(-DAY)
        assert "over_budget" == (await one.ask()).note


async def test_a_budget_expires(engine: Engine) -> None:
    """The count goes an hour after its period (Invariant 7)."""
    async with town(engine, KNOWN, budgets={"one": Budget(1)}) as one:
        await one.ask()
        left_ms = await engine.redis.pttl(keys.source("one", "budget"))
        assert 0 <= (DAY - ELAPSED_S + HOUR) * 1000 - left_ms < 10_000


async def test_who_has_no_budget_leaves_no_trace(engine: Engine) -> None:
    """A source without a budget that may be asked again costs the store nothing."""
    started = await engine.start(purpose="registration")
    before = await engine.dump()
    async with town(engine, KNOWN) as one:
        await one.ask(started)
    assert before == await engine.dump()


async def test_what_reached_nobody_costs_nothing(engine: Engine, provider: Provider) -> None:
    """While a source is down its budget is not used up: it is there when the source is."""
    await provider.close()
    async with town(engine, Wire(provider, repeatable=True), budgets={"one": Budget(1)}) as one:
        for _ in range(3):
            assert "connection_refused" == (await one.ask()).note
        await provider.open()
        assert [MATCH, ERROR] == [(await one.ask()).outcome for _ in range(2)]
        assert [1] == one.asked()


@pytest.mark.parametrize("status", [200, 429, 500])
async def test_what_was_answered_is_spent(engine: Engine, provider: Provider, status: int) -> None:
    """Whatever a source answered, it was asked."""
    provider.status, provider.text = status, "garbage"
    async with town(engine, Wire(provider, repeatable=True), budgets={"one": Budget(1)}) as one:
        assert [f"status_{status}", "over_budget"] == [(await one.ask()).note for _ in range(2)]


async def test_a_lost_reply_spends_once(backend: Backend, provider: Provider) -> None:
    """With every reply of the store lost once a question is spent once and given back once (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        started = await engine.start(purpose="registration")
        async with town(engine, Wire(provider), budgets={"one": Budget(2)}) as one:
            await provider.close()
            for _ in range(4):
                assert "connection_refused" == (await one.ask(started)).note
            await provider.open()
            provider.status = 429
            assert ["status_429", "status_429", "over_budget"] == [(await one.ask(started)).note for _ in range(3)]


async def test_what_was_spent_yesterday_is_not_given_back_today(engine: Engine) -> None:
    """A question that is given back after midnight gives nothing to the new day."""
    async with town(engine, KNOWN) as one:
        def spending(nonce: str) -> Spending:
            return Spending(5, "5-k1-none", "one", nonce, budget=(2, DAY * 1000))

        engine.advance(DAY - ELAPSED_S - 1)
        assert ("ok", 0) == await one.store.spend_question(spending("a"))
        engine.advance(2)
        assert ("ok", 0) == await one.store.spend_question(spending("b"))
        await one.store.give_back_question(spending("a"), with_budget=True)
        assert ("ok", 0) == await one.store.spend_question(spending("c"))
        assert "over_budget" == (await one.store.spend_question(spending("d")))[0]
        for _ in range(2):
            await one.store.give_back_question(spending("b"), with_budget=True)
        assert ["ok", "over_budget"] == [(await one.store.spend_question(spending(nonce)))[0] for nonce in "ef"]


# -- sources that must not be asked twice -------------------------------------------------------------------------


async def test_a_lost_answer_is_not_asked_for_again(engine: Engine, provider: Provider) -> None:
    """Where asking twice does harm, a question whose answer was lost is not asked again about that verification."""
    provider.hangs_up = True
    first, second = await engine.start(PHONE, "registration"), await engine.start(OTHER_PHONE, "registration")
    async with town(engine, Wire(provider)) as one:
        assert "connection_lost" == (await one.ask(first)).note
        for _ in range(2):
            found = await one.ask(first)
            assert (ERROR, "asked_before", None) == (found.outcome, found.note, found.retry_after_s)
        assert ([1], {"asked_before": 2}) == (one.asked(), one.skips("one"))
        provider.hangs_up = False
        assert MATCH is (await one.ask(second)).outcome


async def test_another_process_does_not_ask_again_either(engine: Engine) -> None:
    """What one process asked, all know; also while it still waits for the answer."""
    started = await engine.start(purpose="registration")
    waiting, other = Source(None, repeatable=False), Source(repeatable=False)
    async with town(engine, waiting) as here, engine.sibling() as process, town(process, other) as there:
        asking = asyncio.create_task(here.ask(started))
        while not waiting.asked:
            await asyncio.sleep(0)
        assert "asked_before" == (await there.ask(started)).note
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert "asked_before" == (await there.ask(started)).note
    assert [] == other.asked


@pytest.mark.parametrize("fault", ["refused", "429", "503", "stranger"])
async def test_what_was_not_lost_may_be_asked_again(engine: Engine, provider: Provider, fault: str) -> None:
    """A source that was not reached, refused the question or does not know the number is asked again."""
    started = await engine.start(purpose="registration")
    async with town(engine, Wire(provider), DOWN) as one:
        match fault:
            case "refused":
                await provider.close()
            case "stranger":
                provider.text = "stranger"
            case _:
                provider.status = int(fault)
        assert ERROR is (await one.ask(started)).outcome
        if fault == "refused":
            await provider.open()
        provider.status, provider.text = 200, "match"
        assert (MATCH, "one") == ((found := await one.ask(started)).outcome, found.source)
        assert "asked_before" == (await one.ask(started)).note


@pytest.mark.parametrize("status", [200, 500, 504])
async def test_an_unreadable_answer_is_a_lost_one(engine: Engine, provider: Provider, status: int) -> None:
    """An answer that nobody can read may have been one."""
    started = await engine.start(purpose="registration")
    provider.status, provider.text = status, "<html>"
    async with town(engine, Wire(provider)) as one:
        assert [f"status_{status}", "asked_before"] == [(await one.ask(started)).note for _ in range(2)]


async def test_a_late_repeat_gives_back_nothing_of_others(engine: Engine) -> None:
    """A question that is given back twice takes no mark away that another has set meanwhile (Invariant 11)."""
    started = await engine.start(purpose="registration")
    async with town(engine, KNOWN) as one:
        def spending(nonce: str) -> Spending:
            return Spending(engine.shard(started), started.id, "one", nonce, once=True)

        assert ("ok", 0) == await one.store.spend_question(spending("a"))
        await one.store.give_back_question(spending("a"), with_budget=True)
        assert ("ok", 0) == await one.store.spend_question(spending("b"))
        await one.store.give_back_question(spending("a"), with_budget=True)
        assert ("asked_before", 0) == await one.store.spend_question(spending("c"))


async def test_who_was_asked_before_hastens_nobody(engine: Engine) -> None:
    """One that is never asked again about a verification has no say in when the others are."""
    started = await engine.start(purpose="registration")
    busy = Evidence(ERROR, "", note="busy", retry_after_s=30)
    async with town(engine, Source(DOWN, repeatable=False), busy) as one:
        assert [None, 30] == [(await one.ask(started)).retry_after_s for _ in range(2)]
        assert {"asked_before": 1} == one.skips("one")


async def test_an_answer_in_the_form_of_a_refusal_is_an_answer(engine: Engine, provider: Provider) -> None:
    """What a source answered about its subscriber is not asked again, whatever the status it came with."""
    started = await engine.start(purpose="registration")
    provider.status, provider.text = 404, "blocked"
    async with town(engine, Wire(provider)) as one:
        assert ["subscriber_blocked", "asked_before"] == [(await one.ask(started)).note for _ in range(2)]


@pytest.mark.parametrize("answer", [DOWN, None])
async def test_a_source_that_makes_its_own_requests(engine: Engine, answer: Evidence | None) -> None:
    """How far a question to such a source came is not known: after an error or a timeout it may have been answered."""
    started = await engine.start(purpose="registration")
    async with town(engine, Source(answer, repeatable=False), deadline_s=0.05) as one:
        first, second = [(await one.ask(started)).note for _ in range(2)]
    assert (DOWN.note if answer else "timeout", "asked_before") == (first, second)


async def test_the_mark_stands_in_the_record(engine: Engine) -> None:
    """That a source was asked is known as long as the verification, in its record, and stays small."""
    started = await engine.start(purpose="registration")
    before, known = await engine.record(started), await engine.redis.keys("*")
    async with town(engine, Source(STRANGER), Source(repeatable=False)) as one:
        await one.ask(started)
    assert {**before, b"wx:two": b"1"} == await engine.record(started)
    [nonce] = {*await engine.redis.keys("*")} - {*known}
    assert 0 < await engine.redis.pttl(nonce) <= 120_000


async def test_what_is_no_verification_is_not_remembered(engine: Engine) -> None:
    """A question about no verification, or one that is gone, leaves no record behind (Invariant 7)."""
    gone = engine.ring.new_id(5)
    async with town(engine, Source(repeatable=False), budgets={"one": Budget(9)}) as one:
        for reference in (gone, gone, "tried-out"):
            assert MATCH is (await one.ask(reference)).outcome
    assert [] == await engine.redis.keys("*:v:*")
    for key in await engine.redis.keys("otp:o:*"):
        assert 0 < await engine.redis.pttl(key)


# -- the store ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("valkey")
async def test_what_cannot_be_given_back_stays_spent(valkey_url: str, provider: Provider) -> None:
    """A store that goes away while a source is asked costs a question, not an exception."""
    await provider.close()
    full = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    async with (
        Proxy(valkey_url) as line, over(line) as engine,
        town(engine, Wire(provider), budgets={"one": Budget(1)}) as one,
    ):
        line.answer(scripts.load("give_back_question").sha.encode(), full)
        with structlog.testing.capture_logs() as lines:
            assert ["connection_refused", "over_budget"] == [(await one.ask()).note for _ in range(2)]
        assert 1 == [told["event"] for told in lines].count("question not given back")
