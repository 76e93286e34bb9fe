"""Reading a body: bounded while it arrives, JSON by its own word, one object."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from aiohttp import web

from otp_service.core.errors import FieldError
from otp_service.web import problems
from otp_service.web.exchange import JSON

_PIECE: Final = 65_536

#: Seconds a body may take to arrive; one that came with its headers is not timed.
ARRIVAL_S: Final = 10.0
_KEY_MAX: Final = 255
KEY_HEADER: Final = "Idempotency-Key"


async def read_json(request: web.Request, *, required: bool = True) -> tuple[bytes, dict[str, Any]]:
    """
    Return the body as it came and as an object; a body above the application's ``client_max_size`` is not kept.

    Without ``required`` an absent body is an empty object.  Raises InvalidRequest (400, 413, 415).
    """
    headers = request.headers
    refuse_length(request)
    if not required and not request.body_exists:
        return b"", {}
    if headers.get("Content-Type") != JSON and request.content_type != JSON:
        raise problems.not_json()
    if headers.get("Content-Encoding", "identity") != "identity":
        # A few bytes could unpack into gigabytes, and our bodies are small.
        raise problems.not_json()
    body = await read_bytes(request)
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise problems.malformed() from error
    if type(raw) is not dict:
        raise problems.malformed()
    return body, raw


def refuse_length(request: web.Request, most: int | None = None) -> None:
    """Refuse a body that says it is longer than ``most`` or the application's limit, unread.  Raises InvalidRequest."""
    length = request.content_length
    if length is not None and length > (request.client_max_size if most is None else most):
        raise problems.too_large()


async def read_bytes(request: web.Request) -> bytes:
    """
    Read a body that may say nothing of its length; aiohttp counts while it reads.

    Raises InvalidRequest (400) for one that comes too slowly or not to its end.
    """
    if request.content.is_eof():
        return await request.read()
    try:
        async with asyncio.timeout(ARRIVAL_S):
            return await request.read()
    except (TimeoutError, web.RequestPayloadError, ConnectionError) as error:
        # Too slow, cut off, or chunks that are none: the whole body never came.
        raise problems.malformed() from error


async def read_up_to(request: web.Request, most: int) -> bytes:
    """
    Read a body of at most ``most`` bytes where the application's limit is not the one that counts.

    Raises InvalidRequest: 413 for a longer one, of which no more than a piece beyond the limit is read; 400 as above.
    """
    refuse_length(request, most)
    body = bytearray()
    try:
        async with asyncio.timeout(ARRIVAL_S):
            while piece := await request.content.read(_PIECE):
                body += piece
                if len(body) > most:
                    raise problems.too_large()
    except (TimeoutError, web.RequestPayloadError, ConnectionError) as error:
        raise problems.malformed() from error
    return bytes(body)


def idempotency_key(request: web.Request) -> tuple[str | None, tuple[FieldError, ...]]:
    """
    Return the ``Idempotency-Key``, bare or quoted as a structured-field string (RFC 9651 section 3.3.3), or why not.

    1 to 255 printable ASCII characters; the same key means the same in either form.
    """
    values = request.headers.getall(KEY_HEADER, ())
    if not values:
        return None, ()
    key = _unquote(values[0])
    if len(values) > 1 or key is None or not 1 <= len(key) <= _KEY_MAX or not (key.isascii() and key.isprintable()):
        return None, (FieldError(KEY_HEADER, "malformed"),)
    return key, ()


def _unquote(value: str) -> str | None:
    if not value.startswith('"'):
        return value
    if len(value) < 2 or not value.endswith('"'):
        return None
    inner, plain = iter(value[1:-1]), []
    for char in inner:
        if char == '"':
            return None
        escaped = next(inner, "") if char == "\\" else char
        if char == "\\" and escaped not in {'"', "\\"}:
            return None
        plain.append(escaped)
    return "".join(plain)
