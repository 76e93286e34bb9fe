"""
The seams: what an SMS gateway looks like to the rest of the house.  Ownership sources: ``core/source_ports.py``.

Gateways are sans-I/O: they turn a message into an :class:`HttpRequest` and the answer's bytes into a
:class:`SendOutcome`; one shared sender (``delivery/sender.py``) does the I/O, timeouts, metrics and redaction.

::

    SmsGateway          build_request, parse_response            one HTTP request per message
    TokenGateway        the same, with a token fetched before    OAuth-like providers
    ConnectedGateway    open, send, close                        a connection that stays (SMPP)

    ReportingGateway    parse_report                             beside one of them: the provider calls back
    PollingGateway      build_poll, parse_poll                   beside one of them: we ask the provider
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

# -- what goes to a gateway ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """
    One SMS to hand to a gateway.

    Attributes:
        to: E.164 with plus.
        text: the rendered text, as the phone shows it; it carries a live code and is never logged.
        template_key: the catalogue's key; carriers register templates (Decree 91/2020).
        params: what was filled in, in the template's order.
        reference: our id for this send, the same on every retry, so that the provider can drop a duplicate; at most
            48 characters of ``[A-Za-z0-9-]``.
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
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back: a status, lower-cased header names, at most 64 KiB of body, and whether that was all of it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """
    What came instead of an :class:`HttpResponse`.

    Attributes:
        code: ``timeout``, ``connection_lost``, ``connection_refused``, ``name_not_found``, ``tls_failed``, …
        maybe_taken: the request may have reached the other side.
        lost: the connection broke before an answer came.
    """

    code: str
    maybe_taken: bool = False
    lost: bool = False


# -- what a gateway says -------------------------------------------------------------------------------------------


class SendResult(StrEnum):
    """
    What a gateway said, normalised over providers.

    IMPORTANT: a new member also goes into ``HEALED_ELSEWHERE``, ``RETRYABLE`` and ``GATEWAY_AT_FAULT`` if it belongs
    there, and into the magic numbers of ``core/magic_numbers.py``.
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

#: Results that speak against the gateway or our account there, not against one number or one text.
GATEWAY_AT_FAULT = RETRYABLE | {SendResult.SENDER_REJECTED, SendResult.AUTHENTICATION, SendResult.BALANCE}


class DeliveryState(StrEnum):
    """What a delivery report says: on its way (temporary failures included), on the phone, or given up."""

    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """
    A gateway's answer.

    Attributes:
        result: the normalised result.
        provider_id: the provider's id for the message, when it gave one: 1 to 64 printable ASCII characters.
        provider_code: the provider's own code or HTTP status, for the log; at most 64 characters, never a sentence.
        maybe_sent: the request may have reached the provider although no clear answer came back.
        lost: the connection broke before an answer came; only the sender says so.
        stale_token: a :class:`TokenGateway`'s token was not taken: fetch another and try once more.
        delivery: what is known of the delivery at once; most gateways report later.
    """

    result: SendResult
    provider_id: str | None = None
    provider_code: str | None = None
    maybe_sent: bool = False
    lost: bool = False
    stale_token: bool = False
    delivery: DeliveryState | None = None

    @property
    def taken(self) -> bool:
        """Whether the gateway has the message: accepted now, or known as a duplicate of an earlier hand-over."""
        return self.result in {SendResult.ACCEPTED, SendResult.DUPLICATE}


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """
    One report, normalised.  It names the message by the provider's id or by our reference; both may be there.

    Attributes:
        state: what became of the message.
        provider_id: as in :class:`SendOutcome`.
        reference: as in :class:`SmsMessage`.
        provider_code: the provider's own status, for the log; at most 64 characters.
    """

    state: DeliveryState
    provider_id: str | None = None
    reference: str | None = None
    provider_code: str | None = None


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """
    A provider's callback as it arrived.

    Attributes:
        method: GET or POST.
        url: the public URL with its query, as the provider was told it: some sign it.
        headers: names in lower case.
        query: the decoded query; of a repeated name the first value.
        body: at most the size that every request body may have.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class ReportUnreadable(ValueError):
    """A callback that is no report of this provider; the text says what is wrong, never what was sent."""


class ReportForged(ValueError):
    """A callback whose signature is missing or wrong."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A provider's token: its value, the seconds it lives, and what the next one is fetched with, where it changes."""

    value: str = field(repr=False)
    lives_s: int
    refresh: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Supports:
    """
    What a gateway can do.

    Attributes:
        callback: the provider calls back with delivery reports (:class:`ReportingGateway`).
        signed: those callbacks carry a signature that is checked.
        polling: delivery reports can be asked for (:class:`PollingGateway`).
        deduplicates: the provider drops a second hand-over with the same reference.
        templates: it sends a registered template's id and parameters, not the text.
        unicode: it carries accented text.
        parts: the most segments it takes in one message.
    """

    callback: bool = False
    signed: bool = False
    polling: bool = False
    deduplicates: bool = False
    templates: bool = False
    unicode: bool = False
    parts: int = 1


# -- the gateways --------------------------------------------------------------------------------------------------


@runtime_checkable
class SmsGateway(Protocol):
    """
    An SMS gateway, sans-I/O.

    Attributes:
        name: the adapter's name, lower case; the account's name in the settings is what metrics and logs show.
        real: whether it reaches real phones; the demo and test keys refuse those that do.
        timeout_s: seconds for one attempt.

    It may also have ``supports`` (:class:`Supports`), ``contract`` (where the provider's contract was read) and
    ``experimental`` (True when that was only integrators' code).
    """

    name: str
    real: bool
    timeout_s: float

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """
        Turn a message into a request, or into an outcome when nobody needs to be asked.

        A message that this gateway cannot carry (no template registered, too long) is an outcome too, never an
        exception.
        """

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the provider's answer; never raises: what cannot be read is ``UNKNOWN``."""


@runtime_checkable
class TokenGateway(Protocol):
    """An :class:`SmsGateway` whose requests carry a token that is fetched first and shared by all workers."""

    name: str
    real: bool
    timeout_s: float

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token; ``refresh`` is what the last one came with, None when there was none."""

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the token; None when there is none.  Never raises."""

    def build_authorised(self, message: SmsMessage, token: str) -> HttpRequest | SendOutcome:
        """As :meth:`SmsGateway.build_request`, with the token."""

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """As :meth:`SmsGateway.parse_response`; ``stale_token`` asks for another token."""


@runtime_checkable
class ConnectedGateway(Protocol):
    """A gateway with a connection of its own; it does its own I/O and reconnects by itself."""

    name: str
    real: bool
    timeout_s: float

    async def open(self, on_reports: Callable[[Sequence[DeliveryReport]], Awaitable[None]]) -> None:
        """Begin to connect, in the background; returns at once.  Reports go to ``on_reports``."""

    async def send(self, message: SmsMessage) -> SendOutcome:
        """Hand a message over; never raises for what the network or the provider does."""

    async def close(self) -> None:
        """Say goodbye and release everything."""


@runtime_checkable
class ReportingGateway(Protocol):
    """A gateway whose provider calls back with delivery reports."""

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """
        Read a callback; empty when it is well-formed but no report (an incoming SMS, say).

        Raises ReportForged, ReportUnreadable; nothing else.
        """


@runtime_checkable
class PollingGateway(Protocol):
    """
    A gateway that can be asked what became of messages.

    Attributes:
        poll_batch: how many provider ids one request takes.
    """

    poll_batch: int

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:
        """Ask for the state of messages, 1 to ``poll_batch`` of them."""

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:
        """Read the answer; never raises: what cannot be read says nothing."""


Gateway = SmsGateway | TokenGateway | ConnectedGateway


@runtime_checkable
class TokenFetcher(Protocol):
    """What gets a token from its provider; :class:`TokenGateway` and some sources are one."""

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token; ``refresh`` is what the last one came with, None when there was none."""

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the token; None when there is none.  Never raises."""
