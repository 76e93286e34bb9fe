"""The calls of the API, as one object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from math import ceil
from secrets import token_urlsafe
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import orjson

from otp_service.client.claims import Claims, differ, read_claims
from otp_service.client.errors import AnswerInvalid, NotFound, NotVerified, Unavailable, Unreachable
from otp_service.client.members import MemberInvalid
from otp_service.client.transport import Call, Transport
from otp_service.client.verification import (
    Attested,
    Consent,
    Started,
    Verification,
    read_attested,
    read_started,
    read_verification,
)

#: Seconds one read may wait: below what proxies commonly allow a silent connection (the service itself takes 30).
_MOST_WAIT_S: Final = 20
#: Seconds between two reads that were answered at once, as by a service that is about to stop.
_POLL_S: Final = 1.0

_VERIFICATIONS: Final = "v1/verifications"
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,36}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,512}")
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")

_T = TypeVar("_T")


class OtpClient:
    """
    The API of one service, for one API key.

    ::

        async with OtpClient("https://otp.example.vn", api_key) as otp:
            started = await otp.start(purpose="sign_in", phone_number=phone, end_user_ip=address)

    Every POST carries an ``Idempotency-Key``: one of its own, or the ``idempotency_key`` given, which is how a call is
    made once even when your own process dies in between.  A call whose reply is lost, and one that is ``unavailable``
    for at most 5 s, is repeated with the same key, up to three times in all and within ``timeout_s``.

    ``locale`` (``vi`` or ``en``) chooses the language of refusals, for whoever reads ``Refused.detail``.

    Every method raises Refused (one subclass per code), Unreachable and AnswerInvalid.

    Args:
        base_url: where the service is.  The API key travels there: use https, or a network of your own.
        api_key: from your secrets.
        timeout_s: seconds for one call; ``docs/api.md`` says why 10.
        session: connections to share with other code; one of its own is made otherwise.
    """

    def __init__(
        self, base_url: str, api_key: str, *, timeout_s: float = 10.0, session: aiohttp.ClientSession | None = None,
    ) -> None:
        if not _KEY.fullmatch(api_key):
            raise ValueError("the API key has characters that no API key has")
        if not timeout_s > 0:
            raise ValueError("timeout_s is above 0")
        self._transport = Transport(base_url, authorization=f"Bearer {api_key}", timeout_s=timeout_s, session=session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless they came as ``session``."""
        await self._transport.close()

    # -- verifications -----------------------------------------------------------------------------------------

    async def start(
        self, *, purpose: str, phone_number: str, id_number: str | None = None, previous_id_number: str | None = None,
        full_name: str | None = None, birth_date: date | str | None = None, end_user_ip: str | None = None,
        reference: str | None = None, locale: str | None = None, consent: Consent | None = None,
        callback_url: str | None = None, return_url: str | None = None, proof: str | None = None,
        idempotency_key: str | None = None,
    ) -> Started:
        """
        Start a verification: when this returns, the SMS is queued durably.

        ``docs/api.md`` says what each member means and which a purpose needs; None leaves a member out.  Raises
        InvalidRequest with every bad field, PhoneNotMobile, RateLimited, ProofRequired and others; ValueError for a
        member that JSON cannot hold.
        """
        body = {
            "purpose": purpose, "phone_number": phone_number, "id_number": id_number,
            "previous_id_number": previous_id_number, "full_name": full_name, "birth_date": birth_date,
            "end_user_ip": end_user_ip, "reference": reference, "locale": locale, "consent": _consent(consent),
            "callback_url": callback_url, "return_url": return_url, "proof": proof,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return await self._post(read_started, _VERIFICATIONS, given, idempotency_key, locale)

    async def get(self, verification_id: str, *, wait_s: int = 0, locale: str | None = None) -> Verification:
        """Read a verification; ``wait_s`` (at most 30) holds the answer until the status is final."""
        path = _path(verification_id)
        return await self._call(read_verification, Call("GET", path, headers=_headers(locale), wait_s=wait_s))

    async def wait(self, verification_id: str, *, timeout_s: float = 60.0) -> Verification:
        """
        Read a verification until its status is final, and return it as it stands then or after ``timeout_s``.

        Look at ``final`` and ``verified``.  A service that restarts meanwhile is asked again until the time is over,
        and the last answer may take one call's timeout longer.
        """
        clock, sleep = self._transport.clock, self._transport.sleep
        ends_s = clock() + timeout_s
        while True:
            began_s = clock()
            wait_s = min(_MOST_WAIT_S, max(0, ceil(ends_s - began_s)))
            pause_s = _POLL_S
            try:
                found = await self.get(verification_id, wait_s=wait_s)
            except (Unreachable, Unavailable) as error:
                if clock() + pause_s >= ends_s:
                    raise
                if isinstance(error, Unavailable):
                    pause_s = max(pause_s, error.retry_after_s or 0)
            else:
                if found.final or clock() >= ends_s:
                    return found
                pause_s -= clock() - began_s
            await sleep(min(max(pause_s, 0), max(ends_s - clock(), 0)))

    async def resend(
        self, verification_id: str, *, locale: str | None = None, idempotency_key: str | None = None,
    ) -> Verification:
        """Send a new code in a further SMS.  Raises ResendTooSoon, SendsExhausted, AlreadyFinal and others."""
        return await self._post(
            read_verification, _path(verification_id, "resend"), {}, idempotency_key, locale,
        )

    async def check(
        self, verification_id: str, code: str, *, locale: str | None = None, idempotency_key: str | None = None,
    ) -> Verification:
        """
        Check a code.

        A return means that the code was right, not that the person is verified: look at ``status``.  Raises WrongCode,
        Locked, CodeExpired, GuessTooSoon, AlreadyFinal and others.
        """
        return await self._post(
            read_verification, _path(verification_id, "check"), {"code": code}, idempotency_key, locale,
        )

    async def cancel(self, verification_id: str, *, locale: str | None = None) -> Verification:
        """End a verification; again answers the same.  Raises AlreadyFinal where it has ended otherwise."""
        return await self._call(read_verification, Call("DELETE", _path(verification_id), headers=_headers(locale)))

    async def attest(
        self, verification_id: str, tttb_reply: str, *, locale: str | None = None, idempotency_key: str | None = None,
    ) -> Attested:
        """Bring the reply of 1414 that an official has read on the citizen's phone (assisted purposes alone)."""
        return await self._post(
            read_attested, _path(verification_id, "ownership-evidence"), {"tttb_reply": tttb_reply}, idempotency_key,
            locale,
        )

    # -- verdicts ----------------------------------------------------------------------------------------------

    async def redeem(
        self, result_token: str | None, *, phone_number: str, id_number: str | None, locale: str | None = None,
        idempotency_key: str | None = None,
    ) -> Claims:
        """
        Redeem a verdict, once: what an account is opened on.

        Give the phone and ID number of the form that the account is opened for, from your own storage and not from the
        browser: a verdict about another phone or person is refused.  ``id_number`` may be None where the purpose did
        not check ownership.  An ``idempotency_key`` derived from the verification lets you repeat the call after a
        crash of yours.

        Raises NotVerified, also for a token of None, AlreadyRedeemed, ClaimsMismatch and others; AnswerInvalid for
        claims about another phone; TypeError and ValueError for a ``phone_number`` that is no text or empty.
        """
        _check_wanted(phone_number)
        if result_token is None:
            raise NotVerified(status=409)
        expect = {"phone_number": phone_number, "id_number": id_number}
        body = {"token": result_token, "expect": {name: value for name, value in expect.items() if value is not None}}
        claims = await self._post(read_claims, "v1/result-tokens/redeem", body, idempotency_key, locale)
        if not claims.verified:
            raise AnswerInvalid("a redeemed verdict that is not verified")
        if differ(claims.phone_number, phone_number):
            raise AnswerInvalid("a redeemed verdict about another phone")
        return claims

    async def jwks(self) -> Mapping[str, Any]:
        """Return the keys that sign result tokens (JWK Set, RFC 7517); :class:`TokenReader` keeps them for you."""
        return await self._call(_object, Call("GET", ".well-known/jwks.json"))

    # -- shared ------------------------------------------------------------------------------------------------

    async def _post(
        self, read: Callable[[Any], _T], path: str, body: Mapping[str, Any], key: str | None, locale: str | None,
    ) -> _T:
        headers = {**_headers(locale), "Content-Type": "application/json", "Idempotency-Key": _quoted(key)}
        return await self._call(read, Call("POST", path, _dumped(body), headers))

    async def _call(self, read: Callable[[Any], _T], call: Call) -> _T:
        found = await self._transport.json(call)
        try:
            return read(found)
        except MemberInvalid as error:
            lacking = str(error)
        raise AnswerInvalid(f"an answer without a usable {lacking}")


def _object(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise MemberInvalid("object")
    return found


def _path(verification_id: str, call: str = "") -> str:
    """Return the path of a verification; ids often come back in a URL, so that anything may stand there."""
    if not _ID.fullmatch(verification_id):
        raise NotFound(status=404)
    return f"{_VERIFICATIONS}/{verification_id}{'/' if call else ''}{call}"


def _check_wanted(phone_number: object) -> None:
    """Refuse to redeem for nobody: a verdict that is bound to no phone is whoever's brings it."""
    sentence = "phone_number is the number of the form that the account is opened for, as text"
    if not isinstance(phone_number, str):
        raise TypeError(sentence)
    if not phone_number.strip():
        raise ValueError(sentence)


def _dumped(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON.  Raises ValueError, which names the member that JSON cannot hold and not its value."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        pass
    raise ValueError(f"{_unwritable(body)} cannot be written as JSON: its text is no Unicode, or it is no text")


def _unwritable(body: Mapping[str, Any]) -> str:
    """Return the first member that JSON cannot hold, as a dotted path."""
    for name, value in body.items():
        try:
            orjson.dumps(value)
        except orjson.JSONEncodeError:
            return f"{name}.{_unwritable(value)}" if isinstance(value, dict) else name
    return "body"


def _headers(locale: str | None) -> dict[str, str]:
    """Ask for a language; what names none is the service's to refuse where it matters."""
    return {"Accept-Language": locale} if locale is not None and _LANGUAGE.fullmatch(locale) else {}


def _consent(consent: Consent | None) -> dict[str, str] | None:
    if consent is None:
        return None
    given_at: datetime = consent.given_at
    if given_at.tzinfo is None:
        raise ValueError("consent.given_at has an offset from UTC")
    return {"notice_version": consent.notice_version, "given_at": given_at.isoformat()}


def _quoted(key: str | None) -> str:
    """Return an idempotency key as a structured-field string (RFC 9651 section 3.3.3).  Raises ValueError."""
    if key is None:
        return f'"{token_urlsafe(18)}"'
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ValueError("an idempotency key is 1 to 255 printable ASCII characters")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
