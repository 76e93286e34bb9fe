"""Hands messages to SMS gateways, each attempt bounded in time, and says what became of it in the words of the core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import aiohttp

from otp_service.core.errors import StoreUnavailable
from otp_service.core.ports import (
    HttpRequest,
    HttpResponse,
    NoAnswer,
    SendOutcome,
    SendResult,
    SmsGateway,
    SmsMessage,
    TokenGateway,
)
from otp_service.delivery.accounts import Account
from otp_service.delivery.exchange import Peer, exchange
from otp_service.delivery.tokens import Token, Tokens
from otp_service.telemetry.logs import get_logger, where
from otp_service.telemetry.metrics import Metrics

#: How much of an attempt's time may pass before there is a token.
_TOKEN_PART = 0.75

_log = get_logger()


class Sender:
    """
    Hands messages to gateways and reads their answers.

    Args:
        session: the connections; it belongs to the caller.
        tokens: what gateways with tokens are asked with.
        metrics: counts results and latency per gateway.
        asked: is shown each request.
    """

    def __init__(
        self, session: aiohttp.ClientSession, tokens: Tokens, metrics: Metrics,
        asked: Callable[[HttpRequest], None] | None = None,
    ) -> None:
        self._asked = asked
        self._session = session
        self._tokens = tokens
        self._metrics = metrics

    async def send(self, account: Account, message: SmsMessage) -> SendOutcome:
        """Try once.  Never raises for what a gateway or the network does: that is an outcome."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(account.timeout_s):
                outcome = await self._send(account, message)
            if not isinstance(outcome, SendOutcome):
                raise TypeError(f"{type(outcome).__name__} is no SendOutcome")  # noqa: TRY301 - handled as any failure
        except TimeoutError:
            outcome = SendOutcome(SendResult.UNKNOWN, provider_code="timeout", maybe_sent=True)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter's defect must not stop the queue; its text may hold codes
            _log.error("adapter failed", gateway=account.name, error=type(error).__name__, where=where(error))
            outcome = SendOutcome(SendResult.UNKNOWN, provider_code="adapter_error", maybe_sent=True)
        self._metrics.send(account.name, outcome.result)
        self._metrics.send_latency(account.name, loop.time() - began)
        return outcome

    async def _send(self, account: Account, message: SmsMessage) -> SendOutcome:
        if account.connected is not None:
            return await account.connected.send(message)
        if account.with_token is not None:
            return await self._send_authorised(account, account.with_token, message)
        gateway = cast("SmsGateway", account.gateway)
        built = gateway.build_request(message)
        if isinstance(built, SendOutcome):
            return built
        answer = await self.exchange(account, built)
        return _unanswered(answer) if isinstance(answer, NoAnswer) else gateway.parse_response(answer)

    async def _send_authorised(self, account: Account, gateway: TokenGateway, message: SmsMessage) -> SendOutcome:
        """Send with the token that is kept; one that is not taken is replaced once."""
        began = asyncio.get_running_loop().time()
        refused_version, outcome = 0, SendOutcome(SendResult.AUTHENTICATION, provider_code="no_token")
        for _ in range(2):
            token = await self._token(account, gateway, began, refused_version)
            if token is None:
                # Nobody was asked to send anything: another gateway may, or this one a little later.
                return SendOutcome(SendResult.TEMPORARY, provider_code="no_token")
            built = gateway.build_authorised(message, token.value)
            if isinstance(built, SendOutcome):
                return built
            answer = await self.exchange(account, built)
            outcome = _unanswered(answer) if isinstance(answer, NoAnswer) else gateway.parse_response(answer)
            if not outcome.stale_token:
                break
            refused_version = token.version
        return outcome

    async def _token(self, account: Account, gateway: TokenGateway, began: float, refused_version: int) -> Token | None:
        """Get a token while there is time enough to use it: a hand-over that is cut off counts as perhaps sent."""
        try:
            async with asyncio.timeout_at(began + account.timeout_s * _TOKEN_PART):
                return await self._tokens.get(account, gateway, self.exchange, not_version=refused_version)
        except TimeoutError:
            return None

    async def exchange(self, account: Peer, request: HttpRequest) -> HttpResponse | NoAnswer:
        """Make one request."""
        return await exchange(self._session, request, account.timeout_s, self._asked, who={"gateway": account.name})


def _unanswered(answer: NoAnswer) -> SendOutcome:
    """Say what it means to a message that no answer came."""
    if not answer.maybe_taken:
        return SendOutcome(SendResult.TEMPORARY, provider_code=answer.code)
    return SendOutcome(SendResult.UNKNOWN, provider_code=answer.code, maybe_sent=True, lost=answer.lost)

