"""
Whole lives at random, against plain Python: every outcome, every counter and every shown field is the model's.

Hypothesis plays portals, citizens, guessers, the gateway, the source, an operator and the clock on three phones.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import fakeredis
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.engine import ACCEPT, DAY, ELSEWHERE, HOME, PORTAL, PURPOSES, REFUSE, RIVAL, UNCLEAR, Backend, Engine
from support.model import OK, Life, Model, Outcome

from otp_service.core.errors import InvalidRequest, NotVerified, Refusal
from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.limits import PHONE_BLOCK_FAILURES, Limit
from otp_service.core.verification import Verification
from otp_service.service import Caller

PHONES = ("+84900000001", "+84900000002", "+84900000003")
OWNERS = dict(zip(PHONES, ("052090000001", "052090000002", "052090000003"), strict=True))
NOBODY = "052090000009"
#: Few, so that games meet it.
BLOCK_FAILURES = 8
SOURCES = st.sampled_from(["match", "match", "mismatch", "not_available", "error"])
ANSWERS = {"accept": ACCEPT, "refuse": REFUSE, "unclear": UNCLEAR}
#: Mostly a cooldown, often a limit's last millisecond.
PAUSES = (*[60] * 10, *[61] * 4, 0.001, 1, 2, 5, 20, 29.999, 30, 59.999, 60.001, 90, 119.999, 120, 179.999, 180, 240)
LONG_PAUSES = (300, 480, 900, 3600, 86_340, 86_400)
PLAYED = ("phone_only", "sign_in", "registration", "registration", "assisted_registration")
PICKS = st.integers(0, 29)
Pair = tuple[Life, Verification]


def started(lives: Lives) -> bool:
    """Say whether there is any verification."""
    return bool(lives.pairs)


class Lives(RuleBasedStateMachine):
    """The engine beside its model."""

    backend: Backend
    forgetful = False

    @initialize()
    def begin(self) -> None:
        """Open one process on an empty store."""
        self.runner = asyncio.Runner()
        self.model = Model(block_failures=BLOCK_FAILURES)
        self.pairs: list[Pair] = []
        self.tokens: list[tuple[Life, str, int]] = []
        self.rotations = 0
        self.engine = self.run(self._open())

    async def _open(self) -> Engine:
        async with Engine(self.backend) as empty:
            await empty.redis.flushall()
        share = Limit(PHONE_BLOCK_FAILURES, BLOCK_FAILURES, 30 * DAY)
        return await Engine(self.backend, forgetful=self.forgetful, limits=[share]).__aenter__()

    def teardown(self) -> None:
        """Close the process."""
        if hasattr(self, "engine"):
            self.run(self.engine.__aexit__(None, None, None))
            self.runner.close()

    def run(self, call: Awaitable[Any]) -> Any:
        """Await a call."""
        async def awaited() -> Any:
            return await call

        return self.runner.run(awaited())

    def answer(self, call: Awaitable[Any]) -> Outcome:
        """Return how the engine answers, in the model's words."""
        try:
            self.run(call)
        except (InvalidRequest, NotVerified) as refusal:
            return refusal.code, {}
        except Refusal as refusal:
            return refusal.code, refusal.members
        return OK

    @property
    def now(self) -> int:
        """The store's clock."""
        return self.engine.clock.now_ms

    # -- what happens ------------------------------------------------------------------------------------------

    def pick(self, at: int) -> Pair:
        """Return one verification: mostly one that is live, if there is any."""
        live = [pair for pair in self.recent if pair[0].seen(self.now)[0] in {"pending", "checking_ownership"}]
        pairs = self.recent if at % 5 == 4 or not live else live
        return pairs[at % len(pairs)]

    @property
    def recent(self) -> list[Pair]:
        """The verifications that things still happen to."""
        return self.pairs[-6:]

    @rule(
        caller=st.sampled_from([PORTAL, PORTAL, RIVAL]), phone=st.sampled_from(PHONES),
        purpose=st.sampled_from(PLAYED),
        address=st.sampled_from([HOME, ELSEWHERE]),
    )
    def start(self, caller: Caller, phone: str, purpose: str, address: str) -> None:
        """Start a verification."""
        policy = PURPOSES[purpose]
        expected = self.model.start(caller.tenant, phone, policy, OWNERS[phone], address, self.now)
        call = self.engine.start(
            phone, purpose, caller=caller, end_user_ip=address,
            **({"id_number": OWNERS[phone]} if policy.checks_ownership else {}),
        )
        if not isinstance(expected, Life):
            assert expected == self.answer(call)
        else:
            self.pairs.append((expected, self.run(call)))

    @precondition(started)
    @rule(at=PICKS, caller=st.sampled_from([PORTAL, RIVAL, None, None, None]))
    def resend(self, at: int, caller: Caller | None) -> None:
        """Ask for another SMS; sometimes as another client."""
        life, verification = self.pick(at)
        caller = caller or self.owner(life)
        assert self.model.resend(life, caller.tenant, self.now) == self.answer(
            self.engine.resend(verification, caller=caller),
        )

    @precondition(started)
    @rule(at=PICKS, which=st.sampled_from(["right", "right", "wrong", "wrong", "old"]), source=SOURCES)
    def check(self, at: int, which: str, source: str) -> None:
        """Guess right, wrong, or with the code of the SMS before."""
        self._guess(self.pick(at), which, source)

    def _guess(self, pair: Pair, which: str, source: str) -> None:
        life, verification = pair
        number = {"right": life.send_number, "old": life.send_number - 1, "wrong": 0}[which]
        self.engine.source.outcome = OwnershipOutcome(source)
        code = self.engine.code(verification, number) if number else self.engine.wrong_code(verification)
        expected = self.model.check(life, life.client, number, source, self.now)
        assert expected == self.answer(self.engine.check(verification, code, caller=self.owner(life)))

    @precondition(started)
    @rule(at=PICKS, times=st.integers(2, 6))
    def guess_on(self, at: int, times: int) -> None:
        """Guess wrong again and again."""
        pair = self.pick(at)
        for _ in range(times):
            self._guess(pair, "wrong", "match")

    @precondition(started)
    @rule(at=PICKS, caller=st.sampled_from([PORTAL, RIVAL]))
    def guess_as_another(self, at: int, caller: Caller) -> None:
        """Guess right with another client's key, or with one's own."""
        life, verification = self.pick(at)
        self.engine.source.outcome = OwnershipOutcome.MATCH
        code = self.engine.code(verification, life.send_number)
        expected = self.model.check(life, caller.tenant, life.send_number, "match", self.now)
        assert expected == self.answer(self.engine.check(verification, code, caller=caller))

    @precondition(started)
    @rule(at=PICKS)
    def cancel(self, at: int) -> None:
        """Cancel."""
        life, verification = self.pick(at)
        assert self.model.cancel(life, life.client, self.now) == self.answer(
            self.engine.cancel(verification, caller=self.owner(life)),
        )

    @rule(seconds=st.sampled_from(PAUSES * 2 + LONG_PAUSES))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.engine.advance(seconds)

    @rule(answer=st.sampled_from(["accept", "accept", "refuse", "unclear"]))
    def deliver(self, answer: str) -> None:
        """Let the SMS worker empty the queue."""
        self._deliver(answer)

    def _deliver(self, answer: str) -> None:
        self.engine.postbox.posts.clear()
        self.engine.postbox.answer = ANSWERS[answer]
        expected = self.model.deliver(answer, self.now)
        self.run(self.engine.deliver())
        names = {id(life): verification.id for life, verification in self.pairs}
        assert Counter(f"{names[id(life)]}-{number}" for life, number in expected) == Counter(
            self.engine.postbox.references,
        )

    @rule(source=SOURCES)
    def work(self, source: str) -> None:
        """Let the deadline worker do its round."""
        self.engine.source.outcome = OwnershipOutcome(source)
        self.model.work(source, self.now)
        self.run(self.engine.deadlines())

    @precondition(started)
    @rule(at=PICKS)
    def read_token(self, at: int) -> None:
        """Read a result token, if there is one."""
        life, verification = self.pick(at)
        seen = self.run(self.engine.get(verification, caller=self.owner(life)))
        token = self.engine.service.token(seen)
        assert (token is not None) is (life.seen(self.now)[0] in {"verified", "rejected"})
        if token:
            self.tokens.append((life, token, self.now))

    @precondition(lambda self: self.tokens)
    @rule(at=PICKS, same_phone=st.sampled_from([True, True, True, False]),
          same_person=st.sampled_from([True, True, True, False, None]))
    def redeem(self, at: int, same_phone: bool, same_person: bool | None) -> None:
        """Redeem a token for the right person or for another."""
        life, text, issued = self.tokens[-1 - at % len(self.tokens)]
        life.meet(self.now)
        if not life.purpose.checks_ownership:
            same_person = None
        id_number = {True: life.id_number, False: NOBODY, None: None}[same_person]
        phone = life.phone if same_phone else "+84900000009"
        assert self.model.redeem(
            life, issued, same_phone=same_phone, same_person=same_person, now=self.now,
        ) == self.answer(
            self.engine.redeem(text, phone_number=phone, id_number=id_number, caller=self.owner(life)),
        )

    @rule(phone=st.sampled_from(PHONES))
    def reset(self, phone: str) -> None:
        """Reset a phone, as an operator may."""
        self.model.reset(phone)
        self.run(self.engine.store.phone(
            self.engine.shard(phone), self.engine.ring.names("phone", phone), reset=True,
        ))

    @precondition(lambda self: self.rotations < 2)
    @rule()
    def rotate(self) -> None:
        """Rotate the keys, when nothing is on its way."""
        self._deliver("accept")
        self.rotations += 1
        self.engine.rotate(*[f"k{number}" for number in range(self.rotations + 1, 0, -1)])

    # -- what holds --------------------------------------------------------------------------------------------

    @staticmethod
    def owner(life: Life) -> Caller:
        """Return the client a life belongs to."""
        return PORTAL if life.client == PORTAL.tenant else RIVAL

    @invariant()
    def everybody_sees_what_the_model_says(self) -> None:
        """Every field that is shown, of every verification, is the model's."""
        async def read() -> list[Verification]:
            return await asyncio.gather(
                *(self.engine.get(verification, caller=self.owner(life)) for life, verification in self.recent),
            )

        for (life, _), seen in zip(self.recent, self.run(read()), strict=True):
            expected = self.model.render(life, self.now)
            shown = {name: getattr(seen, name) for name in expected if name != "ownership"}
            assert expected == {**shown, "ownership": seen.ownership.status}

    @invariant()
    def every_phone_counts_what_the_model_counts(self) -> None:
        """Failures, waits and the day's sends of every phone are the model's."""
        for name, phone in self.model.phones.items():
            shown = self.run(self.engine.store.phone(
                self.engine.shard(name), self.engine.ring.names("phone", name), reset=False,
            ))
            assert (phone.count(self.now), phone.wait(self.now)) == (shown["failures"], shown["guess_wait_ms"])
            assert sum(self.now - sms.at < 86_400_000 for sms in phone.log) == shown["sends_24h"]


def machine(backend: Backend, *, forgetful: bool) -> type[Lives]:
    """Return the machine for a store."""
    return type("Played", (Lives,), {"backend": backend, "forgetful": forgetful})


def play(backend: Backend, *, examples: int, steps: int, forgetful: bool = False) -> None:
    """Let Hypothesis look for a short game that goes wrong."""
    run_state_machine_as_test(
        machine(backend, forgetful=forgetful),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )


def walk(backend: Backend, *, seed: int, steps: int, forgetful: bool = False) -> Lives:
    """Play one long game, in which logs fill up, failures add up and days go by."""
    chance = random.Random(seed)
    lives = machine(backend, forgetful=forgetful)()
    lives.begin()

    def any_of(*values: Any) -> Any:
        return chance.choice(values)

    def at() -> int:
        return chance.randrange(30)

    sources = ("match", "match", "mismatch", "not_available", "error")
    calls: list[tuple[int, Callable[[], object]]] = [
        (9, lambda: lives.start(
            any_of(PORTAL, PORTAL, RIVAL), any_of(*PHONES), any_of(*PLAYED), any_of(HOME, ELSEWHERE),
        )),
        (8, lambda: lives.resend(at(), any_of(None, None, None, PORTAL, RIVAL))),
        (14, lambda: lives.check(at(), any_of("right", "right", "wrong", "old"), any_of(*sources))),
        (2, lambda: lives.guess_on(at(), chance.randint(2, 6))),
        (1, lambda: lives.guess_as_another(at(), any_of(PORTAL, RIVAL))),
        (1, lambda: lives.cancel(at())),
        (9, lambda: lives.wait(chance.choice(PAUSES))),
        (1, lambda: lives.wait(chance.choice(LONG_PAUSES))),
        (12, lambda: lives.deliver(any_of("accept", "accept", "refuse", "unclear"))),
        (5, lambda: lives.work(any_of(*sources))),
        (5, lambda: lives.read_token(at())),
        (7, lambda: lives.tokens and lives.redeem(
            chance.randrange(2), chance.random() < 0.8, any_of(*[True] * 3, *[False] * 2, None),
        )),
        (1, lambda: chance.random() < 0.2 and lives.reset(any_of(*PHONES))),
        (1, lambda: lives.rotations < 2 and lives.rotate()),
    ]
    try:
        for _ in range(steps):
            [call] = chance.choices([call for _, call in calls], [weight for weight, _ in calls])
            if lives.pairs or call is calls[0][1]:
                call()
                lives.everybody_sees_what_the_model_says()
                lives.every_phone_counts_what_the_model_counts()
    finally:
        lives.teardown()
    return lives


@pytest.fixture
def fake_backend() -> Backend:
    """Give the fake store."""
    server = fakeredis.FakeServer()
    return Backend("fakeredis", lambda: fakeredis.FakeAsyncRedis(server=server))


def test_short_games(fake_backend: Backend) -> None:
    """Whatever happens in whatever order, the engine does what the rules say (Invariants 1, 2, 3, 4, 9 and 10)."""
    play(fake_backend, examples=25, steps=25)


def test_short_games_on_valkey(valkey_backend: Backend) -> None:
    """The same on the real store, for fewer games."""
    play(valkey_backend, examples=6, steps=20)


@pytest.mark.parametrize("seed", [1, 2])
def test_long_games(fake_backend: Backend, seed: int) -> None:
    """Over hundreds of steps and many days the engine does what the rules say (Invariants 1, 2, 3, 4, 9 and 10)."""
    lives = walk(fake_backend, seed=seed, steps=450)
    ends = {life.reason or life.status for life in lives.model.lives}
    assert {"verified", "cancelled", "locked", "sim_not_owned", "expired"} <= ends


def test_long_games_on_valkey(valkey_backend: Backend) -> None:
    """The same on the real store."""
    walk(valkey_backend, seed=3, steps=300)


def test_long_games_with_every_reply_lost_once(fake_backend: Backend) -> None:
    """With the store's every first reply lost, whole lives are the same (Invariant 11)."""
    walk(fake_backend, seed=4, steps=200, forgetful=True)
