"""The chain of sources: who is asked, what it makes of their answers, and what it does under fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from support.engine import HOUR, PHONE, Engine
from support.proxy import Proxy
from support.town import (
    BLOCKED,
    DOWN,
    ERROR,
    KNOWN,
    MATCH,
    MISMATCH,
    NAMES,
    NOT_AVAILABLE,
    OTHER_ID,
    STRANGER,
    Provider,
    Source,
    Town,
    Wire,
    listening,
    over,
    town,
)

from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import NOT_A_SUBSCRIBER, Evidence, OwnershipOutcome
from otp_service.core.phone import Carrier
from otp_service.core.routing import Route, parse_tiers
from otp_service.inquiry.sources import AskedSource, Budget
from otp_service.storage import keys


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Give a provider that listens."""
    async with listening() as one:
        yield one


# -- whose answer it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [KNOWN, OTHER_ID, BLOCKED])
async def test_who_knows_the_number_decides(engine: Engine, answer: Evidence) -> None:
    """A match, a mismatch, and whatever else a source says of its own subscriber is the answer."""
    async with town(engine, answer, KNOWN) as one:
        found = await one.ask()
        assert (answer.outcome, "one", answer.assurance, answer.note) == (
            found.outcome, found.source, found.assurance, found.note,
        )
        assert [1, 0] == one.asked()


async def test_not_my_subscriber_passes_on(engine: Engine) -> None:
    """A source that does not know the number passes on, until one does."""
    async with town(engine, STRANGER, STRANGER, OTHER_ID, KNOWN) as one:
        assert (MISMATCH, "three") == ((found := await one.ask()).outcome, found.source)
        assert [1, 1, 1, 0] == one.asked()


async def test_nobodys_subscriber(engine: Engine) -> None:
    """When all have said so, nobody knows the number: no error, and nothing to ask again."""
    async with town(engine, STRANGER, STRANGER) as one:
        found = await one.ask()
        assert (NOT_AVAILABLE, "two", NOT_A_SUBSCRIBER, None) == (
            found.outcome, found.source, found.note, found.retry_after_s,
        )


async def test_an_outage_falls_through(engine: Engine) -> None:
    """The next source answers in the place of one that is down."""
    async with town(engine, DOWN, KNOWN) as one:
        assert (MATCH, "two") == ((found := await one.ask()).outcome, found.source)


@pytest.mark.parametrize("answers", [(DOWN, STRANGER), (STRANGER, DOWN), (STRANGER, DOWN, STRANGER), (DOWN, DOWN)])
async def test_an_outage_makes_nobody_unknown(engine: Engine, answers: tuple[Evidence, ...]) -> None:
    """Who failed may have known: while one is down the number is not called unknown (Invariant 8)."""
    async with town(engine, *answers) as one:
        found = await one.ask()
        assert (ERROR, "connection_refused") == (found.outcome, found.note)
        assert NAMES[answers.index(DOWN)] == found.source
        assert [1] * len(answers) == one.asked()


# -- better and worse -------------------------------------------------------------------------------------------


WEAK = Evidence(MATCH, "", "subscriber_table")
SWAPPED = replace(KNOWN, sim_swapped=True)


@pytest.mark.parametrize("word", [OTHER_ID, BLOCKED])
async def test_a_worse_word_refuses_nobody_in_an_outage(engine: Engine, word: Evidence) -> None:
    """While a better source is down, what a worse one has against somebody is not the answer (Invariant 8)."""
    async with town(engine, DOWN, word, STRANGER) as one:
        found = await one.ask()
        assert (ERROR, "connection_refused", [1, 1, 1]) == (found.outcome, found.note, one.asked())


@pytest.mark.parametrize("word", [OTHER_ID, BLOCKED])
async def test_a_worse_word_stands_when_the_better_does_not_know(engine: Engine, word: Evidence) -> None:
    """Once everybody better has said that the number is not theirs, the next word is the answer."""
    async with town(engine, STRANGER, word, DOWN) as one:
        found = await one.ask()
        assert (word.outcome, "two", [1, 1, 0]) == (found.outcome, found.source, one.asked())


@pytest.mark.parametrize(("fields", "outcome"), [
    ({}, MATCH), ({"min_assurance": "subscriber_table"}, MATCH), ({"min_assurance": "operator_match"}, ERROR),
    ({"sim_swap_max_age_h": 240}, MATCH), ({"sim_swap_max_age_h": 240, "sim_swap_decides": True}, ERROR),
])
async def test_a_match_in_an_outage_must_be_all_that_is_wanted(
    engine: Engine, fields: dict[str, Any], outcome: OwnershipOutcome,
) -> None:
    """A worse source's match counts in an outage unless the purpose wants what only the better one can say."""
    async with town(engine, DOWN, WEAK) as one:
        assert outcome is (await one.ask(**fields)).outcome


@pytest.mark.parametrize(("better", "worse", "fields", "expected"), [
    (KNOWN, OTHER_ID, {}, (MATCH, "one")),
    (KNOWN, WEAK, {"min_assurance": "operator_match"}, (MATCH, "one")),
    (SWAPPED, WEAK, {"sim_swap_max_age_h": 240, "sim_swap_decides": True}, (MATCH, "one")),
    (STRANGER, OTHER_ID, {}, (MISMATCH, "two")),
    (STRANGER, BLOCKED, {}, (NOT_AVAILABLE, "two")),
    (DOWN, OTHER_ID, {}, (ERROR, "one")),
])
async def test_a_low_share_takes_no_word_away(
    engine: Engine, better: Evidence, worse: Evidence, fields: dict[str, Any],
    expected: tuple[OwnershipOutcome, str],
) -> None:
    """A better source that is asked last, because it has failed of late, still has the last word."""
    async with town(engine, better, worse) as one:
        one.shares._shares["one"] = 2
        seen = {(await one.ask(f"5-k1-{at}", **fields)).outcome for at in range(20)}
        found = await one.ask("5-k1-last", **fields)
        assert ({expected[0]}, expected) == (seen, (found.outcome, found.source))
        assert one.asked()[1] >= 15


@pytest.mark.parametrize("word", [OTHER_ID, BLOCKED, WEAK])
async def test_equals_have_the_same_word(engine: Engine, word: Evidence) -> None:
    """Sources of one tier stand in for each other: what one says while the other is down is the answer."""
    async with Town(engine, {"one": Source(DOWN), "two": Source(word)}, [Route(parse_tiers(["one two"]))]) as one:
        assert {word.outcome} == {(await one.ask(f"5-k1-{at}")).outcome for at in range(8)}


async def test_a_source_that_is_held_back_on_purpose_leaves_its_word(engine: Engine) -> None:
    """Beyond the budget of the better source the next one's word stands, whatever it is."""
    async with Town(engine, {"one": Source(KNOWN), "two": Source(OTHER_ID)}, budgets={"one": Budget(1)}) as one:
        assert [MATCH, MISMATCH, MISMATCH] == [(await one.ask(f"5-k1-{at}")).outcome for at in range(3)]


async def test_each_source_is_asked_the_same_question(engine: Engine) -> None:
    """All that was asked goes to each, unchanged."""
    async with town(engine, DOWN, STRANGER) as one:
        await one.ask(full_name="NGUYEN VAN A", sim_swap_max_age_h=240, consent="2026-01")
        first, second = (source.asked[0] for source in one.sources.values() if isinstance(source, Source))
        assert first is second
        assert (PHONE, "NGUYEN VAN A", 240, "2026-01") == (
            first.phone_number, first.full_name, first.sim_swap_max_age_h, first.consent,
        )


@pytest.mark.parametrize(("most", "asked"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1])])
async def test_so_many_questions_and_no_more(engine: Engine, most: int, asked: list[int]) -> None:
    """One call asks a bounded number of sources (Invariant 14); who was not asked might have known."""
    async with town(engine, STRANGER, DOWN, KNOWN, options={"most_asks": most}) as one:
        evidence = await one.ask()
        assert (ERROR, ERROR, MATCH)[most - 1] is evidence.outcome
        assert ("no_question_left", "connection_refused", None)[most - 1] == evidence.note
        assert asked == one.asked()


async def test_four_questions_by_default(engine: Engine) -> None:
    """Unless told otherwise a call asks four sources."""
    async with town(engine, DOWN, DOWN, DOWN, DOWN, KNOWN) as one:
        assert ERROR is (await one.ask()).outcome
        assert [1, 1, 1, 1, 0] == one.asked()


# -- who is asked -------------------------------------------------------------------------------------------------


async def test_the_prefix_is_a_hint(engine: Engine) -> None:
    """The prefix's carrier chooses whom to ask first; a number that was taken along is found by the next."""
    routes = [
        Route(parse_tiers(["one", "two"]), frozenset({Carrier.MOBIFONE})), Route(parse_tiers(["two", "one"])),
    ]
    answers = {"one": Source(STRANGER), "two": Source(KNOWN)}
    async with Town(engine, answers, routes) as one:
        assert "two" == (await one.ask(phone="+84900000001")).source
        assert [1, 1] == one.asked()
        assert "two" == (await one.ask(phone="+84980000001")).source
        assert [1, 2] == one.asked()


async def test_the_purpose_may_choose(engine: Engine) -> None:
    """A route may be for some purposes."""
    routes = [Route(parse_tiers(["two"]), purposes=frozenset({"registration"})), Route(parse_tiers(["one"]))]
    async with Town(engine, {"one": Source(), "two": Source()}, routes) as one:
        assert "two" == (await one.ask()).source


async def test_a_route_to_nowhere_does_not_start(engine: Engine) -> None:
    """A route that names a source that is not there is told at once."""
    routes = [Route(parse_tiers(["one", "nobody"]))]
    with pytest.raises(ConfigurationError, match="nobody"):
        async with Town(engine, {"one": Source()}, routes):
            pass


async def test_the_same_question_takes_the_same_way(engine: Engine) -> None:
    """Who asks again about a verification asks the same source first."""
    routes = [Route(parse_tiers(["one two three"]))]
    async with Town(engine, {name: Source() for name in NAMES[:3]}, routes) as one:
        for at in range(20):
            assert 1 == len({(await one.ask(f"5-k1-{at}")).source for _ in range(3)})
        assert 0 not in one.asked()


@pytest.mark.parametrize("answer", [KNOWN, STRANGER, DOWN])
async def test_test_keys_ask_no_real_register(engine: Engine, answer: Evidence) -> None:
    """A test key's question goes to the sources that reach nothing, and what the real ones might know is no matter."""
    real, artificial = Source(real=True), Source(answer)
    async with town(engine, real, artificial) as one:
        assert (answer.outcome, "two") == ((found := await one.ask(test=True)).outcome, found.source)
        assert ([0, 1], {"test_key": 1}, {}) == (one.asked(), one.skips("one"), one.skips("two"))


async def test_test_keys_have_a_source_of_their_own(engine: Engine) -> None:
    """Where all are real, test keys ask the made-up one."""
    made_up = Source()
    options = {"fallback_for_tests": AskedSource("made_up", made_up)}
    async with town(engine, Source(real=True), options=options) as one:
        assert (MATCH, "made_up") == ((found := await one.ask(test=True)).outcome, found.source)
        assert "one" == (await one.ask()).source
        await one.shares.exchange()
        assert ([1], 1) == (one.asked(), len(made_up.asked))


async def test_test_keys_without_a_source(engine: Engine) -> None:
    """Where all are real and there is no other, a test key learns nothing: no error, no match."""
    async with town(engine, Source(real=True)) as one:
        found = await one.ask(test=True)
        assert (NOT_AVAILABLE, "test_key", [0]) == (found.outcome, found.note, one.asked())


# -- time ---------------------------------------------------------------------------------------------------------


async def test_a_source_that_hangs_leaves_time_for_the_next(engine: Engine) -> None:
    """Each source has a deadline of its own, within that of all."""
    async with town(engine, None, KNOWN, deadline_s=0.05) as one:
        assert (MATCH, "two") == ((found := await one.ask()).outcome, found.source)


async def test_without_time_nobody_is_asked(engine: Engine) -> None:
    """When the time is over those who were not asked yet are not: it is an error, to be asked again at once."""
    async with town(engine, None, KNOWN, KNOWN) as one:
        found = await one.ask(deadline_s=0.06)
        assert (ERROR, "one", "no_time", None) == (found.outcome, found.source, found.note, found.retry_after_s)
        assert ([1, 0, 0], {"no_time": 1}, {"no_time": 1}) == (one.asked(), one.skips("two"), one.skips("three"))


async def test_not_mine_and_no_time_is_no_answer(engine: Engine) -> None:
    """Who could not be asked for want of time may know: the number is not unknown (Invariant 8)."""
    async with town(engine, STRANGER) as one:
        found = await one.ask(deadline_s=0.04)
        assert (ERROR, "no_time", [0]) == (found.outcome, found.note, one.asked())


async def test_a_cancelled_question(engine: Engine) -> None:
    """Who asks may be cancelled, and the chain with it."""
    async with town(engine, None, KNOWN) as one:
        asking = asyncio.create_task(one.ask())
        while not one.asked()[0]:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert [1, 0] == one.asked()


# -- rests --------------------------------------------------------------------------------------------------------


async def test_retry_after_is_kept(engine: Engine, provider: Provider) -> None:
    """A source that wants to be left alone is, until then: the others answer, and it is told once."""
    provider.status, provider.headers = 429, {"Retry-After": "30"}
    async with town(engine, Wire(provider), KNOWN) as one:
        with structlog.testing.capture_logs() as lines:
            for _ in range(3):
                assert "two" == (await one.ask()).source
        assert [("one", 30)] == [(line["source"], line["seconds"]) for line in lines if line["event"] == "source rests"]
        assert ([1, 3], {"resting": 2}) == (one.asked(), one.skips("one"))
        assert 1 == one.count("otp_source_open", source="one")
        provider.status, provider.headers = 200, {}
        one.rest_clock[0] += 29.999
        assert "two" == (await one.ask()).source
        one.rest_clock[0] += 0.001
        assert "one" == (await one.ask()).source
        await one.shares.exchange()
        assert 0 == one.count("otp_source_open", source="one")


async def test_when_to_ask_again(engine: Engine) -> None:
    """An error says when the first of those that failed may be asked again, also from one that was not asked."""
    def busy(seconds: float | None) -> Evidence:
        return Evidence(ERROR, "", note="busy", retry_after_s=seconds)

    for rests, expected in (((30, 10), 10), ((10, 30), 10), ((30, None), None), ((None, 30), None), ((30, 30), 30)):
        async with town(engine, *map(busy, rests)) as one:
            assert expected == (await one.ask()).retry_after_s
    async with town(engine, busy(30), busy(20)) as one:
        await one.ask()
        one.rest_clock[0] += 5
        found = await one.ask()
        assert (ERROR, "one", "resting", 15) == (found.outcome, found.source, found.note, found.retry_after_s)
        assert [1, 1] == one.asked()


async def test_not_mine_and_resting_is_no_answer(engine: Engine) -> None:
    """A source that rests may know: while it does the number is not called unknown (Invariant 8)."""
    async with town(engine, Evidence(ERROR, "", note="busy", retry_after_s=30), STRANGER) as one:
        for _ in range(2):
            assert (ERROR, 30) == ((found := await one.ask()).outcome, found.retry_after_s)


async def test_a_later_shorter_rest_ends_none(engine: Engine) -> None:
    """Two questions under way may both be told to wait: the longer wait holds."""
    async with town(engine, KNOWN) as one:
        with structlog.testing.capture_logs() as lines:
            for seconds in (30.0, 5.0):
                one.shares.heard("one", Evidence(ERROR, "one", note="busy", retry_after_s=seconds))
        assert (30, 1) == (one.shares.rests_s("one"), len(lines))


# -- shares -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "share"), [(KNOWN, 100), (OTHER_ID, 100), (STRANGER, 100), (BLOCKED, 100), (DOWN, 50),
                            (Evidence(ERROR, ""), 50), (Evidence(ERROR, "", note="timeout"), 50),
                            (Evidence(ERROR, "", note="unauthenticated"), 2),
                            (Evidence(ERROR, "", note="permission_denied"), 2),
                            (Evidence(ERROR, "", note="no_time"), 100), (Evidence(ERROR, "", note="store"), 100)],
)
async def test_which_answers_speak_against_a_source(engine: Engine, evidence: Evidence, share: int) -> None:
    """Errors do, a refused account above all; answers do not, nor what was our own doing."""
    async with town(engine, KNOWN) as one:
        for _ in range(5):
            one.shares.heard("one", evidence)
        await one.shares.exchange()
        assert share == one.shares.now["one"]
        assert float(share == 2) == one.count("otp_source_open", source="one")


async def test_an_error_without_a_note_has_a_reason(engine: Engine) -> None:
    """A shift names what was commonest, also where a source did not name it."""
    async with town(engine, KNOWN) as one:
        for _ in range(3):
            one.shares.heard("one", Evidence(ERROR, ""))
        with structlog.testing.capture_logs() as lines:
            await one.shares.exchange()
    assert ["error"] == [line["reason"] for line in lines]


async def test_questions_shift_away_and_back(engine: Engine) -> None:
    """What fails is asked ever more seldom, by every process, and comes back by itself."""
    routes = [Route(parse_tiers(["one two"]))]
    failing, well = Source(DOWN), Source()
    async with Town(engine, {"one": failing, "two": well}, routes) as one, engine.sibling() as process:
        with structlog.testing.capture_logs() as lines:
            for at in range(6):
                for number in range(20):
                    assert MATCH is (await one.ask(f"5-k1-{at}-{number}")).outcome
                await one.shares.exchange()
                one.shares.heard("one", DOWN)
                one.shares.heard("one", DOWN)
                one.shares.heard("one", DOWN)
                engine.advance(5)
                await one.shares.exchange()
        assert 2 == one.shares.now["one"]
        told = [line for line in lines if line["event"] == "source shifted"]
        assert ("warning", "one", 100, 50, "connection_refused") == tuple(
            told[0][name] for name in ("log_level", "source", "before", "after", "reason")
        )
        async with Town(process, {"one": failing, "two": well}, routes) as there:
            await there.shares.exchange()
            assert {"one": 2, "two": 100} == dict(there.shares.now)
            failing.asked.clear()
            for number in range(200):
                await there.ask(f"6-k1-{number}")
            # Each tries it with a chance of 2 in 102: twenty of two hundred are one in many millions.
            assert len(failing.asked) < 20
        failing.answer = KNOWN
        for _ in range(10):
            engine.advance(30)
            await one.shares.exchange()
        assert 100 == one.shares.now["one"]
        assert 100 == one.count("otp_source_share", source="one")
        assert one.count("otp_source_shifts_total", source="one", direction="away") == len(told)
        assert 10 == one.count("otp_source_shifts_total", source="one", direction="back")


async def test_gateways_have_shares_of_their_own(engine: Engine) -> None:
    """A gateway and a source of the same name do not speak for each other, and the key expires (Invariant 7)."""
    await engine.worker()
    async with Town(engine, {"fake": Source()}, [Route(parse_tiers(["fake"]))]) as one:
        for _ in range(5):
            one.shares.heard("fake", DOWN)
        await one.shares.exchange()
        await engine.shares.exchange()
        assert (50, 100) == (one.shares.now["fake"], engine.shares.now["fake"])
    assert 0 < await engine.redis.ttl(keys.source_shares()) <= HOUR


async def test_shares_are_told_until_the_process_stops(engine: Engine) -> None:
    """A process tells and reads by itself, every second."""
    stop = asyncio.Event()
    async with town(engine, KNOWN) as one:
        running = asyncio.create_task(one.shares.run(stop))
        while one.count("otp_source_share", source="one") is None:
            await asyncio.sleep(0)
        stop.set()
        await running


# -- the store ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("valkey")
async def test_without_the_store_nobody_is_asked_who_must_be_counted(valkey_url: str) -> None:
    """While the store is away what must be counted is not asked: an error, no exception (Invariant 8)."""
    async with (
        Proxy(valkey_url) as line, over(line) as engine,
        town(engine, KNOWN, KNOWN, budgets={"one": Budget(1)}) as one,
    ):
        line.refuse()
        found = await one.ask()
        assert (ERROR, "one", "store", [0, 0]) == (found.outcome, found.source, found.note, one.asked())
        line.accept()
        assert MATCH is (await one.ask()).outcome


@pytest.mark.usefixtures("valkey")
async def test_shares_wait_for_the_store(valkey_url: str) -> None:
    """While the store is away the last known shares count, and that is told."""
    async with Proxy(valkey_url) as line, over(line) as engine, town(engine, KNOWN) as one:
        line.refuse()
        stop = asyncio.Event()
        with structlog.testing.capture_logs() as lines:
            running = asyncio.create_task(one.shares.run(stop))
            while not lines:
                await asyncio.sleep(0)
            stop.set()
            await running
        assert {"source shares wait for the store"} == {line["event"] for line in lines}
        assert 100 == one.shares.now["one"]


@pytest.mark.usefixtures("valkey")
async def test_a_store_that_hangs_takes_no_longer_than_the_question(valkey_url: str) -> None:
    """Waiting for the store counts as time of the question."""
    async with Proxy(valkey_url) as line, over(line) as engine, town(engine, KNOWN, budgets={"one": Budget(1)}) as one:
        line.hold()
        async with asyncio.timeout(1):
            assert "store" == (await one.ask(deadline_s=0.06)).note
        line.release()
        assert [0] == one.asked()
