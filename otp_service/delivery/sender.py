"""The one place that talks HTTP to SMS gateways: timeouts, bounded answers, no redirects, metrics."""

from __future__ import annotations

import asyncio

import aiohttp

from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsGateway, SmsMessage
from otp_service.telemetry.metrics import Metrics

_MAX_ANSWER = 64 * 1024


class Sender:
    """
    Hands a message to a gateway and reads its answer.

    Args:
        session: the connections; it belongs to the caller.
        metrics: counts results and latency per gateway.
    """

    def __init__(self, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._session = session
        self._metrics = metrics

    async def send(self, gateway: SmsGateway, message: SmsMessage) -> SendOutcome:
        """Try once.  Never raises for what a gateway or the network does: that is an outcome."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        request = gateway.build_request(message)
        outcome = SendOutcome(SendResult.ACCEPTED) if request is None else await self._exchange(gateway, request)
        self._metrics.send(gateway.name, outcome.result)
        self._metrics.send_latency(gateway.name, loop.time() - began)
        return outcome

    async def _exchange(self, gateway: SmsGateway, request: HttpRequest) -> SendOutcome:
        timeout = aiohttp.ClientTimeout(total=gateway.timeout_s)
        try:
            async with self._session.request(
                request.method, request.url, headers=request.headers, data=request.body, timeout=timeout,
                allow_redirects=False,
            ) as answer:
                body = await answer.content.read(_MAX_ANSWER)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return gateway.parse_response(HttpResponse(answer.status, headers, body))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            # No connection was made: the gateway cannot have the message.
            return SendOutcome(SendResult.TEMPORARY, provider_code="not_connected")
        except (TimeoutError, aiohttp.ClientError) as error:
            return SendOutcome(SendResult.UNKNOWN, provider_code=type(error).__name__, maybe_sent=True)
