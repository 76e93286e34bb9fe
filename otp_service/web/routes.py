"""
The route table: what is served where, to whom, and which refusals it can answer.

The router (``server.py``) and the OpenAPI document (``openapi.py``) are both made from it, so that neither can say
something the other does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from otp_service.core.client import Scope
from otp_service.core.errors import (
    AlreadyFinal,
    AlreadyRedeemed,
    ClaimsMismatch,
    CodeExpired,
    Forbidden,
    GuessTooSoon,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    Internal,
    Locked,
    NotFound,
    NotVerified,
    PhoneNotMobile,
    ProofRequired,
    RateLimited,
    Refusal,
    ResendTooSoon,
    SendsExhausted,
    Unauthenticated,
    Unavailable,
    WrongCode,
)
from otp_service.web.answers import (
    AttestedAnswer,
    ClaimsAnswer,
    HealthAnswer,
    KeysAnswer,
    ReportsAnswer,
    VerificationAnswer,
)
from otp_service.web.requests import CheckBody, EvidenceBody, RedeemBody, ResendBody, StartBody

VERIFICATIONS: Final = "/v1/verifications"
VERIFICATION: Final = "/v1/verifications/{id}"
DELIVERY_REPORTS: Final = "/v1/delivery-reports/{gateway}/{secret}"
#: The hosted page, what its forms and script call, and what it loads (see ``pages/handlers.py``).
PAGE: Final = "/v/{id}"
PAGE_PATHS: Final = (PAGE, f"{PAGE}/check", f"{PAGE}/resend", f"{PAGE}/state")
ASSETS: Final = "/assets/{name}"
#: The drop-in element and its types (see ``element/handlers.py``).
ELEMENT_PATHS: Final = ("/element.js", "/element.d.ts")
#: Where the demo's fake gateway stands, and what it serves there (see ``fake_gateway/handlers.py``).
DEMO: Final = "/demo"
_DEMO_PATHS: Final = ("/gateway", "/gateway/messages", "/sms", "/phone", "/script")

_BODY: Final = (400, 413, 415, 422)
_REPLAY: Final = (IdempotencyKeyReused, IdempotencyInProgress)
_ANY: Final = (Unavailable, Internal)
_CALLER: Final = (Unauthenticated, Forbidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    One call.

    Attributes:
        id: the handler's name and the ``operationId``.
        scope: what an API key must allow; None where nobody is asked for one.
        browser: whether a client token does as well, cross-origin.
        body: the request's model; ``body_optional`` when it may be absent.
        accepts: media types of a body that is somebody else's to describe.
        success: the status of a success.
        answer: its model, or None where ``media`` is no JSON.
        invalid: statuses of ``invalid_request`` that it can answer.
        refusals: the other refusals.
        replay: whether ``Idempotency-Key`` is honoured.
        private: whether the private listener serves it too, without a key.
    """

    id: str
    method: str
    path: str
    summary: str
    about: str
    scope: Scope | None = None
    browser: bool = False
    body: type[BaseModel] | None = None
    body_optional: bool = False
    accepts: tuple[str, ...] = ()
    success: int = 200
    said: str
    answer: type[BaseModel] | None = None
    media: str = "application/json"
    invalid: tuple[int, ...] = ()
    refusals: tuple[type[Refusal], ...] = ()
    replay: bool = False
    private: bool = False


#: The hottest first: aiohttp tries the paths that begin alike in this order.
OPERATIONS: Final = (
    Operation(
        id="start", method="POST", path=VERIFICATIONS, scope=Scope.VERIFY, body=StartBody, replay=True,
        summary="Start a verification: the SMS is on its way",
        about="A 201 means that the SMS is queued durably.  A client has at most one live verification per phone and "
              "purpose: a new start ends the older one as `cancelled`.",
        success=201, said="Started.", answer=VerificationAnswer, invalid=_BODY,
        refusals=(*_CALLER, PhoneNotMobile, ProofRequired, RateLimited, *_REPLAY, *_ANY),
    ),
    Operation(
        id="check", method="POST", path=f"{VERIFICATION}/check", scope=Scope.VERIFY, browser=True, body=CheckBody,
        replay=True,
        summary="Check a code",
        about="The first that applies is answered: `not_found`, `already_final`, `code_expired`, `guess_too_soon`, "
              "then the guess.  A malformed code costs nothing.",
        said="The code is right: `verified`, `rejected` or `checking_ownership`.", answer=VerificationAnswer,
        invalid=_BODY,
        refusals=(
            *_CALLER, NotFound, AlreadyFinal, Locked, CodeExpired, GuessTooSoon, RateLimited, WrongCode, *_REPLAY,
            *_ANY,
        ),
    ),
    Operation(
        id="resend", method="POST", path=f"{VERIFICATION}/resend", scope=Scope.VERIFY, browser=True, body=ResendBody,
        body_optional=True, replay=True,
        summary="“Gửi lại OTP”: send a new code",
        about="The new code replaces the one before; the attempts stay.",
        success=202, said="A further SMS is queued durably.", answer=VerificationAnswer, invalid=_BODY,
        refusals=(*_CALLER, NotFound, AlreadyFinal, SendsExhausted, ResendTooSoon, RateLimited, *_REPLAY, *_ANY),
    ),
    Operation(
        id="get", method="GET", path=VERIFICATION, scope=Scope.READ, browser=True,
        summary="Read a verification, or wait until it is final",
        about="Changes nothing.  `wait` holds the answer until the status is final, at most that many seconds.",
        said="As it stands now.", answer=VerificationAnswer, invalid=(422,), refusals=(*_CALLER, NotFound, *_ANY),
    ),
    Operation(
        id="cancel", method="DELETE", path=VERIFICATION, scope=Scope.VERIFY,
        summary="Cancel a verification",
        about="Cancelling again answers the same.",
        said="`cancelled`.", answer=VerificationAnswer, refusals=(*_CALLER, NotFound, AlreadyFinal, *_ANY),
    ),
    Operation(
        id="evidence", method="POST", path=f"{VERIFICATION}/ownership-evidence", scope=Scope.EVIDENCE,
        body=EvidenceBody, replay=True,
        summary="Bring the reply of 1414 as evidence",
        about="For assisted purposes, while the status is `checking_ownership` and the sources do not know or do not "
              "answer; 503 while they are still being asked.  It never overrides what a source has said.  The text is "
              "read and forgotten; links in it are never followed.",
        said="How the verification stands, and what the reply came to.", answer=AttestedAnswer, invalid=_BODY,
        refusals=(*_CALLER, NotFound, AlreadyFinal, *_REPLAY, *_ANY),
    ),
    Operation(
        id="redeem", method="POST", path="/v1/result-tokens/redeem", scope=Scope.REDEEM, body=RedeemBody, replay=True,
        summary="Redeem a verdict, once",
        about="Reading the token's signature never replaces this call.  Three differences from `expect` void the "
              "token.",
        said="Its claims.", answer=ClaimsAnswer, invalid=_BODY,
        refusals=(*_CALLER, NotFound, NotVerified, AlreadyRedeemed, ClaimsMismatch, *_REPLAY, *_ANY),
    ),
    Operation(
        id="report", method="POST", path=DELIVERY_REPORTS,
        accepts=("application/json", "application/x-www-form-urlencoded"),
        summary="A delivery report of an SMS gateway",
        about="For providers, not for portals.  Changes `delivery` of the newest SMS at most.  A wrong secret, address "
              "or signature and an unknown gateway look alike.",
        said="Taken over.", answer=ReportsAnswer, invalid=(400, 413), refusals=(NotFound, *_ANY),
    ),
    Operation(
        id="report_by_get", method="GET", path=DELIVERY_REPORTS,
        summary="The same, for providers that know only GET",
        about="For providers, not for portals.  Changes `delivery` of the newest SMS at most.",
        said="Taken over.", answer=ReportsAnswer, invalid=(400,), refusals=(NotFound, *_ANY),
    ),
    Operation(
        id="jwks", method="GET", path="/.well-known/jwks.json", summary="The keys that sign result tokens",
        about="May be kept for five minutes; older keys stay while tokens signed with them are good.",
        said="A JWK Set.", answer=KeysAnswer, refusals=(Internal,),
    ),
    Operation(
        id="openapi", method="GET", path="/openapi.json", summary="This document", about="OpenAPI 3.1.",
        said="OpenAPI 3.1.", refusals=(Internal,),
    ),
    Operation(
        id="docs", method="GET", path="/docs", summary="This document for people", about="Needs no script.",
        said="A page.", media="text/html", refusals=(Internal,),
    ),
    Operation(
        id="livez", method="GET", path="/livez", summary="Whether the process runs", about="Touches nothing else.",
        said="It runs.", answer=HealthAnswer, refusals=(Internal,), private=True,
    ),
    Operation(
        id="readyz", method="GET", path="/readyz", summary="Whether traffic is welcome",
        about="Names what the service needs; 503 as long as something is unfit, and while the service stops.",
        said="Everything is fit.", answer=HealthAnswer, refusals=_ANY, private=True,
    ),
    Operation(
        id="metrics", method="GET", path="/metrics", scope=Scope.METRICS, summary="Prometheus metrics",
        about="On the private listener no key is needed.",
        said="Prometheus' text format.", media="text/plain", refusals=(*_CALLER, Internal), private=True,
    ),
)

#: Templates of the paths that browsers call from other origins.
BROWSER_PATHS: Final = frozenset(operation.path for operation in OPERATIONS if operation.browser)


def browser_methods(path: str) -> tuple[str, ...]:
    """Return the methods that browsers may use on a path."""
    return tuple(operation.method for operation in OPERATIONS if operation.browser and operation.path == path)


def templates(*, demo: bool = False) -> tuple[str, ...]:
    """Return every route's template: the closed set of the metrics' label ``route``."""
    paths = dict.fromkeys(operation.path for operation in OPERATIONS)
    return (*paths, *PAGE_PATHS, ASSETS, *ELEMENT_PATHS, *(DEMO + path for path in _DEMO_PATHS if demo))
