"""One send's way through the gateways: nobody twice in a round, never too often, and it always ends."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.failover import Next, Trial
from otp_service.core.ports import HEALED_ELSEWHERE, RETRYABLE, SendOutcome, SendResult

ORDER = ("a", "b", "c", "d")
OUTCOMES = st.builds(
    SendOutcome, st.sampled_from(SendResult), maybe_sent=st.booleans(), lost=st.booleans(),
)
REFUSALS = OUTCOMES.filter(lambda outcome: outcome.result in HEALED_ELSEWHERE)
BLOCKED, BUSY = SendOutcome(SendResult.BLOCKED), SendOutcome(SendResult.TEMPORARY)
LOST = SendOutcome(SendResult.UNKNOWN, maybe_sent=True, lost=True)


def trial(gateways: str = "abc", *, attempts: int = 8, deduplicating: str = "") -> Trial:
    """Return a trial of gateways of one letter each."""
    return Trial(tuple(gateways), attempts=attempts, deduplicating=frozenset(deduplicating))


# -- whatever is answered -----------------------------------------------------------------------------------------


@given(
    st.lists(OUTCOMES, min_size=20, max_size=20), st.integers(1, 4), st.integers(1, 8), st.sets(st.sampled_from(ORDER)),
    st.data(),
)
def test_it_ends_in_time_and_asks_nobody_twice_in_a_round(
    outcomes: list[SendOutcome], gateways: int, attempts: int, deduplicating: set[str], data: st.DataObject,
) -> None:
    """Whoever of the candidates is asked, a round asks each once, but for one lost answer of all, and it all ends."""
    one = Trial(ORDER[:gateways], attempts=attempts, deduplicating=deduplicating)
    asked: Counter[str] = Counter()
    again = 0
    for at, outcome in enumerate(outcomes):
        assert at < attempts
        assert one.candidates
        assert set(one.candidates) <= set(ORDER[:gateways])
        name = data.draw(st.sampled_from(one.candidates))
        asked[name] += 1
        if asked[name] > 1:
            assert name in deduplicating
            again += 1
        before = one.rounds
        step = one.note(name, outcome)
        assert at + 1 == one.made <= attempts
        if step in {Next.DONE, Next.FAILED}:
            assert outcome.taken == (step is Next.DONE)
            break
        assert (step is Next.PAUSE) == (one.rounds > before)
        if step is Next.PAUSE:
            asked.clear()
    else:
        pytest.fail("it did not end")
    assert again <= 1
    assert any(outcome.maybe_sent for outcome in outcomes[:one.made]) == one.maybe_sent


@given(st.lists(REFUSALS, min_size=4, max_size=4))
def test_every_gateway_is_asked_before_any_is_asked_again(outcomes: list[SendOutcome]) -> None:
    """What another gateway may heal goes to each of them once, best first."""
    one, asked = trial("abcd"), []
    for outcome in outcomes:
        asked.append(one.candidates[0])
        one.note(asked[-1], outcome)
    assert list("abcd") == asked


@given(st.lists(REFUSALS, min_size=4, max_size=4))
def test_only_those_who_may_change_their_mind_are_asked_again(outcomes: list[SendOutcome]) -> None:
    """After a round, those whose answer may be another a little later are left, in their order."""
    one = trial("abcd")
    steps = [one.note(name, outcome) for name, outcome in zip("abcd", outcomes, strict=True)]
    again = tuple(name for name, outcome in zip("abcd", outcomes, strict=True) if outcome.result in RETRYABLE)
    assert ([Next.ON] * 3, Next.PAUSE if again else Next.FAILED, again) == (steps[:3], steps[3], one.candidates)


# -- one by one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", SendResult)
def test_what_follows_each_result(result: SendResult) -> None:
    """A gateway's first answer ends the send or passes it on: a refused number is refused everywhere."""
    expected = {
        SendResult.ACCEPTED: Next.DONE, SendResult.DUPLICATE: Next.DONE, SendResult.INVALID_NUMBER: Next.FAILED,
    }
    assert expected.get(result, Next.ON) == trial("ab").note("a", SendOutcome(result))


def test_the_last_attempt_is_the_last() -> None:
    """When the attempts are used up the send has failed, whoever is left."""
    one = trial("abc", attempts=2)
    assert [Next.ON, Next.FAILED] == [one.note("a", BUSY), one.note("b", BUSY)]


def test_rounds_are_counted() -> None:
    """Each time all have refused a round is over; the pauses grow by it."""
    one = trial("a", attempts=4)
    assert [
        (Next.PAUSE, 1), (Next.PAUSE, 2), (Next.PAUSE, 3), (Next.FAILED, 3),
    ] == [(one.note("a", BUSY), one.rounds) for _ in range(4)]


def test_one_that_blocked_is_not_asked_again() -> None:
    """After the pause the one that refused for good is left out."""
    one = trial("ab")
    assert [Next.ON, Next.PAUSE] == [one.note("a", BLOCKED), one.note("b", BUSY)]
    assert ("b",) == one.candidates


# -- lost answers -------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_asked_for_again_where_duplicates_are_dropped() -> None:
    """A gateway that drops duplicates is asked once more, at once and before all others."""
    one = trial("abc", deduplicating="a")
    assert (Next.ON, ("a", "b", "c")) == (one.note("a", LOST), one.candidates)
    assert (Next.ON, ("b", "c")) == (one.note("a", LOST), one.candidates)


def test_a_lost_answer_elsewhere_is_not_asked_for_again() -> None:
    """A gateway that would send a second SMS is not asked again before all others."""
    one = trial("abc", deduplicating="b")
    assert (Next.ON, ("b", "c")) == (one.note("a", LOST), one.candidates)


def test_only_one_lost_answer_is_asked_for_again() -> None:
    """Of two gateways that lose their answers only the first is asked twice: the send must get on."""
    one = trial("ab", deduplicating="ab")
    one.note("a", LOST)
    one.note("a", LOST)
    assert (Next.PAUSE, ("a", "b")) == (one.note("b", LOST), one.candidates)


def test_a_timeout_is_no_lost_answer() -> None:
    """A gateway that did not answer in time is not asked again at once: that would take as long again."""
    one = trial("ab", deduplicating="ab")
    one.note("a", SendOutcome(SendResult.UNKNOWN, maybe_sent=True))
    assert ("b",) == one.candidates


@given(st.lists(OUTCOMES, min_size=1, max_size=3))
def test_what_may_be_sent_stays_so(outcomes: list[SendOutcome]) -> None:
    """Once a gateway may have the message no later refusal takes that back."""
    one = trial("abc")
    seen = False
    for name, outcome in zip("abc", outcomes, strict=False):
        one.note(name, outcome)
        seen = seen or outcome.maybe_sent
        assert seen == one.maybe_sent
