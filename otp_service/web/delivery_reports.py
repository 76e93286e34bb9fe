"""
What an SMS gateway calls back: ``/v1/delivery-reports/{gateway}/{secret}``.

Most providers sign nothing, so the path carries a secret and the settings may list the provider's addresses; where a
provider signs, the adapter checks that too.  Whatever is wrong with who calls is answered alike.  A report changes only
``delivery``, also when it comes by GET (DESIGN 3.12).

Providers report in batches, so that a body may be longer here than elsewhere; of a stranger none is read.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

import orjson
from aiohttp import web

from otp_service.core.errors import InvalidRequest, MethodNotAllowed, NotFound
from otp_service.core.ports import ReportForged, ReportingGateway, ReportRequest, ReportUnreadable
from otp_service.delivery.accounts import Account
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.series import OTHER
from otp_service.web.authentication import Authenticator
from otp_service.web.bodies import read_up_to
from otp_service.web.dependencies import WebDependencies
from otp_service.web.exchange import answer

#: Bytes of a callback: several hundred of the reports that are longest, in one batch.
_MAX_BODY: Final = 262_144

_log = get_logger()


class DeliveryReports:
    """
    Takes callbacks in.

    Args:
        deps: the accounts, and what takes reports over.
        auth: knows the address behind trusted proxies.
    """

    def __init__(self, deps: WebDependencies, auth: Authenticator) -> None:
        self._accounts = deps.accounts
        self._reports = deps.reports
        self._metrics = deps.metrics
        self._public_url = deps.public_url
        self._auth = auth

    async def take(self, request: web.Request) -> web.Response:
        """Answer 200 once the reports are taken over, so that the provider tells them again until then."""
        if request.method == "HEAD":
            # Nobody reports by it, and what only looks must change nothing.
            raise MethodNotAllowed(headers={"Allow": "GET,POST"})
        account, gateway = self._called(request)
        callback = ReportRequest(
            method=request.method, url=f"{self._public_url}{request.raw_path}",
            headers={name.lower(): request.headers[name] for name in request.headers},
            query={name: request.query[name] for name in request.query},
            body=await read_up_to(request, _MAX_BODY),
        )
        try:
            found = gateway.parse_report(callback)
        except ReportForged as error:
            raise self._refused(account, "signature", NotFound()) from error
        except ReportUnreadable as error:
            raise self._refused(account, str(error), InvalidRequest(status=400, reason="report")) from error
        await self._reports.take(account, found)
        return answer(orjson.dumps({"reports": len(found)}))

    def _called(self, request: web.Request) -> tuple[Account, ReportingGateway]:
        """Return the account whose secret the path carries.  Raises NotFound."""
        account = self._accounts.get(request.match_info["gateway"])
        secret = account.report_secret if account is not None else ""
        # An unknown gateway takes as long as a wrong secret.
        right = compare_digest(request.match_info["secret"].encode(), secret.encode())
        if account is None or not secret or not right or not isinstance(account.gateway, ReportingGateway):
            raise NotFound
        if not account.calls_from(self._auth.address(request)):
            raise self._refused(account, "address", NotFound())
        return account, account.gateway

    def _refused(self, account: Account, reason: str, refusal: NotFound | InvalidRequest) -> NotFound | InvalidRequest:
        self._metrics.delivery_report(account.name, OTHER, "refused")
        _log.warning("delivery report refused", gateway=account.name, reason=reason)
        return refusal
