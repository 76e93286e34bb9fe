"""
The hosted page: ``GET /v/{id}`` and what its forms and its script call.

::

    POST /v/{id}         the portal's page sends the client token: a cookie, and on to the page
    GET  /v/{id}         the page; at the end, on to the portal
    POST /v/{id}/check   the code; back to the page
    POST /v/{id}/resend  "Gửi lại OTP"; back to the page
    GET  /v/{id}/state   how it stands, for the script

A POST is answered with 303, so that a refresh repeats nothing, and each form carries a key under which its success
is remembered, so that a double click and the back button cost nothing (invariant 11).  No GET changes anything
(invariant 12).  Whatever goes wrong on these paths is a page too; see :meth:`Pages.refusal`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode, urlsplit

import orjson
from aiohttp import web

from otp_service.core.errors import (
    AlreadyFinal,
    CodeExpired,
    GuessTooSoon,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    InvalidRequest,
    Locked,
    RateLimited,
    Refusal,
    ResendTooSoon,
    SendsExhausted,
    Unauthenticated,
    WrongCode,
)
from otp_service.core.locales import negotiate_locale
from otp_service.core.verification import Status, Verification
from otp_service.service import Caller
from otp_service.storage.calls import Replay
from otp_service.web.authentication import Authenticator
from otp_service.web.dependencies import WebDependencies
from otp_service.web.exchange import EXCHANGE, Exchange, answer, answer_headers
from otp_service.web.pages.assets import Assets
from otp_service.web.pages.forms import COOKIE, read_form, refuse_foreign, refuse_stranger, set_token
from otp_service.web.pages.links import origin_of, way_back
from otp_service.web.pages.notices import Said, Word, read_word, word_of
from otp_service.web.pages.rendering import Renderer
from otp_service.web.pages.situation import state_of
from otp_service.web.pages.words import words_of
from otp_service.web.requests import CheckBody, read_body
from otp_service.web.routes import ASSETS, PAGE

#: Seconds for which the script's question is held while a carrier is asked.
_HELD_S: Final = 20.0
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_NOTHING_SAID: Final = Word()

#: Refusals that the page itself answers; all others are pages of their own.
_ON_PAGE: Final = (
    AlreadyFinal, CodeExpired, GuessTooSoon, IdempotencyInProgress, IdempotencyKeyReused, InvalidRequest, Locked,
    RateLimited, ResendTooSoon, SendsExhausted, WrongCode,
)


class Pages:
    """The handlers of the hosted page."""

    def __init__(self, deps: WebDependencies) -> None:
        self._deps = deps
        self._service = deps.service
        self._auth = Authenticator(deps.clients, self._client_of_token, deps.trusted_proxies)
        public = urlsplit(deps.public_url)
        self._origin, self._secure, self._prefix = origin_of(deps.public_url), public.scheme == "https", public.path
        self._assets = Assets(public.path)
        self._renderer = Renderer(deps.catalogue, self._assets)

    def routes(self) -> list[web.RouteDef]:
        """Return every route, for ``app.router.add_routes``."""
        return [
            web.get(PAGE, self.show), web.post(PAGE, self.enter), web.post(f"{PAGE}/check", self.check),
            web.post(f"{PAGE}/resend", self.resend), web.get(f"{PAGE}/state", self.state),
            web.get(ASSETS, self._assets.get),
        ]

    async def enter(self, request: web.Request) -> web.Response:
        """``POST /v/{id}`` with ``client_token``, from a page of the portal or from our script."""
        verification_id = request.match_info["id"]
        token = (await read_form(request)).get("client_token", "")
        caller = self._auth.browser(request, verification_id, token)
        request[EXCHANGE].client = caller.client.name
        refuse_stranger(request, caller.client, self._origin)
        response = self._redirect(request)
        set_token(response, token, path=self._path(request), secure=self._secure)
        return response

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v/{id}``."""
        caller, verification_id, exchange = self._visitor(request)
        verification, links = await self._service.view(caller, verification_id)
        exchange.purpose = verification.purpose
        back = way_back(caller.client, links, verification_id)
        if back is not None and verification.status is Status.VERIFIED:
            return web.Response(status=303, headers=answer_headers("text/plain", Location=back))
        lang, locale = self._locale(request, verification)
        return self._renderer.verification(
            verification, caller.client, path=self._path(request), locale=locale, lang=lang,
            word=read_word(request.query), back=back,
        )

    async def check(self, request: web.Request) -> web.Response:
        """``POST /v/{id}/check`` with ``code`` and ``key``."""
        caller, verification_id, exchange, form = await self._form(request)
        try:
            code = read_body(CheckBody, {"code": form.get("code", "")}).code
            replay = self._replay(request, caller, form, code)
            verification = await self._service.check(caller, verification_id, code, replay)
        except _ON_PAGE as refusal:
            return await self._refused(request, caller, exchange, refusal)
        exchange.purpose = verification.purpose
        return self._redirect(request)

    async def resend(self, request: web.Request) -> web.Response:
        """``POST /v/{id}/resend`` with ``key``."""
        caller, verification_id, exchange, form = await self._form(request)
        try:
            replay = self._replay(request, caller, form)
            verification = await self._service.resend(caller, verification_id, replay)
        except _ON_PAGE as refusal:
            return await self._refused(request, caller, exchange, refusal)
        exchange.purpose = verification.purpose
        return self._redirect(request, Word(Said.RESENT))

    async def state(self, request: web.Request) -> web.Response:
        """``GET /v/{id}/state``; held while a carrier is asked about a code that was right."""
        caller, verification_id, _ = self._visitor(request)
        verification = await self._service.get(caller, verification_id)
        shard = self._service.secrets.ring.parse_id(verification_id)
        if shard is not None and verification.status is Status.CHECKING_OWNERSHIP and verification.send_number:
            await self._deps.waiters.final(shard, verification_id, _HELD_S)
            verification = await self._service.get(caller, verification_id)
        _, locale = self._locale(request, verification)
        words = words_of(self._deps.catalogue, locale, verification, caller.client)
        return answer(orjson.dumps(state_of(verification, words)))

    def refusal(self, request: web.Request, exchange: Exchange, refusal: Refusal) -> web.Response:
        """Answer whatever is refused on these paths, by them or before them, the store being down included."""
        locales = self._deps.catalogue.locales
        asked = self._lang(request) or exchange.locale
        locale = negotiate_locale(request.headers.get("Accept-Language"), asked, locales, locales[0])
        known = self._service.secrets.ring.parse_id(request.match_info.get("id", "")) is not None
        return self._renderer.refusal(refusal, locale, path=self._path(request) if known else "", again=known)

    # -- shared ------------------------------------------------------------------------------------------------

    def _visitor(self, request: web.Request) -> tuple[Caller, str, Exchange]:
        """Return whose page a browser may see, by its cookie.  Raises Unauthenticated."""
        verification_id, token = request.match_info["id"], request.cookies.get(COOKIE)
        if token is None:
            raise Unauthenticated
        caller = self._auth.browser(request, verification_id, token)
        exchange = request[EXCHANGE]
        exchange.client, exchange.verification_id = caller.client.name, verification_id
        return caller, verification_id, exchange

    async def _form(self, request: web.Request) -> tuple[Caller, str, Exchange, dict[str, str]]:
        """Return who sends one of our forms, and what.  Raises Unauthenticated, Forbidden, InvalidRequest."""
        caller, verification_id, exchange = self._visitor(request)
        refuse_foreign(request, self._origin)
        return caller, verification_id, exchange, await read_form(request)

    async def _refused(
        self, request: web.Request, caller: Caller, exchange: Exchange, refusal: Refusal,
    ) -> web.Response:
        """Send the browser back to the page with a word on what was refused; the waits are the store's."""
        exchange.code, exchange.limit = refusal.code, refusal.members.get("limit")
        verification = await self._service.get(caller, request.match_info["id"])
        exchange.purpose = verification.purpose
        return self._redirect(request, word_of(refusal, verification.now_ms))

    def _redirect(self, request: web.Request, word: Word = _NOTHING_SAID) -> web.Response:
        lang = self._lang(request)
        query = urlencode({**({"lang": lang} if lang else {}), **word.query()})
        location = f"{self._path(request)}?{query}" if query else self._path(request)
        return web.Response(status=303, headers=answer_headers("text/plain", Location=location))

    def _replay(self, request: web.Request, caller: Caller, form: dict[str, str], code: str = "") -> Replay | None:
        """Return the name under which this form's success is remembered; a form that is not ours may have none."""
        key = form.get("key", "")
        if _KEY.fullmatch(key) is None:
            return None
        ring, verification_id = self._service.secrets.ring, request.match_info["id"]
        digest = ring.body_digest(b"page", request.path.encode(), code.encode())
        return Replay(ring.replay_name(f"{caller.tenant} {verification_id} page", key), digest)

    def _path(self, request: web.Request) -> str:
        return self._prefix + PAGE.format(id=request.match_info["id"])

    def _lang(self, request: web.Request) -> str | None:
        lang = request.query.get("lang")
        return lang if lang in self._deps.catalogue.locales else None

    def _locale(self, request: web.Request, verification: Verification) -> tuple[str | None, str]:
        """Return the language the address asks for, and the page's: that one, or the verification's."""
        lang, locales = self._lang(request), self._deps.catalogue.locales
        return lang, lang or (verification.locale if verification.locale in locales else locales[0])

    def _client_of_token(self, verification_id: str, token: str) -> str | None:
        return self._service.secrets.ring.client_of_token(verification_id, token)
