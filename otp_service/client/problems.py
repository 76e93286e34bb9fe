"""Problem documents (RFC 9457) as refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from otp_service.client.errors import REFUSALS, AnswerInvalid, OtpError, Refused
from otp_service.client.members import text_of

_NAMED: Final = frozenset({"type", "title", "status", "detail", "code"})
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


def read_problem(found: Any, status: int, headers: Mapping[str, str]) -> OtpError:
    """Return the refusal that a problem document is; AnswerInvalid for one without a code."""
    code = text_of(found, "code") if isinstance(found, dict) else None
    if code is None or not _CODE.fullmatch(code):
        return AnswerInvalid(f"status {status} with a problem document that is not the service's")
    request_id = headers.get("X-Request-Id", "")
    return REFUSALS.get(code, Refused)(
        code, status, title=text_of(found, "title") or "", detail=text_of(found, "detail") or "",
        retry_after_s=retry_after_s(headers),
        members={name: value for name, value in found.items() if name not in _NAMED},
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return ``Retry-After`` in seconds: the service never sends the form with a date (RFC 9110 section 10.2.3)."""
    said = headers.get("Retry-After", "").strip()
    return float(said) if _SECONDS.fullmatch(said) else None
