"""How SMS adapters read a provider's answers: nothing here raises, whatever the provider sent."""

from __future__ import annotations

import re

from otp_service.core.ports import SendOutcome, SendResult

#: What the store keeps in one small value.
_PROVIDER_ID = re.compile(r"[!-~]{1,64}")

#: As :attr:`SmsMessage.reference` is written.
_REFERENCE = re.compile(r"[A-Za-z0-9-]{1,48}")

_STATUSES = {
    401: SendResult.AUTHENTICATION, 403: SendResult.AUTHENTICATION, 402: SendResult.BALANCE,
    429: SendResult.THROTTLED,
}


def provider_id(value: object) -> str | None:
    """Return a provider's message id as text; None when it is none that the store could keep."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if _PROVIDER_ID.fullmatch(text) else None


def reference(value: object) -> str | None:
    """Return our reference that a provider echoes; None when it is none of ours."""
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None


def by_status(status: int, code: str | None = None) -> SendOutcome:
    """
    Return what an HTTP status alone says, when the body says nothing better.

    5xx is temporary and perhaps sent (a gateway may fail after it has taken the message); a redirect, a success that
    cannot be read and any other status are unknown.
    """
    shown = code or str(status)
    if status in _STATUSES:
        return SendOutcome(_STATUSES[status], provider_code=shown)
    if 500 <= status < 600:
        return SendOutcome(SendResult.TEMPORARY, provider_code=shown, maybe_sent=True)
    return SendOutcome(SendResult.UNKNOWN, provider_code=shown, maybe_sent=200 <= status < 400)
