"""
The whole engine of the service on one store, with a clock that tests move and a gateway and source that they script.

Nothing of the product is replaced: service, store, scripts, workers and sender are the real ones.  What a test plays
is the outside: the gateway's HTTP server, the ownership source, and the store's clock.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from joserfc.jwk import ECKey
from redis.asyncio import Redis

from otp_service.core import limits as kinds
from otp_service.core.client import Client, ClientRegistry
from otp_service.core.codes import code_digest, derive_code
from otp_service.core.errors import Refusal
from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.keyring import KeyRing, RingKey
from otp_service.core.limits import LIMIT_KINDS, Limit, LimitBook, Override
from otp_service.core.messages import Catalogue
from otp_service.core.result_token import Signer, SigningKey
from otp_service.core.routing import Route, RouteBook, parse_tiers
from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose, Verification
from otp_service.delivery.accounts import TEST_ACCOUNT, Account, Accounts, Pace
from otp_service.delivery.composer import Composer
from otp_service.delivery.courier import Courier, SendPolicy
from otp_service.delivery.deadlines import DeadlineWorker
from otp_service.delivery.reports import Reports
from otp_service.delivery.sender import Sender
from otp_service.delivery.shares import Shares
from otp_service.delivery.sms_worker import SmsWorker
from otp_service.delivery.tokens import Tokens
from otp_service.service import Caller, Secrets, StartCommand, VerificationService
from otp_service.service.allowances import Allowances
from otp_service.service.attestation import ATTESTED
from otp_service.storage import keys, scripts
from otp_service.storage.calls import Answer, Replay, SendLimits
from otp_service.storage.client import StoreClient
from otp_service.storage.gateways import GatewayStore
from otp_service.storage.peers import PeerStore
from otp_service.storage.queue import QueuedSms, SmsQueue
from otp_service.storage.records import to_record
from otp_service.storage.scripts import Script
from otp_service.storage.sources import SourceStore
from otp_service.storage.store import Store
from otp_service.telemetry.metrics import Metrics
from sms_adapters.fake import FakeGateway
from support.inquiry import chain_of

PHONE, OTHER_PHONE, THIRD_PHONE = "+84900000001", "+84900000002", "+84900000003"
OWNER, STRANGER = "052090000001", "052090000002"
HOME, ELSEWHERE = "198.51.100.7", "203.0.113.9"
NOW_MS = 1_790_000_000_000
MINUTE, HOUR, DAY = 60, 3600, 86_400

PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose("registration"),
        Purpose("account_link"),
        Purpose("password_reset", ownership=OwnershipPolicy.NEVER),
        Purpose("phone_only", ownership=OwnershipPolicy.NEVER),
        Purpose("sign_in", ownership=OwnershipPolicy.NEVER, code=CodePolicy(previous_code_grace_s=30)),
        Purpose("assisted_registration", assisted=True),
        Purpose("assisted_phone", ownership=OwnershipPolicy.NEVER, assisted=True),
        Purpose("no_resend", ownership=OwnershipPolicy.NEVER, max_resends=0),
        Purpose("careful_registration", ownership=OwnershipPolicy.BEFORE),
        Purpose("careful_assisted", ownership=OwnershipPolicy.BEFORE, assisted=True),
    )
}

PORTAL = Caller(Client("portal", purposes=frozenset(PURPOSES)))
RIVAL = Caller(Client("rival", purposes=frozenset(PURPOSES)))

#: The caps of DESIGN 5.  The rates stand wide open, so that only the tests about them meet them.
_WIDE = 1_000_000
LIMITS = (
    Limit(kinds.PHONE_COOLDOWN, 1, MINUTE), Limit(kinds.PHONE_SENDS, 5, DAY), Limit(kinds.PHONE_BLOCK_SENDS, 3, DAY),
    Limit(kinds.PHONE_SENDS_TOTAL, 20, DAY), Limit(kinds.PHONE_ASSISTED_SENDS, 10, DAY),
    Limit(kinds.PHONE_FAILURES, 100, 30 * DAY), Limit(kinds.PHONE_BLOCK_FAILURES, _WIDE, 30 * DAY),
    Limit(kinds.PHONE_OWNERSHIP_CHECKS, 5, DAY),
    Limit(kinds.ID_OWNERSHIP_CHECKS, 5, DAY), Limit(kinds.ADDRESS_SENDS, _WIDE, HOUR),
    Limit(kinds.ADDRESS_GUESSES, _WIDE, HOUR), Limit(kinds.ADDRESS_UNPROVEN_SENDS, _WIDE, HOUR),
    Limit(kinds.ADDRESS_NO_SCRIPT_SENDS, _WIDE, HOUR), Limit(kinds.CLIENT_UNPROVEN_SENDS, _WIDE, MINUTE),
    Limit(kinds.CLIENT_NO_SCRIPT_SENDS, _WIDE, MINUTE),
    Limit(kinds.CLIENT_SENDS, _WIDE, MINUTE),
    Limit(kinds.SERVICE_SENDS, _WIDE, MINUTE),
)

_MESSAGES = Path(__file__).parents[2] / "config" / "messages"


def book(*changed: Limit, overrides: Iterable[Override] = ()) -> LimitBook:
    """Return the default limits, some of them changed."""
    return LimitBook({limit.name: limit for limit in (*LIMITS, *changed)}.values(), overrides)


def ring(*ids: str) -> KeyRing:
    """Return a key ring of these key ids, the current one first; the same ids are the same keys."""
    return KeyRing(_secret("anchor"), [RingKey(one, _secret(one)) for one in ids or ("k1",)])


@cache
def _catalogue() -> Catalogue:
    return Catalogue({one: tomllib.loads((_MESSAGES / f"{one}.toml").read_text("utf-8")) for one in ("vi", "en")})


def _secret(name: str) -> bytes:
    return sha256(f"secret of the tests: {name}".encode()).digest()


def signing_key(*, test: bool = False) -> SigningKey:
    """Make a new signing key."""
    key = ECKey.generate_key("P-256")
    return SigningKey(str(key.thumbprint()), "ES256", key.as_pem(private=True), test)


_SIGNER = Signer([signing_key(), signing_key(test=True)])


def replay(name: str, body: str = "a") -> Replay:
    """Return an Idempotency-Key as the store knows it."""
    return Replay(f"name-of-{name}", f"{body:-<16}")


async def refused(call: Awaitable[Any]) -> Refusal:
    """Return the refusal that a call is answered with."""
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


@dataclass(frozen=True, slots=True)
class Backend:
    """A store to run on: ``connect`` makes a new client of it."""

    name: str
    connect: Callable[[], Redis]


class Clock:
    """The store's clock of one test, for every process of it; 0 leaves the store its own."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._stores: list[Store | PeerStore] = []

    def adopt(self, store: Store | PeerStore) -> None:
        """Let a store follow this clock."""
        store.now_ms = self.now_ms
        self._stores.append(store)

    def advance(self, seconds: float) -> None:
        """Move on, to the millisecond."""
        assert self.now_ms
        self.now_ms += round(seconds * 1000)
        for store in self._stores:
            store.now_ms = self.now_ms


class ForgetfulClient(StoreClient):
    """
    A connection that loses the first reply of every call, so that the store executes it twice.

    What hands out leases is left alone: a lost reply there costs the lease's time and nothing else.
    """

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> asyncio.Future[Any]:  # noqa: D102
        if script.name in {"claim", "due_asks", "due_hooks", "due_polls", "expire"}:
            return super().run(script, keys, args)

        async def twice() -> Any:
            await super(ForgetfulClient, self).run(script, keys, args)
            return await super(ForgetfulClient, self).run(script, keys, args)

        return asyncio.ensure_future(twice())


@dataclass
class Source:
    """An ownership source that answers what it is told to."""

    name: str = "tttb"
    assurance: str = "subscriber_table"
    outcome: OwnershipOutcome = OwnershipOutcome.MATCH
    #: Raised instead of an answer.
    error: Exception | None = None
    #: Waited for before the answer.
    gate: asyncio.Event | None = None
    #: What else its answer holds: fields, sim_swapped, retry_after_s, …
    also: dict[str, Any] = field(default_factory=dict)
    asked: list[OwnershipQuestion] = field(default_factory=list)

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Answer as scripted."""
        self.asked.append(question)
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        learnt = self.outcome in {OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH}
        return Evidence(self.outcome, self.name, self.assurance if learnt else None, **self.also)


#: For SmsQueue.read: do not wait for what is not there yet.
AT_ONCE: Any = None

ACCEPT = (200, {"id": "m-1"})
REFUSE = (400, {"error": "blocked"})
BUSY = (503, {})
THROTTLE = (429, {})
UNCLEAR = (200, {})


class Postbox:
    """The SMS gateway's side: a loopback HTTP server that keeps what it is given and answers from a script."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.answer: tuple[int, dict[str, Any]] = ACCEPT
        #: Answers that go first, one each.
        self.next: list[tuple[int, dict[str, Any]]] = []
        #: Waited for before an answer.
        self.gate: asyncio.Event | None = None
        self.in_hand = 0
        self.most_in_hand = 0
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def references(self) -> list[str]:
        """Every reference that came, in order."""
        return [post["reference"] for post in self.posts]

    async def open(self) -> None:
        """Listen on a free port of loopback."""
        app = web.Application()
        app.router.add_post("/sms", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/sms"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.posts.append(await request.json())
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        if self.gate:
            await self.gate.wait()
        self.in_hand -= 1
        status, body = self.next.pop(0) if self.next else self.answer
        return web.json_response(body, status=status)


class Engine:
    """
    One process of the service.

    Args:
        backend: the store.
        clock: the store's clock; a fixed one by default.
        ring: the key ring in force; ``rotate`` changes it.
        limits: limits other than the defaults.
        forgetful: whether every reply of the store is lost once.
        inline_deadline_s: as in the service.
        queue_cap: as in the store.
        redis: a connection other than the backend's.
        retry_total_s, timeout_s: as in the store's client.
        demo: as in the service.
    """

    def __init__(
        self, backend: Backend, *, clock: Clock | None = None, key_ring: KeyRing | None = None,
        limits: Sequence[Limit] = (), overrides: Sequence[Override] = (),
        purposes: Mapping[str, Purpose] = PURPOSES, forgetful: bool = False, inline_deadline_s: float = 3.0,
        queue_cap: int = 1000, redis: Redis | None = None, retry_total_s: float = 5.0, timeout_s: float = 2.0,
        demo: bool = False,
    ) -> None:
        self.backend = backend
        self.clock = clock or Clock(NOW_MS)
        self.secrets = Secrets(key_ring or ring(), _SIGNER)
        self.source = Source()
        self.postbox, self.backup = Postbox(), Postbox()
        self.purposes = purposes
        self.book = book(*limits, overrides=overrides)
        self.metrics = Metrics(
            purposes=purposes, limits=LIMIT_KINDS, gateways=["fake", "backup", TEST_ACCOUNT],
            sources=[self.source.name, ATTESTED],
            scripts=scripts.NAMES,
        )
        self.redis = redis or backend.connect()
        make = ForgetfulClient if forgetful else StoreClient
        self.client = make(self.redis, metrics=self.metrics, retry_total_s=retry_total_s, timeout_s=timeout_s)
        self.store = Store(self.client, queue_cap=queue_cap)
        self.gateways = GatewayStore(self.client)
        self.clock.adopt(self.store)
        self.clock.adopt(self.gateways)
        sources = SourceStore(self.client)
        self.clock.adopt(sources)
        self.chain = chain_of(self.source, sources, lambda: self.ring, self.metrics)
        self.reports = Reports(self.gateways, lambda: self.ring, self.metrics)
        self.service = VerificationService(
            self.store, secrets=lambda: self.secrets, limit_book=self.book, purposes=purposes, inquirer=self.chain,
            metrics=self.metrics, issuer="https://otp.example", inline_deadline_s=inline_deadline_s,
            proof_cost=1, demo=demo,
        )
        self._session: aiohttp.ClientSession | None = None
        self._closing = AsyncExitStack()
        self._worker: SmsWorker | None = None
        self._prepared: list[SmsWorker] = []

    async def __aenter__(self) -> Self:
        await self.store.prepare()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()
        await self.client.close()

    def sibling(self, **options: Any) -> Engine:
        """Return another process on the same store, by the same clock; the caller opens it."""
        options.setdefault("key_ring", self.ring)
        return Engine(self.backend, clock=self.clock, **options)

    @property
    def ring(self) -> KeyRing:
        """The key ring in force."""
        return self.secrets.ring

    def rotate(self, *ids: str) -> None:
        """Put another key ring in force."""
        self.secrets = replace(self.secrets, ring=ring(*ids))

    def advance(self, seconds: float) -> None:
        """Move the store's clock."""
        self.clock.advance(seconds)

    # -- a portal ----------------------------------------------------------------------------------------------

    async def start(
        self, phone: str = PHONE, purpose: str = "phone_only", *, caller: Caller = PORTAL, replay: Replay | None = None,
        end_user_ip: str | None = HOME, **fields: Any,
    ) -> Verification:
        """Start a verification; a purpose that checks ownership gets an ID number."""
        policy = self.purposes[purpose]
        if policy.checks_ownership:
            fields.setdefault("id_number", OWNER)
        command = StartCommand(policy, phone, end_user_ip=None if policy.assisted else end_user_ip, **fields)
        return await self.service.start(caller, command, replay)

    async def resend(
        self, verification: Verification, *, caller: Caller = PORTAL, replay: Replay | None = None,
    ) -> Verification:
        """Ask for another SMS."""
        return await self.service.resend(caller, verification.id, replay)

    async def check(
        self, verification: Verification, code: str, *, caller: Caller = PORTAL, replay: Replay | None = None,
    ) -> Verification:
        """Make a guess."""
        return await self.service.check(caller, verification.id, code, replay)

    async def right(self, verification: Verification, *, caller: Caller = PORTAL) -> Verification:
        """Guess right: with the code of the newest SMS."""
        now = await self.get(verification, caller=caller)
        return await self.check(verification, self.code(verification, now.send_number), caller=caller)

    async def wrong(self, verification: Verification, *, caller: Caller = PORTAL) -> Refusal:
        """Guess wrong; returns how it was refused."""
        return await refused(self.check(verification, self.wrong_code(verification), caller=caller))

    async def get(self, verification: Verification, *, caller: Caller = PORTAL) -> Verification:
        """Read a verification."""
        return await self.service.get(caller, verification.id)

    async def cancel(self, verification: Verification, *, caller: Caller = PORTAL) -> Verification:
        """Cancel a verification."""
        return await self.service.cancel(caller, verification.id)

    async def token(self, verification: Verification, *, caller: Caller = PORTAL) -> str:
        """Read the result token."""
        token = self.service.token(await self.get(verification, caller=caller))
        assert token is not None
        return token

    async def redeem(
        self, token: str, *, phone_number: str | None = PHONE, id_number: str | None = None, caller: Caller = PORTAL,
        replay: Replay | None = None,
    ) -> dict[str, Any]:
        """Redeem a result token."""
        claims = self.service.read_verdict(caller, token)
        return await self.service.redeem(
            caller, claims, phone_number=phone_number, id_number=id_number, replay=replay,
        )

    async def verified(
        self, purpose: str = "phone_only", phone: str = PHONE, *, caller: Caller = PORTAL, **options: Any,
    ) -> Verification:
        """Return a verification whose right code was typed."""
        return await self.right(await self.start(phone, purpose, caller=caller, **options), caller=caller)

    def code(self, verification: Verification, send_number: int = 1) -> str:
        """Return the code of one SMS."""
        return derive_code(self.ring, verification.id, send_number, verification.code_length)

    def wrong_code(self, verification: Verification) -> str:
        """Return a code that no SMS of this verification carries."""
        taken = {self.code(verification, number) for number in range(1, 12)}
        return next(code for code in map("{:06d}".format, range(20)) if code not in taken)

    # -- one hop below -----------------------------------------------------------------------------------------

    def shard(self, subject: Verification | str) -> int:
        """Return the shard of a verification or phone."""
        if isinstance(subject, str):
            return self.ring.shard(subject)
        shard = self.ring.parse_id(subject.id)
        assert shard is not None
        return shard

    async def check_once(self, verification: Verification, code: str, *, nonce: str) -> Answer:
        """Call the store's check as the service does, with a nonce of the test's choice."""
        return await self.store.check(
            self.shard(verification), verification.id, PORTAL.tenant, nonce=nonce, replay=None,
            digest=code_digest(self.ring, verification.id, code), length=len(code), address=None,
        )

    def send_limits(self, phone: str = PHONE) -> SendLimits:
        """Return what an SMS for the portal spends, for calls of the store itself."""
        return Allowances(self.book, lambda: self.ring).sends(PORTAL, self.purposes["phone_only"], phone, None)

    async def record(self, verification: Verification) -> dict[bytes, bytes]:
        """Return a verification's record as it stands in the store."""
        found: Any = await self.redis.hgetall(keys.verification(self.shard(verification), verification.id))
        flat = [part for pair in found.items() for part in pair]
        return to_record(flat)

    async def phone_hash(self, phone: str = PHONE) -> dict[bytes, bytes]:
        """Return a phone's hash under its current name."""
        key = keys.phone(self.shard(phone), self.ring.names("phone", phone)[0])
        found: dict[bytes, bytes] = await self.redis.hgetall(key)
        return found

    async def sends(self, phone: str = PHONE) -> int:
        """Return how many SMS stand in a phone's log."""
        return sum(field.startswith(b"s:") for field in await self.phone_hash(phone))

    async def queued(self) -> int:
        """Return how many SMS wait in all queues."""
        lengths = [await self.redis.xlen(keys.sms_queue(shard)) for shard in range(16)]
        return sum(lengths)

    async def dump(self) -> dict[bytes, tuple[bytes | None, int]]:
        """Return everything in the store, with when it is removed: for "changes nothing"."""
        found = sorted([key async for key in self.redis.scan_iter(count=1000)])
        return {key: (await self.redis.dump(key), await self.redis.pexpiretime(key)) for key in found}

    def count(self, metric: str, **labels: str) -> float:
        """Return a counter of this process."""
        return self.metrics.registry.get_sample_value(metric, labels) or 0.0

    # -- the workers -------------------------------------------------------------------------------------------

    async def worker(
        self, consumer: str = "worker", *, attempts: int = 3, concurrency: int = 256, backoff_s: float = 0.0,
        tiers: Sequence[str] = ("fake",), pace: Pace | None = None, hands: int = 256, adapter: type = FakeGateway,
        **options: Any,
    ) -> SmsWorker:
        """
        Return an SMS worker whose gateways are this engine's postboxes: ``fake``, and ``backup`` where a tier has it.

        ``pace`` and ``hands`` bound each account; ``options`` go to the adapters.
        """
        if self._session is None:
            for postbox in (self.postbox, self.backup):
                await postbox.open()
                self._closing.push_async_callback(postbox.close)
            self._session = await self._closing.enter_async_context(aiohttp.ClientSession())
        routes = RouteBook([Route(parse_tiers(tiers))])
        urls = {"fake": self.postbox.url, "backup": self.backup.url}
        self.accounts = Accounts([
            *(
                Account(name, adapter(urls[name], **options), concurrency=hands, pace=pace)
                for name in routes.gateways
            ),
            Account(TEST_ACCOUNT, FakeGateway()),
        ], self.gateways, hands=concurrency)
        self.shares = Shares(self.gateways, routes.gateways, self.metrics)
        courier = Courier(
            store=self.store, accounts=self.accounts, routes=routes, shares=self.shares,
            composer=Composer(
                ring=lambda: self.ring, purposes=self.purposes, brand="Cong DVC", catalogue=_catalogue(),
                clients=ClientRegistry((PORTAL.client, RIVAL.client)),
            ),
            sender=Sender(self._session, Tokens(self.gateways, lambda: self.ring), self.metrics),
            ring=lambda: self.ring, metrics=self.metrics, policy=SendPolicy(attempts, backoff_s, concurrency),
        )
        return SmsWorker(store=self.store, queue=SmsQueue(self.redis, consumer), courier=courier)

    async def deliver(self, worker: SmsWorker | None = None) -> None:
        """Let a worker hand over everything that is new in the queue."""
        if worker is None:
            self._worker = worker = self._worker or await self.worker()
        if worker not in self._prepared:
            await worker._queue.prepare()
            self._prepared.append(worker)
        while found := await worker._queue.read(256, AT_ONCE):
            await handle(worker, found)

    async def deadlines(self) -> DeadlineWorker:
        """Do once what the deadline worker does twice a second; returns the worker."""
        worker = DeadlineWorker(
            store=self.store, ask_ownership=self.service.ask_ownership, ended=self.service.ended,
            metrics=self.metrics, ask_lease_ms=5000,
        )
        await worker.step()
        while worker._asks:
            await asyncio.gather(*worker._asks)
        return worker


async def handle(worker: SmsWorker, entries: Iterable[QueuedSms]) -> None:
    """Let a worker finish these entries."""
    for sms in entries:
        worker._begin(sms)
    while worker._in_hand:
        await asyncio.gather(*worker._in_hand.values())
