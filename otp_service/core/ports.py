"""
The seams: what an SMS gateway and an ownership source look like to the rest of the house.

Gateways are sans-I/O: they turn a message into an :class:`HttpRequest` and the answer's bytes into a
:class:`SendOutcome`; one shared sender (``delivery/sender.py``) does the I/O, timeouts, metrics and redaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from otp_service.core.evidence import Evidence, OwnershipQuestion


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """
    One SMS to hand to a gateway.

    Attributes:
        to: E.164 with plus.
        text: the rendered text, as the phone shows it; it carries a live code and is never logged.
        template_key: the catalogue's key; carriers register templates (Decree 91/2020).
        params: what was filled in, in the template's order.
        reference: our id for this send, the same on every retry, so that the provider can drop a duplicate.
        send_number: 1 for the first SMS of a verification, growing with each resend.
        validity_s: seconds the code stays valid; a gateway that can should not deliver later.
        segments: how many SMS the text takes.
    """

    to: str
    text: str = field(repr=False)
    template_key: str
    params: tuple[tuple[str, str], ...] = field(repr=False)
    reference: str
    send_number: int
    validity_s: int
    segments: int = 1


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request as bytes, ready for the shared sender."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back: a status, lower-cased header names, and at most 64 KiB of body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class SendResult(StrEnum):
    """
    What a gateway said, normalised over providers.

    IMPORTANT: a new member also goes into ``HEALED_ELSEWHERE`` or ``RETRYABLE`` if it belongs there.
    """

    ACCEPTED = "accepted"
    INVALID_NUMBER = "invalid_number"
    BLOCKED = "blocked"
    TEMPLATE_REJECTED = "template_rejected"
    SENDER_REJECTED = "sender_rejected"
    AUTHENTICATION = "authentication"
    BALANCE = "balance"
    THROTTLED = "throttled"
    DUPLICATE = "duplicate"
    WRONG_NETWORK = "wrong_network"
    TEMPORARY = "temporary"
    UNKNOWN = "unknown"


#: Results after which the same gateway may succeed a little later.
RETRYABLE = frozenset({SendResult.THROTTLED, SendResult.TEMPORARY, SendResult.UNKNOWN})

#: Results that another gateway may heal.
HEALED_ELSEWHERE = RETRYABLE | {
    SendResult.BLOCKED, SendResult.TEMPLATE_REJECTED, SendResult.SENDER_REJECTED,
    SendResult.AUTHENTICATION, SendResult.BALANCE, SendResult.WRONG_NETWORK,
}


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """
    A gateway's answer.

    Attributes:
        result: the normalised result.
        provider_id: the provider's id for the message, when it gave one.
        provider_code: the provider's own code or HTTP status, for the log; at most 64 characters.
        maybe_sent: the request may have reached the provider although no clear answer came back.
    """

    result: SendResult
    provider_id: str | None = None
    provider_code: str | None = None
    maybe_sent: bool = False

    @property
    def taken(self) -> bool:
        """Whether the gateway has the message: accepted now, or known as a duplicate of an earlier hand-over."""
        return self.result in {SendResult.ACCEPTED, SendResult.DUPLICATE}


@runtime_checkable
class SmsGateway(Protocol):
    """
    An SMS gateway, sans-I/O.

    Attributes:
        name: lower case, stable: metric label and log value.
        real: whether it reaches real phones; the demo and test keys refuse those that do.
        timeout_s: seconds for one attempt.
    """

    name: str
    real: bool
    timeout_s: float

    def build_request(self, message: SmsMessage) -> HttpRequest | None:
        """Turn a message into a request; None when the gateway took it without one (console)."""

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the provider's answer; never raises: what cannot be read is ``UNKNOWN``."""


@runtime_checkable
class OwnershipSource(Protocol):
    """
    Answers one question: does the subscriber of this number carry this ID number?

    Attributes:
        name: lower case, stable: metric label, log value and ``ownership.source`` of the verdict.
        assurance: the assurance level of its evidence, see ``core/evidence.py``.
    """

    name: str
    assurance: str

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """
        Ask the source once.

        A source that cannot answer returns ``Evidence(ERROR)``; whatever it raises is treated as that.
        It never returns subscriber data.
        """
