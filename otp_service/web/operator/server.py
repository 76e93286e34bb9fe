"""
The operator over HTTP.

::

    GET  /.well-known/openid-configuration       where the token endpoint is
    POST /oauth2/token                           oauth.py
    POST /kyc-match/{version}/match              kyc_match.py
    POST /sim-swap/v2/check, /retrieve-date      sim_swap.py
    POST /sms       {"from", "to", "text"}       an SMS to 1414 and its answer, tttb_dialogue.py
    GET  /script                                 the script in force, see script.py
    PUT  /script                                 another one: 200 with it, or 422 with what is wrong
    GET  /asked                                  how many calls each endpoint got

``/sms``, ``/script`` and ``/asked`` are not an operator's; on a loopback address they serve this machine alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from otp_service.core.client import LOOPBACK_HOSTS
from otp_service.core.errors import ConfigurationError, InvalidRequest, Refusal
from otp_service.telemetry.logs import get_logger
from otp_service.web.bodies import read_up_to
from otp_service.web.exchange import JSON, answer, answer_headers
from otp_service.web.fake_gateway.handlers import require_loopback
from otp_service.web.operator import sim_swap
from otp_service.web.operator.assertions import ALGORITHMS, AssertionCheck, PublicKey
from otp_service.web.operator.errors import ApiRefusal, invalid
from otp_service.web.operator.faults import Fate, Stage, spoilt, told
from otp_service.web.operator.kyc_match import SCOPE, KycMatch
from otp_service.web.operator.oauth import DISCOVERY_PATH, SCOPES, TOKEN_PATH, OAuthClient, TokenRefused, TokenServer
from otp_service.web.operator.script import Answer, Script, read_script, shown
from otp_service.web.operator.subscribers import Subscribers
from otp_service.web.operator.tttb_dialogue import NoReply, reply_to
from otp_service.web.standalone import standing

_MAX_BODY: Final = 65_536
_CORRELATOR: Final = "x-correlator"
#: The pattern of the specifications, to the letter.
_GOOD_CORRELATOR: Final = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{0,256}")
_FORM: Final = "application/x-www-form-urlencoded"

#: Where connections complain of what is no HTTP: nowhere, because they quote it.
_unheard: Final = logging.Logger("operator connections")  # noqa: LOG001 - known to nobody else, and so unheard
_unheard.addHandler(logging.NullHandler())

#: What each connection gets: bodies as they came, no second log line.
_CONNECTION: Final[dict[str, Any]] = {"access_log": None, "auto_decompress": False, "logger": _unheard}

_log = get_logger()

Act = Callable[[dict[str, Any]], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorOptions:
    """
    What an operator is made of.

    Attributes:
        subscribers: whom it serves.
        client: who may ask.
        public_keys: of the client, for ``private_key_jwt``.
        kyc: which KYC Match.
        token_life_s: seconds that tokens live.
    """

    subscribers: Subscribers
    client: OAuthClient
    public_keys: tuple[PublicKey, ...] = ()
    kyc: KycMatch = field(default_factory=KycMatch)
    token_life_s: int = 3600


class Operator:
    """
    The operator over HTTP.

    Args:
        options: see there.
        script: what goes wrong from the start.
        clock: seconds since the epoch, for tokens and changed SIMs.
        pause: waits for seconds.

    Attributes:
        stage: plays the script and counts the calls.
        guard: raises Forbidden for whom the paths that are no operator's do not serve.
    """

    def __init__(
        self, options: OperatorOptions, script: Script | None = None, *, clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stage = Stage(script)
        self.guard: Callable[[web.Request], None] = lambda _request: None
        self._options = options
        self._clock = clock
        self._pause = pause
        keys = options.public_keys
        assertions = AssertionCheck(options.client.id, keys, clock) if keys else None
        self._tokens = TokenServer(options.client, assertions, life_s=options.token_life_s, clock=clock)

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[_error_infos], client_max_size=_MAX_BODY, handler_args=_CONNECTION)
        app.router.add_get(DISCOVERY_PATH, self.discovery, allow_head=False)
        app.router.add_post(TOKEN_PATH, self.token)
        app.router.add_post(self._options.kyc.path, self._api("match", (SCOPE,), self._match))
        app.router.add_post(sim_swap.CHECK_PATH, self._api("check", sim_swap.CHECK_SCOPES, self._check))
        app.router.add_post(sim_swap.DATE_PATH, self._api("retrieve-date", sim_swap.DATE_SCOPES, self._date))
        app.router.add_post("/sms", self.sms)
        app.router.add_get("/script", self.script, allow_head=False)
        app.router.add_put("/script", self.change_script)
        app.router.add_get("/asked", self.asked, allow_head=False)
        return app

    # -- OAuth2 ------------------------------------------------------------------------------------------------

    async def discovery(self, request: web.Request) -> web.Response:
        """Name the token endpoint and how a client proves itself (OpenID Connect Discovery, RFC 8414)."""
        base = _base_of(request)
        return answer(orjson.dumps({
            "issuer": base, "token_endpoint": base + TOKEN_PATH, "grant_types_supported": ["client_credentials"],
            "response_types_supported": [], "scopes_supported": SCOPES,
            "token_endpoint_auth_methods_supported": self._tokens.methods(),
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        }))

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Give a token."""
        fate = self.stage.enter("token")
        await self._meet(fate, request)
        if fate.answer is not None:
            return _scripted(fate.answer, oauth=True)
        try:
            return self._finished(await self._grant(request), fate)
        except TokenRefused as error:
            challenge = {"WWW-Authenticate": 'Basic realm="operator"'} if error.challenge else {}
            return _json(error.document, error.status, **challenge)

    async def _grant(self, request: web.Request) -> dict[str, object]:
        if request.content_type != _FORM:
            raise TokenRefused("invalid_request", f"the body is {_FORM}")
        try:
            body = await read_up_to(request, _MAX_BODY)
        except InvalidRequest as error:
            raise TokenRefused("invalid_request", "the body is too long or was cut off") from error
        return self._tokens.grant(
            body, request.headers.get("Authorization"), endpoint=_base_of(request) + TOKEN_PATH,
            faults=self.stage.script.token,
        )

    # -- CAMARA ------------------------------------------------------------------------------------------------

    def _api(self, endpoint: str, scopes: tuple[str, ...], act: Act) -> Handler:
        """Return the handler of an operation: any of the scopes opens it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            fate = self.stage.enter(endpoint)
            await self._meet(fate, request)
            if fate.answer is not None:
                return _scripted(fate.answer, oauth=False)
            _refuse_bad_correlator(request)
            self._authorize(request, scopes)
            return self._finished(act(await _body_of(request)), fate)

        return handle

    def _match(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**self._options.kyc.answer(body, self._options.subscribers, wrong=self.stage.script.wrong)}

    def _check(self, body: dict[str, Any]) -> dict[str, Any]:
        return sim_swap.check(body, self._options.subscribers, self.stage.script, self._clock())

    def _date(self, body: dict[str, Any]) -> dict[str, Any]:
        return sim_swap.retrieve_date(body, self._options.subscribers, self.stage.script, self._clock())

    def _authorize(self, request: web.Request, scopes: tuple[str, ...]) -> None:
        """Ask for a good token with one of the scopes.  Raises ApiRefusal."""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        held = self._tokens.scopes_of(value.strip()) if scheme.lower() == "bearer" else None
        if held is None:
            raise ApiRefusal(
                401, "UNAUTHENTICATED", "the request has no good access token", headers={"WWW-Authenticate": "Bearer"},
            )
        if held.isdisjoint(scopes):
            raise ApiRefusal(403, "PERMISSION_DENIED", "the access token lacks the scope")

    # -- 1414, and what is no operator's -----------------------------------------------------------------------

    async def sms(self, request: web.Request) -> web.StreamResponse:
        """Answer an SMS to 1414: 200 with the reply; 404 or 409 when none comes, and why."""
        self.guard(request)
        fate = self.stage.enter("sms")
        await self._meet(fate, request)
        if fate.answer is not None:
            return _scripted(fate.answer, oauth=False)
        body = await _body_of(request)
        sender, to, text = (body.get(name) for name in ("from", "to", "text"))
        if not (isinstance(sender, str) and isinstance(to, str) and isinstance(text, str)):
            raise invalid("an SMS has from, to and text")
        try:
            said = reply_to(self._options.subscribers, sender, text, to=to)
        except NoReply as error:
            return _json({"error": error.reason}, error.status)
        return self._finished({"from": to, "text": said}, fate)

    async def script(self, request: web.Request) -> web.Response:
        """Show the script."""
        self.guard(request)
        return answer(shown(self.stage.script))

    async def change_script(self, request: web.Request) -> web.Response:
        """Follow another script, whatever its Content-Type: ``curl -T script.json`` names none."""
        self.guard(request)
        try:
            self.stage.play(read_script(await read_up_to(request, _MAX_BODY)))
        except ConfigurationError as error:
            return answer(orjson.dumps({"errors": str(error).splitlines()}), 422)
        return answer(shown(self.stage.script))

    async def asked(self, request: web.Request) -> web.Response:
        """Show how many calls there were."""
        self.guard(request)
        return answer(orjson.dumps(dict(self.stage.asked)))

    # -- faults ------------------------------------------------------------------------------------------------

    async def _meet(self, fate: Fate, request: web.Request) -> None:
        """Wait, or close the connection."""
        if fate.latency_ms:
            await self._pause(fate.latency_ms / 1000)
        if fate.down:
            if request.transport is not None:
                request.transport.abort()
            raise ApiRefusal(503)  # nobody hears it any more

    @staticmethod
    def _finished(document: dict[str, Any], fate: Fate) -> web.Response:
        """Answer rightly, or garbage."""
        body = orjson.dumps(document)
        if fate.garbage is None:
            return answer(body)
        body, content_type = spoilt(body, fate.garbage)
        return web.Response(body=body, headers=answer_headers(content_type))


@asynccontextmanager
async def serving(operator: Operator, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """
    Serve an operator; gives its base URL, which is CAMARA's ``apiRoot``.

    Raises ConfigurationError when the port is taken.
    """
    if host in LOOPBACK_HOSTS:
        operator.guard = require_loopback
    async with standing(operator.application(), host, port) as base:
        yield base


async def run(operator: Operator, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until cancelled; ``announce`` gets the base URL.  Raises ConfigurationError."""
    async with serving(operator, host, port) as base:
        announce(base)
        await asyncio.Event().wait()


@web.middleware
async def _error_infos(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals as CAMARA wants them, and send back a good ``x-correlator`` with every answer."""
    try:
        response = await handler(request)
    except ApiRefusal as error:
        response = _json(error.document(), error.status, **error.headers)
    except InvalidRequest as error:
        response = _json(ApiRefusal(error.http_status, "INVALID_ARGUMENT").document(), error.http_status)
    except Refusal as error:
        response = _json({"error": error.code}, error.http_status)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        response = _json(ApiRefusal(error.status).document(), error.status, **allow)
    except Exception as error:  # noqa: BLE001 - a defect is logged and answered, whatever it is
        _log.error("defect", exc_info=error)
        response = _json(ApiRefusal(500).document(), 500)
    correlator = request.headers.get(_CORRELATOR, "")
    if correlator and _GOOD_CORRELATOR.fullmatch(correlator):
        response.headers[_CORRELATOR] = correlator
    return response


def _refuse_bad_correlator(request: web.Request) -> None:
    if not all(_GOOD_CORRELATOR.fullmatch(value) for value in request.headers.getall(_CORRELATOR, ())):
        raise invalid("x-correlator breaks its pattern")


async def _body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a call.  Raises ApiRefusal, InvalidRequest."""
    if not _takes_json(request.headers.get("Accept", "*/*")):
        raise ApiRefusal(406)
    if not request.body_exists and "Content-Type" not in request.headers:
        raise invalid("there is no body")
    if request.content_type != JSON or request.headers.get("Content-Encoding", "identity") != "identity":
        raise ApiRefusal(415)
    try:
        body = orjson.loads(await read_up_to(request, _MAX_BODY))
    except orjson.JSONDecodeError as error:
        raise invalid("the body is no JSON") from error
    if not isinstance(body, dict):
        raise invalid("the body is no JSON object")
    return body


def _takes_json(accept: str) -> bool:
    """Whether JSON is among what a caller accepts (RFC 9110 section 12.5.1), without weighing."""
    for one in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in one.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
        if media_range in {"", "*/*", "application/*", JSON} and not refused:
            return True
    return False


def _json(document: dict[str, Any], status: int = 200, **headers: str) -> web.Response:
    response = answer(orjson.dumps(document), status)
    response.headers.update(headers)
    return response


def _scripted(scripted: Answer, *, oauth: bool) -> web.Response:
    document, headers = told(scripted, oauth=oauth)
    return _json(document, scripted.status, **headers)


def _base_of(request: web.Request) -> str:
    """Return our address as the caller wrote it."""
    return f"{request.scheme}://{request.host}"
