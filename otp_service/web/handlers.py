"""The calls: read, ask the use case, render.  One method per operation of ``routes.py``, of the same name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final

import orjson
from aiohttp import web

from otp_service.core.client import Scope
from otp_service.core.errors import FieldError, Forbidden, InvalidRequest, NotFound, Unavailable
from otp_service.core.keyring import KeyRing
from otp_service.core.verification import Verification
from otp_service.service import Caller, Secrets
from otp_service.storage.calls import Replay
from otp_service.telemetry.logs import get_logger
from otp_service.web import answers
from otp_service.web.authentication import Authenticator, is_browser
from otp_service.web.bodies import idempotency_key, read_json
from otp_service.web.cors import Cors
from otp_service.web.delivery_reports import DeliveryReports
from otp_service.web.dependencies import WebDependencies
from otp_service.web.exchange import EXCHANGE, JSON, Exchange, answer, answer_headers
from otp_service.web.middleware import locale_of
from otp_service.web.requests import CheckBody, EvidenceBody, RedeemBody, ResendBody, read_body, read_start
from otp_service.web.routes import PAGE, browser_methods

#: Seconds a long poll may ask for (DESIGN 4).
MAX_WAIT_S: Final = 30
#: Seconds that everything ``/readyz`` asks may take together.
_READY_S: Final = 0.5

_WAIT: Final = re.compile(r"[0-9]{1,2}")
_FIVE_MINUTES: Final = "max-age=300"

_log = get_logger()


class Handlers:
    """
    The calls of the public listener.

    Args:
        deps: everything below.
        openapi: the OpenAPI document, rendered.
        docs: the documentation page, rendered, with its headers.
    """

    def __init__(self, deps: WebDependencies, openapi: bytes, docs: tuple[bytes, Mapping[str, str]]) -> None:
        self._deps = deps
        self._service = deps.service
        self._auth = Authenticator(deps.clients, self._client_of_token, deps.trusted_proxies)
        self._cors = Cors(deps.clients)
        self._delivery_reports = DeliveryReports(deps, self._auth)
        self._openapi = openapi
        self._docs, self._docs_headers = docs
        self._public_headers = answer_headers(JSON, Cache_Control=_FIVE_MINUTES)
        self._jwks_of: Secrets | None = None
        self._jwks = b""

    # -- verifications -----------------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.Response:
        """``POST /v1/verifications``."""
        exchange = request[EXCHANGE]
        caller = self._auth.portal(request, Scope.VERIFY)
        exchange.client = caller.client.name
        body, raw = await read_json(request)
        key, errors = idempotency_key(request)
        service, locales = self._service, self._deps.catalogue.locales
        if (asked := raw.get("locale")) in locales:
            exchange.locale = asked
        locale = locale_of(request, exchange, locales)
        found = read_start(raw, client=caller.client, purposes=service.purposes, locale=locale, also=errors)
        exchange.purpose = found.command.purpose.name
        verification = await service.start(caller, found.command, self._replay(request, caller, key, body))
        exchange.verification_id = verification.id
        catalogue = self._deps.catalogue
        response = answer(answers.for_start(
            verification,
            client_token=service.secrets.ring.client_token(verification.id, caller.tenant),
            page_url=self._deps.public_url + PAGE.format(id=verification.id),
            result_token=service.token(verification),
            warnings=[
                {"field": field, "code": code, "message": catalogue.field(locale, code)}
                for field, code in found.warnings
            ],
        ), 201)
        response.headers["Location"] = f"{self._deps.public_url}/v1/verifications/{verification.id}"
        return response

    async def resend(self, request: web.Request) -> web.Response:
        """``POST /v1/verifications/{id}/resend``."""
        exchange = request[EXCHANGE]
        caller, verification_id, _ = self._holder(request, exchange, Scope.VERIFY)
        body, raw = await read_json(request, required=False)
        key, errors = idempotency_key(request)
        read_body(ResendBody, raw, errors)
        replay = self._replay(request, caller, key, body, verification_id)
        verification = await self._service.resend(caller, verification_id, replay)
        return self._answer(caller, exchange, verification, 202)

    async def check(self, request: web.Request) -> web.Response:
        """``POST /v1/verifications/{id}/check``."""
        exchange = request[EXCHANGE]
        caller, verification_id, _ = self._holder(request, exchange, Scope.VERIFY)
        body, raw = await read_json(request)
        key, errors = idempotency_key(request)
        guess = read_body(CheckBody, raw, errors)
        replay = self._replay(request, caller, key, body, verification_id)
        verification = await self._service.check(caller, verification_id, guess.code, replay)
        return self._answer(caller, exchange, verification)

    async def get(self, request: web.Request) -> web.Response:
        """``GET /v1/verifications/{id}?wait=20``."""
        exchange = request[EXCHANGE]
        caller, verification_id, shard = self._holder(request, exchange, Scope.READ)
        wait_s = _wait(request)
        verification = await self._service.get(caller, verification_id)
        if wait_s and not verification.status.final:
            await self._deps.waiters.final(shard, verification_id, wait_s)
            verification = await self._service.get(caller, verification_id)
        return self._answer(caller, exchange, verification)

    async def cancel(self, request: web.Request) -> web.Response:
        """``DELETE /v1/verifications/{id}``."""
        exchange = request[EXCHANGE]
        caller = self._auth.portal(request, Scope.VERIFY)
        exchange.client = caller.client.name
        verification_id, _ = self._identified(request, exchange)
        return self._answer(caller, exchange, await self._service.cancel(caller, verification_id))

    async def evidence(self, request: web.Request) -> web.Response:
        """``POST /v1/verifications/{id}/ownership-evidence``."""
        exchange = request[EXCHANGE]
        caller = self._auth.portal(request, Scope.EVIDENCE)
        exchange.client = caller.client.name
        verification_id, _ = self._identified(request, exchange)
        body, raw = await read_json(request)
        key, errors = idempotency_key(request)
        reply = read_body(EvidenceBody, raw, errors).tttb_reply
        replay = self._replay(request, caller, key, body, verification_id)
        verification, found = await self._service.attest(caller, verification_id, reply, replay)
        exchange.purpose = verification.purpose
        return answer(answers.for_official(verification, self._service.token(verification), found))

    async def redeem(self, request: web.Request) -> web.Response:
        """``POST /v1/result-tokens/redeem``."""
        exchange = request[EXCHANGE]
        caller = self._auth.portal(request, Scope.REDEEM)
        exchange.client = caller.client.name
        _, raw = await read_json(request)
        key, errors = idempotency_key(request)
        verdict = read_body(RedeemBody, raw, errors)
        expect = verdict.expect
        phone_number = expect.phone_number if expect else None
        id_number = expect.id_number.number if expect and expect.id_number else None
        claims = self._service.read_verdict(caller, verdict.token)
        # A token is signed anew at each read: the same verdict, expected of the same person, is the same call.
        asked = orjson.dumps([claims["sub"], phone_number, id_number])
        claims = await self._service.redeem(
            caller, claims, phone_number=phone_number, id_number=id_number,
            replay=self._replay(request, caller, key, asked),
        )
        exchange.verification_id, exchange.purpose = claims["sub"], claims["purpose"]
        return answer(orjson.dumps(claims))

    # -- an SMS gateway ----------------------------------------------------------------------------------------

    async def report(self, request: web.Request) -> web.Response:
        """``POST /v1/delivery-reports/{gateway}/{secret}``."""
        return await self._delivery_reports.take(request)

    async def report_by_get(self, request: web.Request) -> web.Response:
        """``GET /v1/delivery-reports/{gateway}/{secret}``, for providers that know nothing else."""
        return await self._delivery_reports.take(request)

    async def preflight(self, request: web.Request) -> web.Response:
        """``OPTIONS`` of a path that browsers call; the middleware names the origin."""
        resource = request.match_info.route.resource
        allowed = sorted({route.method for route in resource or ()})
        response = web.Response(status=204, headers={"Allow": ", ".join(allowed)})
        if (origin := request.headers.get("Origin")) is not None:
            if resource is None or not self._cors.knows(origin):
                raise Forbidden
            self._cors.preflight(response.headers, ", ".join(browser_methods(resource.canonical)))
        return response

    # -- what anybody may read ---------------------------------------------------------------------------------

    async def jwks(self, _request: web.Request) -> web.Response:
        """``GET /.well-known/jwks.json``."""
        secrets = self._service.secrets
        if secrets is not self._jwks_of:
            self._jwks_of, self._jwks = secrets, orjson.dumps(secrets.signer.jwks())
        return web.Response(body=self._jwks, headers=self._public_headers)

    async def openapi(self, _request: web.Request) -> web.Response:
        """``GET /openapi.json``."""
        return web.Response(body=self._openapi, headers=self._public_headers)

    async def docs(self, _request: web.Request) -> web.Response:
        """``GET /docs``."""
        return web.Response(body=self._docs, headers=self._docs_headers)

    # -- operations --------------------------------------------------------------------------------------------

    async def metrics(self, request: web.Request) -> web.Response:
        """``GET /metrics``, scope ``metrics``."""
        request[EXCHANGE].client = self._auth.portal(request, Scope.METRICS).client.name
        return _metrics(self._deps)

    async def livez(self, _request: web.Request) -> web.Response:
        """``GET /livez``."""
        return answer(b'{"status":"ok"}')

    async def readyz(self, _request: web.Request) -> web.Response:
        """``GET /readyz``."""
        return await _readyz(self._deps)

    # -- shared ------------------------------------------------------------------------------------------------

    def _client_of_token(self, verification_id: str, token: str) -> str | None:
        return self._service.secrets.ring.client_of_token(verification_id, token)

    def _holder(self, request: web.Request, exchange: Exchange, scope: Scope) -> tuple[Caller, str, int]:
        """Return who calls about the verification in the path, its id and shard."""
        caller = self._auth.portal_or_browser(request, scope, request.match_info["id"])
        exchange.client = caller.client.name
        return caller, *self._identified(request, exchange)

    def _identified(self, request: web.Request, exchange: Exchange) -> tuple[str, int]:
        """Return the well-formed id in the path, and its shard.  Raises NotFound."""
        verification_id = request.match_info["id"]
        shard = self._service.secrets.ring.parse_id(verification_id)
        if shard is None:
            raise NotFound
        exchange.verification_id = verification_id
        return verification_id, shard

    def _replay(
        self, request: web.Request, caller: Caller, key: str | None, body: bytes, verification_id: str = "",
    ) -> Replay | None:
        """
        Return the name under which a success is remembered, None without ``Idempotency-Key``.

        A browser's keys are its verification's own: it cannot occupy one that the portal is going to use.
        """
        if key is None:
            return None
        ring: KeyRing = self._service.secrets.ring
        owner = f"{caller.tenant} {verification_id}" if is_browser(caller) else caller.tenant
        digest = ring.body_digest(request.method.encode(), request.path.encode(), body)
        return Replay(ring.replay_name(owner, key), digest)

    def _answer(
        self, caller: Caller, exchange: Exchange, verification: Verification, status: int = 200,
    ) -> web.Response:
        exchange.purpose = verification.purpose
        if is_browser(caller):
            response = answer(answers.for_browser(verification), status)
            # The store's clock: by it a page counts down, whatever the clocks of this host and of the telephone say.
            response.headers["Date"] = formatdate(verification.now_ms // 1000, usegmt=True)
            return response
        return answer(answers.for_portal(verification, self._service.token(verification)), status)


class PrivateHandlers:
    """The calls of the private listener: no key is asked for, so never let the world reach it."""

    def __init__(self, deps: WebDependencies) -> None:
        self._deps = deps

    async def metrics(self, _request: web.Request) -> web.Response:
        """``GET /metrics``."""
        return _metrics(self._deps)

    async def livez(self, _request: web.Request) -> web.Response:
        """``GET /livez``."""
        return answer(b'{"status":"ok"}')

    async def readyz(self, _request: web.Request) -> web.Response:
        """``GET /readyz``."""
        return await _readyz(self._deps)


def _metrics(deps: WebDependencies) -> web.Response:
    body, content_type = deps.metrics.render()
    return web.Response(body=body, headers=answer_headers(content_type))


async def _readyz(deps: WebDependencies) -> web.Response:
    checks = await _checks(deps)
    fit = not deps.drain.started and all(found is True or found == "ok" for found in checks.values())
    deps.metrics.ready(ready=fit)
    if not fit:
        refusal = Unavailable()
        refusal.members |= {"checks": checks, "draining": deps.drain.started}
        raise refusal
    return answer(orjson.dumps({"status": "ok", "checks": checks}))


async def _checks(deps: WebDependencies) -> dict[str, str | bool]:
    try:
        async with asyncio.timeout(_READY_S):
            return dict(await deps.readiness())
    except TimeoutError:
        return {"readiness": "timeout"}
    except Exception:  # noqa: BLE001 - whatever fails here, the answer is "not ready", and the log says why
        _log.exception("readiness check failed")
        return {"readiness": "failed"}


def _wait(request: web.Request) -> int:
    """Return the seconds of ``wait``, 0 without it.  Raises InvalidRequest."""
    if not request.query_string:
        return 0
    values = request.query.getall("wait", ["0"])
    if len(values) > 1 or not _WAIT.fullmatch(values[0]) or int(values[0]) > MAX_WAIT_S:
        raise InvalidRequest(FieldError("wait", "malformed"))
    return int(values[0])
