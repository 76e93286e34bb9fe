"""
How the operator says no: CAMARA's ``ErrorInfo`` (Commonalities 0.6), ``{"status": 404, "code": …, "message": …}``.

Status and code are normative, the message is for people; none repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The code of a status where no other is named, for what a script or the HTTP server itself refuses.
GENERIC_CODES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED", 406: "NOT_ACCEPTABLE", 409: "ABORTED", 410: "GONE", 412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT", 415: "UNSUPPORTED_MEDIA_TYPE", 422: "SERVICE_NOT_APPLICABLE", 429: "TOO_MANY_REQUESTS",
    500: "INTERNAL", 501: "NOT_IMPLEMENTED", 502: "BAD_GATEWAY", 503: "UNAVAILABLE", 504: "TIMEOUT",
}


class ApiRefusal(Exception):
    """
    A call that is answered with an ``ErrorInfo``.

    Args:
        status: of HTTP.
        code: in capitals; the generic one of the status when left out.
        message: a sentence for the developer at the other side.
        headers: of the answer.
    """

    def __init__(
        self, status: int, code: str = "", message: str = "", *, headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code or GENERIC_CODES.get(status, "UNKNOWN")
        self.message = message or self.code.replace("_", " ").lower()
        self.headers = dict(headers or {})
        super().__init__(f"{status} {self.code}")

    def document(self) -> dict[str, object]:
        """Return the ``ErrorInfo``."""
        return {"status": self.status, "code": self.code, "message": self.message}


def invalid(message: str) -> ApiRefusal:
    """Return the refusal of a request that breaks the schema."""
    return ApiRefusal(400, "INVALID_ARGUMENT", message)
