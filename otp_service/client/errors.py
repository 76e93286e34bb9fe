"""
Every way a call of the client ends without its answer.

::

    OtpError
    ├── Unreachable                   no answer came: the network, a timeout, a proxy in between
    ├── AnswerInvalid                 something answered that is not the service
    ├── TokenInvalid                  a result token that is not this service's word to you
    ├── WebhookInvalid                a webhook that is not this service's word to you, or too old
    └── Refused                       the service said no; also every code that this client does not know
        ├── InvalidRequest            invalid_request: ``errors`` lists every bad field
        ├── Unauthenticated           unauthenticated
        ├── Forbidden                 forbidden
        ├── NotFound                  not_found
        ├── MethodNotAllowed          method_not_allowed
        ├── PhoneNotMobile            phone_not_mobile: ``suggestion``
        ├── ProofRequired             proof_required: ``challenge``
        ├── OfficialNotAllowed        official_not_allowed
        ├── WrongCode                 wrong_code: ``attempts_left``, ``send_number``
        ├── CodeExpired               code_expired: ``resend_at``, ``sends_left``
        ├── Locked                    locked
        ├── GuessTooSoon              guess_too_soon
        ├── ResendTooSoon             resend_too_soon
        ├── SendsExhausted            sends_exhausted: ``expires_at``
        ├── AlreadyFinal              already_final: ``verification_status``
        ├── RateLimited               rate_limited: ``limit``
        ├── AlreadyRedeemed           already_redeemed
        ├── NotVerified               not_verified: ``claims``
        ├── ClaimsMismatch            claims_mismatch
        ├── IdempotencyKeyReused      idempotency_key_reused
        ├── IdempotencyInProgress     idempotency_in_progress
        ├── Unavailable               unavailable
        └── Internal                  internal

``str`` of each is for logs: words and numbers, nothing of what was sent and no sentence of the other side.  What a
person is to read is ``Refused.detail``.

IMPORTANT: the tree above, ``REFUSALS`` at the end and the table of ``docs/python-client.md`` change together, with the
service's own ``core/errors.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from otp_service.client.members import integer_of, mapping_of, text_of, time_of


class OtpError(Exception):
    """Root of everything that this client raises on purpose, mistakes of its caller (``ValueError``) excepted."""


class Unreachable(OtpError):
    """
    No answer of the service came, however often it was asked within the timeout.

    Attributes:
        reason: a word for the log: ``timeout``, ``connection_refused``, ``connection_lost``, ``name_not_found``,
            ``tls_failed``, ``not_connected``, ``proxy``.
        maybe_done: whether the service may have carried the call out.  Making it again with the same
            ``idempotency_key`` is safe either way.
    """

    def __init__(self, reason: str, *, maybe_done: bool) -> None:
        super().__init__(f"no answer: {reason}")
        self.reason = reason
        self.maybe_done = maybe_done


class AnswerInvalid(OtpError):
    """What answered does not speak as the service does: a wrong address, a proxy's page, JSON that lacks something."""


class TokenInvalid(OtpError):
    """Not a result token of this issuer for this audience, of the kind asked for, good now."""


class WebhookInvalid(OtpError):
    """Not signed with a secret of yours, changed on the way, too old, or not of the form agreed: answer it with 400."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """
    One bad field of a request.

    Attributes:
        field: a dotted path, such as ``consent.given_at``.
        code: stable, such as ``id_number_required``.
        message: a sentence for a person.
        suggestion: what may have been meant, for a phone number of 11 digits from before 2018.
    """

    field: str
    code: str
    message: str
    suggestion: str | None = None


class Refused(OtpError):
    """
    The service said no (a problem document, RFC 9457).

    Attributes:
        code: stable: what to decide by.
        status: of HTTP.
        title: what happened, for a person, in the language asked for; empty where this client has not had to ask.
        detail: what to do about it, the same.
        retry_after_s: seconds after which the same call may succeed, where the refusal passes by itself.
        members: what else it carries; each class names its own.
        request_id: finds the call in the service's log.
    """

    CODE: ClassVar[str] = ""

    def __init__(
        self, code: str = "", status: int = 0, *, title: str = "", detail: str = "",
        retry_after_s: float | None = None, members: Mapping[str, Any] | None = None, request_id: str | None = None,
    ) -> None:
        self.code = code or self.CODE
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members: Mapping[str, Any] = members or {}
        self.request_id = request_id
        super().__init__(f"{self.code} ({status}, request {request_id})" if request_id else f"{self.code} ({status})")


class InvalidRequest(Refused):
    """The request is malformed (400, 413, 415) or has bad fields (422): all of them at once."""

    CODE = "invalid_request"

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """The bad fields; empty where the body as a whole is at fault."""
        found = self.members.get("errors")
        return tuple(
            FieldError(
                text_of(one, "field") or "", text_of(one, "code") or "", text_of(one, "message") or "",
                text_of(one, "suggestion"),
            )
            for one in (found if isinstance(found, list) else []) if isinstance(one, dict)
        )


class Unauthenticated(Refused):
    """No such API key, or one that has expired."""

    CODE = "unauthenticated"


class Forbidden(Refused):
    """The API key is good, but not for this call or purpose."""

    CODE = "forbidden"


class NotFound(Refused):
    """No such verification or token, or another client's: both look the same."""

    CODE = "not_found"


class MethodNotAllowed(Refused):
    """The path exists, the method does not: client and service differ in version."""

    CODE = "method_not_allowed"


class PhoneNotMobile(Refused):
    """Not a Vietnamese mobile number."""

    CODE = "phone_not_mobile"

    @property
    def suggestion(self) -> str | None:
        """What a number of 11 digits from before 2018 is today."""
        return text_of(self.members, "suggestion")


class ProofRequired(Refused):
    """The browser shall work for its first SMS: solve ``challenge``, start again with ``proof``.  Nothing was spent."""

    CODE = "proof_required"

    @property
    def challenge(self) -> Mapping[str, Any]:
        """For ``OtpVerification.solve`` of the drop-in element; JSON as it came."""
        return mapping_of(self.members, "challenge") or {}


class OfficialNotAllowed(Refused):
    """This official may not do that."""

    CODE = "official_not_allowed"


class WrongCode(Refused):
    """The code is wrong, and an attempt is spent."""

    CODE = "wrong_code"

    @property
    def attempts_left(self) -> int | None:
        """How many guesses are left."""
        return integer_of(self.members, "attempts_left")

    @property
    def send_number(self) -> int | None:
        """Which SMS carries the code that is good now."""
        return integer_of(self.members, "send_number")


class CodeExpired(Refused):
    """The code's time is over; no attempt was spent."""

    CODE = "code_expired"

    @property
    def resend_at(self) -> datetime | None:
        """From when a resend is possible; None when none is left."""
        return time_of(self.members, "resend_at")

    @property
    def sends_left(self) -> int | None:
        """How many resends are left."""
        return integer_of(self.members, "sends_left")


class Locked(Refused):
    """All attempts are spent, also by the guess that has just been made: start again."""

    CODE = "locked"


class GuessTooSoon(Refused):
    """Many wrong codes in a row on this phone: wait ``retry_after_s``.  The guess was not evaluated."""

    CODE = "guess_too_soon"


class ResendTooSoon(Refused):
    """The pause between two SMS to one phone is running: wait ``retry_after_s``."""

    CODE = "resend_too_soon"


class SendsExhausted(Refused):
    """This verification sends no further SMS."""

    CODE = "sends_exhausted"

    @property
    def expires_at(self) -> datetime | None:
        """When the verification ends."""
        return time_of(self.members, "expires_at")


class AlreadyFinal(Refused):
    """The verification no longer takes this call."""

    CODE = "already_final"

    @property
    def verification_status(self) -> str | None:
        """How it stands."""
        return text_of(self.members, "verification_status")


class RateLimited(Refused):
    """A limit refused: wait ``retry_after_s``."""

    CODE = "rate_limited"

    @property
    def limit(self) -> str | None:
        """Which: ``person`` for every limit of a phone or ID number."""
        return text_of(self.members, "limit")


class AlreadyRedeemed(Refused):
    """This verdict was redeemed before: it opens no second account."""

    CODE = "already_redeemed"


class NotVerified(Refused):
    """The token is a refusal, or there is none yet."""

    CODE = "not_verified"

    @property
    def claims(self) -> Mapping[str, Any]:
        """The refusal's claims; ``reason`` among them."""
        return mapping_of(self.members, "claims") or {}


class ClaimsMismatch(Refused):
    """The verdict is about another phone or person than you expect: never open the account."""

    CODE = "claims_mismatch"


class IdempotencyKeyReused(Refused):
    """The same idempotency key came with another body."""

    CODE = "idempotency_key_reused"


class IdempotencyInProgress(Refused):
    """The first call with this idempotency key has not been answered yet."""

    CODE = "idempotency_in_progress"


class Unavailable(Refused):
    """The service cannot promise anything now.  Nothing was sent; the same call may be made again."""

    CODE = "unavailable"


class Internal(Refused):
    """A defect of the service: tell its operator the ``request_id``."""

    CODE = "internal"


#: What each code becomes.
REFUSALS: Final[Mapping[str, type[Refused]]] = {refusal.CODE: refusal for refusal in Refused.__subclasses__()}
