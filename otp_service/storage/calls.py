"""What goes into the store's transitions and what comes out of them, as ``storage/store.py`` takes and gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from otp_service.core.limits import Decision, Limit, Mode
from otp_service.core.verification import Delivery
from otp_service.storage import keys
from otp_service.storage.records import DELIVERY_LETTERS, Record


@dataclass(slots=True)
class Answer:
    """
    What a script answered.

    Attributes:
        outcome: a word of the script's header.
        now_ms: the store's clock.
        record: the verification's record, empty where the script gives none.
        decisions: what each limit said, for the caller's metrics and refusals.
        number: what the script's header says: attempts left, or milliseconds.
        id: of a start: the verification's, an older one's for a replay.
        ended: whether this very call ended the verification.
        older: of a start: the status (letter) an older live verification ended with.
        extra: sealed name, birth date and consent.
        again: of a claim: whether this send was claimed before.
    """

    outcome: str
    now_ms: int
    record: Record = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    number: int = 0
    id: str = ""
    ended: bool = False
    older: str = ""
    extra: bytes = b""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """An ``Idempotency-Key`` as the store knows it: the record's name and the digest of the request's body."""

    name: str
    body: str


@dataclass(slots=True)
class SendLimits:
    """The limits one SMS spends; ``address`` and ``block`` are None where no address counts."""

    cooldown: Limit
    sends: Limit
    block: Limit | None
    total: Limit
    failures: Limit
    block_failures: Limit | None
    address: tuple[str, Limit] | None
    client: tuple[str, Limit]
    service: Limit

    @property
    def told(self) -> tuple[Limit | None, ...]:
        """The limits in the order in which the scripts answer; None where one does not apply."""
        address = self.address[1] if self.address else None
        return (
            self.failures, self.cooldown, self.sends, self.block, self.total, self.block_failures, address,
            self.client[1], self.service,
        )

    @property
    def rate_keys(self) -> tuple[str, str, str]:
        """The keys of the three rates."""
        address = keys.rate("a", self.address[0]) if self.address else ""
        return address, keys.rate("c", self.client[0]), keys.rate("s", "service")

    @property
    def args(self) -> tuple[Any, ...]:
        """The scripts' arguments: cooldown, three caps, the block's failures, three rates."""
        near = self.block_failures
        return (
            self.cooldown.period_ms, enforce_arg(self.cooldown), *cap_args(self.sends),
            *(cap_args(self.block) if self.block else (0, 0, "0")),
            *cap_args(self.total), *((near.count, enforce_arg(near)) if near else (0, "0")),
            *(rate_args(self.address[1]) if self.address else (0, 0, 0)), *rate_args(self.client[1]),
            *rate_args(self.service),
        )


@dataclass(slots=True)
class NewVerification:
    """Everything a start writes; ``fields`` are the record's, see ``scripts/_verification.lua``."""

    id: str
    shard: int
    client: str
    purpose: str
    phone_names: tuple[str, ...]
    group: str
    block: str
    life_ms: int
    code_ms: int
    fields: Sequence[Any]
    extra: bytes = b""
    links: bytes = b""
    before: AskBefore | None = None
    gate: Gate | None = None


class Door(StrEnum):
    """
    How a start passes the gate; the values are those of ``scripts/start.lua``.

    ``OPEN``: a rate that refuses is a refusal like any other.  ``OPENS_WITH_PROOF``: it asks for a proof of work.
    ``SHUT``: nothing passes but a start that was made before.
    """

    OPEN = ""
    OPENS_WITH_PROOF = "p"
    SHUT = "x"


@dataclass(slots=True)
class Gate:
    """
    What a start passes before its limits.

    Attributes:
        door: what the rates decide.
        spent_key: the key of the proof of work that it brings; empty without one.
        proof_ms: how long that key is kept: as long as the proof could be shown again.
        rates: the rates that a start without proof spends, each with its key; at most two.
    """

    door: Door = Door.OPEN
    spent_key: str = ""
    proof_ms: int = 0
    rates: tuple[tuple[str, Limit], ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of ``scripts/start.lua``: the proof's, then those of two rates."""
        return (self.spent_key, *[key for key, _ in self.rates], "", "")[:3]

    @property
    def args(self) -> tuple[Any, ...]:
        """Its arguments: how long a proof is kept, what a refusal means, and the two rates."""
        numbers = [part for _, limit in self.rates for part in rate_args(limit)]
        return (self.proof_ms, self.door, *numbers, *[0] * 6)[:8]


OPEN = Gate()


@dataclass(frozen=True, slots=True)
class AskBefore:
    """Ownership is asked before the code: how long that may take, and when the worker takes over."""

    within_ms: int
    worker_after_ms: int


@dataclass(frozen=True, slots=True)
class FirstCode:
    """The code that a match sends where ownership is asked before it, and the cooldown that its SMS starts."""

    digest: bytes
    cooldown_ms: int
    enforced: bool = True


@dataclass(frozen=True, slots=True)
class Attested:
    """An official's call: what makes it safe to make twice."""

    nonce: str
    replay: Replay | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """
    What a source said, as ``scripts/settle.lua`` takes it.

    Attributes:
        outcome: its letter (``storage/records.py``).
        source: who answered.
        assurance: how strong that is; empty when nothing was learnt.
        backoff_ms: until the next try after an error; it doubles.
        alone_ms: how long the source wants to be left alone.
        sim_swapped: whether the SIM was changed lately.
        attested: the call of an official who attests it, where no source does.
        first_code: the code to send on a match, where none was made yet.
    """

    outcome: str
    source: str
    assurance: str = ""
    backoff_ms: int = 0
    alone_ms: int = 0
    sim_swapped: bool = False
    attested: Attested | None = None
    first_code: FirstCode | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """
    A message that a gateway has taken, so that its delivery reports find the verification.

    Attributes:
        gateway: the account's name.
        provider_id: what the provider calls the message; empty when it gave no id.
        delivery: what is known of its delivery at once.
        poll_after_ms: when to ask for its delivery first; None when nobody asks.
    """

    gateway: str
    provider_id: str = ""
    delivery: Delivery | None = None
    poll_after_ms: int | None = None

    @property
    def keys(self) -> tuple[str, str, str]:
        """The gateway's keys of ``scripts/sent.lua``."""
        if not self.provider_id:
            return "", "", ""
        polls = keys.gateway(self.gateway, "polls") if self.poll_after_ms is not None else ""
        return keys.gateway_message(self.gateway, self.provider_id), keys.gateway(self.gateway, "early"), polls

    @property
    def args(self) -> tuple[str, str, int, str]:
        """Its last arguments."""
        known = DELIVERY_LETTERS[self.delivery] if self.delivery else ""
        return known, self.provider_id, self.poll_after_ms or 0, self.gateway


def enforce_arg(limit: Limit) -> str:
    """Return whether a limit refuses, as the scripts read it."""
    return "1" if limit.mode is Mode.ENFORCE else "0"


def cap_args(limit: Limit) -> tuple[int, int, str]:
    """Return a cap as the scripts read it: count, period in ms, whether it refuses."""
    return limit.count, limit.period_ms, enforce_arg(limit)


def rate_args(limit: Limit) -> tuple[float, float, str]:
    """Return a rate as the scripts read it: ms between two, ms of burst, whether it refuses."""
    return limit.emission_ms, limit.emission_ms * limit.capacity, enforce_arg(limit)
