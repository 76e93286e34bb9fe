"""What ``otp-service gateways`` and ``otp-service send-test`` show: what there is, and one send step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Final
from urllib.parse import urlsplit

from otp_service import plugins
from otp_service.accounts_from_settings import make_account
from otp_service.app import composer, sending
from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import carrier_hint
from otp_service.core.ports import (
    ConnectedGateway,
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    NoAnswer,
    PollingGateway,
    SendOutcome,
    SmsMessage,
    Supports,
)
from otp_service.core.routing import places
from otp_service.delivery.accounts import Account
from otp_service.delivery.sender import Sender
from otp_service.house import House, opened
from otp_service.settings import Settings, adapter_of

_POLL_EVERY_S: Final = 3.0
#: The code of a test message: it opens nothing.
_SAMPLE_CODE: Final = "123456"


@dataclass(frozen=True, slots=True)
class Installed:
    """An adapter that is installed: what it can do, and where its contract was read; ``problem`` when it is broken."""

    name: str
    real: bool = False
    supports: Supports = field(default_factory=Supports)
    contract: str = ""
    experimental: bool = False
    connected: bool = False
    tokens: bool = False
    problem: str = ""


def installed() -> list[Installed]:
    """Return every adapter that an entry point names; one that does not load is shown with its problem."""
    return [_installed(name) for name in plugins.installed(plugins.GATEWAYS)]


def _installed(name: str) -> Installed:
    try:
        kind: Any = plugins.find(plugins.GATEWAYS, name)
    except ConfigurationError as error:
        return Installed(name, problem=str(error))
    supports = getattr(kind, "supports", None)
    return Installed(
        name, getattr(kind, "real", False) is True, supports if isinstance(supports, Supports) else Supports(),
        str(getattr(kind, "contract", "")), bool(getattr(kind, "experimental", False)),
        connected=hasattr(kind, "open"), tokens=hasattr(kind, "build_token_request"),
    )


@dataclass(frozen=True, slots=True)
class Use:
    """
    An account of the settings.

    Attributes:
        name: its name.
        adapter: its adapter's.
        routes: the routes that name it; none when it is not used.
        reports: how its deliveries become known.
        problem: what keeps it, and so the service, from starting; empty when nothing does, or it is not used.
    """

    name: str
    adapter: str
    routes: tuple[str, ...] = ()
    reports: str = "no"
    problem: str = ""

    @property
    def state(self) -> str:
        """Say in short how it stands."""
        return self.problem or ("ok" if self.routes else "not used")


def uses(settings: Settings) -> list[Use]:
    """Return the accounts: those in use in the order of the routes, then those that no route names."""
    names = dict.fromkeys((*settings.route_book().gateways, *settings.gateways))
    return [_use(settings, name) for name in names]


def _use(settings: Settings, name: str) -> Use:
    section = settings.gateways.get(name)
    adapter, _ = adapter_of(name, section)
    routes = tuple(places(settings.routes, name))
    told = [*(["callback"] if section and section.report_secret else []),
            *(["polling"] if section and section.poll_reports else [])]
    problem = ""
    if routes:
        try:
            account = make_account(name, section)
        except ConfigurationError as error:
            problem = "\n".join(line.removeprefix(f"gateways.{name}: ") for line in str(error).splitlines())
        else:
            told = ["connection", *told] if account.connected else told
    return Use(name, adapter, routes, ", ".join(told) or "no", problem)


async def send_test(
    settings: Settings, phone: str, *, gateway: str = "", purpose: str = "", wait_s: float = 0.0,
) -> AsyncIterator[tuple[str, str]]:
    """
    Send one message and tell each step: (step, what happened), the last being ``result``: ``taken``, or another.

    Args:
        settings: the settings in force.
        phone: E.164.
        gateway: the account to try; empty takes the first that the routes give.
        purpose: whose text is sent; empty takes the first.
        wait_s: seconds to wait for news of the delivery.

    Raises ConfigurationError, StoreUnavailable.
    """
    purpose = purpose or next(iter(settings.purposes))
    if purpose not in settings.purposes:
        raise ConfigurationError(f"no purpose {purpose!r}; there are {', '.join(settings.purposes)}")
    async with opened(settings, trying=gateway) as house:
        reference = f"test-{token_hex(12)}-1"
        carrier = carrier_hint(phone)
        order = settings.route_book().order(carrier, purpose, {}, reference)
        yield "route", f"{carrier or 'no carrier known'} by prefix, {purpose}: {', then '.join(order)}"
        account = house.accounts[gateway or order[0]]
        yield "gateway", f"{account.name}: adapter {account.gateway.name}{'' if account.real else ', reaches no phone'}"
        message = _message(house, phone, purpose, reference)
        yield "message", f"template {message.template_key}, {message.segments} SMS: {message.text}"
        heard: asyncio.Queue[DeliveryReport] = asyncio.Queue()
        asked: list[HttpRequest] = []
        async with sending(house, only=account.name, also=heard.put_nowait, asked=asked.append) as sender:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcome = await sender.send(account, message)
            for request in asked:
                yield "request", _request(request)
            yield "answer", _answer(outcome, loop.time() - began)
            delivery = outcome.delivery if outcome.taken else None
            if delivery is not None:
                yield "delivery", f"{delivery.value}, with the answer"
            if outcome.taken and wait_s and delivery in {None, DeliveryState.SENT}:
                async for news in _delivery(account, outcome, sender, heard, wait_s):
                    delivery = news.state or delivery
                    yield "delivery", news.text
        yield "result", _result(outcome, delivery)


def _message(house: House, phone: str, purpose: str, reference: str) -> SmsMessage:
    locale, validity_s = house.settings.service.default_locale, house.settings.purposes[purpose].code.validity_s
    return composer(house).render(
        locale, purpose, phone, code=_SAMPLE_CODE, reference=reference, send_number=1, told_s=validity_s,
        validity_s=validity_s,
    )


def _request(request: HttpRequest) -> str:
    """Say where a request goes, without the query, which may hold secrets."""
    parts = urlsplit(request.url)
    return f"{request.method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}, {len(request.body)} bytes"


def _answer(outcome: SendOutcome, seconds: float) -> str:
    said = [outcome.result.value, f"code {outcome.provider_code}" if outcome.provider_code else "no code"]
    if outcome.provider_id:
        said.append(f"id {outcome.provider_id}")
    if outcome.maybe_sent:
        said.append("the provider may have it nevertheless")
    return f"{', '.join(said)} ({seconds * 1000:.0f} ms)"


def _result(outcome: SendOutcome, delivery: DeliveryState | None) -> str:
    if not outcome.taken:
        return f"not taken: {outcome.result.value}"
    return "taken, delivery failed" if delivery is DeliveryState.FAILED else "taken"


@dataclass(frozen=True, slots=True)
class _News:
    text: str
    state: DeliveryState | None = None


async def _delivery(
    account: Account, outcome: SendOutcome, sender: Sender, heard: asyncio.Queue[DeliveryReport], wait_s: float,
) -> AsyncIterator[_News]:
    """Tell what becomes of the message, as far as this process can learn it."""
    gateway = account.gateway
    polls = isinstance(gateway, PollingGateway) and outcome.provider_id is not None
    if not polls and not isinstance(gateway, ConnectedGateway):
        yield _News("the provider calls the running service back; this command cannot hear it")
        return
    deadline = asyncio.get_running_loop().time() + wait_s
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            async with asyncio.timeout(min(_POLL_EVERY_S, left)):
                found = [await heard.get()]
        except TimeoutError:
            found = await _poll(account, gateway, outcome.provider_id, sender) if polls else []
        for report in found:
            yield _News(f"{report.state.value}, code {report.provider_code}", report.state)
            if report.state is not DeliveryState.SENT:
                return
    yield _News(f"no news within {wait_s:g} s")


async def _poll(account: Account, gateway: Any, provider_id: str | None, sender: Sender) -> list[DeliveryReport]:
    answer = await sender.exchange(account, gateway.build_poll([provider_id]))
    found: list[DeliveryReport] = [] if isinstance(answer, NoAnswer) else gateway.parse_poll(answer)
    return found
