"""What every adapter needs to read an answer: nothing here raises, whatever the other side sent."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_CODE_MAX = 64
_CODE_NUMBER = re.compile(r"-?[0-9]{1,9}")

#: What fits into a header.
_TOKEN = re.compile(r"[!-~]{1,4096}")
_TOKEN_LIFE = re.compile(r"[1-9][0-9]{0,8}")


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; empty when there is none: an HTML page, a list, a cut-off answer."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        # The caller says what that means, which is counted and logged.
        return {}
    return found if isinstance(found, dict) else {}


def json_once(body: bytes) -> object:
    """
    Return the JSON of a body in which no member stands twice; None when there is none.

    Of two members of one name readers choose differently (RFC 8259 section 4): an answer that decides about a person
    must not depend on which.
    """
    try:
        return json.loads(body, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        # The caller says what that means, which is counted and logged.
        return None


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands there twice")
    return members


def provider_code(value: object) -> str | None:
    """Return a provider's code for the log: printable, at most 64 characters, None when there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return "".join(char if char.isprintable() else "?" for char in str(value)[:_CODE_MAX])


def code_number(value: object) -> str | None:
    """Return a provider's code that is a whole number, as text; None when it is none."""
    code = provider_code(value) or ""
    return code if _CODE_NUMBER.fullmatch(code) else None


def token_text(value: object) -> str | None:
    """Return a token; None when it is none that a header could carry."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def token_life(value: object, *, unsaid: int) -> int:
    """Return how many seconds a token lives, as number or as text; ``unsaid`` where that is not said."""
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if _TOKEN_LIFE.fullmatch(text) else unsaid


def international(e164: str) -> str:
    """Return ``84900000001`` of ``+84900000001``."""
    return e164.removeprefix("+")


def national(e164: str) -> str:
    """Return ``0900000001`` of ``+84900000001``."""
    return "0" + e164.removeprefix("+84")
