"""Reading what a form sends: as browsers write it, bounded, and in UTF-8 or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 32
#: Seconds a body may take to arrive.
_ARRIVAL_S: Final = 10.0


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form post; of two with one name the last.  Raises 400, 413 and 415."""
    charset = (request.charset or "utf-8").lower()
    encoding = request.headers.get("Content-Encoding", "identity")
    if request.content_type != _FORM or charset != "utf-8" or encoding != "identity":
        raise web.HTTPUnsupportedMediaType
    body = await read_bytes(request)
    try:
        return dict(parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, encoding="utf-8", errors="strict",
            max_num_fields=_MAX_FIELDS,
        ))
    except ValueError as error:
        raise web.HTTPBadRequest from error


async def read_bytes(request: web.Request) -> bytes:
    """Return a body as it came.  Raises 413, and 400 for one that comes too slowly or not to its end."""
    try:
        async with asyncio.timeout(_ARRIVAL_S):
            return await request.read()
    except (TimeoutError, web.RequestPayloadError, ConnectionError) as error:
        raise web.HTTPBadRequest from error
