"""
Keeps codes, phone numbers, ID numbers, names and bearer tokens out of every log line (invariant 5).

Two nets.  The first goes by the **key**: what may carry a secret is replaced unread, what callers vouch for passes.
The second goes by the **text** of everything else, tracebacks included: it masks what looks like a secret.  The
second errs on the side of masking; a number worth reading goes under a key that says what it measures (``_ms``).

================  ===============================================================================================
kind of key       what happens to its value
================  ===============================================================================================
denied            ``[redacted]``, whatever it is; ``code`` keeps the stable codes of problem documents
closed            text passes: values of closed sets, or made by us, never a caller's input
shaped            text passes when it has the shape of our ids, otherwise it is open
measure           numbers pass, text is open
open              text is searched, numbers of six or more digits are masked, unknown objects show their type alone
================  ===============================================================================================

IMPORTANT: a new secret also goes into ``_DENIED`` (its key) and, if it has a form of its own, into ``_TOKEN``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import pathlib
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from otp_service.core import errors

REDACTED = "[redacted]"

#: Characters of a string that reach the log.
MAX_TEXT = 2048
#: Characters of a traceback that reach the log: its end, where the error stands.
MAX_TRACEBACK = 8192
#: Containers inside containers, and members of each, that reach the log.
MAX_DEPTH = 6
MAX_ITEMS = 64

_CUT = "…[cut]"


class _Kind:
    """
    What the key says about its value; the table stands at the top of the module.

    Not an ``Enum``: Python 3.11 takes 100 ns to read a member, and a line reads dozens.
    """

    DENIED: Final = "denied"
    PROBLEM_CODE: Final = "problem_code"
    CLOSED: Final = "closed"
    SHAPED: Final = "shaped"
    MEASURE: Final = "measure"
    TRACEBACK: Final = "traceback"
    OPEN: Final = "open"


_NUMBERS = frozenset({int, float})

_DENIED = frozenset({
    "api_key", "authorization", "birth_date", "body", "client_token", "code", "cookie", "full_name", "guess",
    "id_number", "id_numbers", "idempotency_key", "input", "otp", "params", "password", "phone",
    "phone_number", "previous_id_number", "proof", "secret", "set_cookie", "text", "to", "token", "tttb_reply",
})
#: A key that contains one of these is denied as well: ``webhook_secret``, ``x-api-key``, ``phone_e164``.
_DENIED_PARTS = (
    "apikey", "api_key", "authorization", "birth", "cccd", "cmnd", "cookie", "full_name", "id_number", "msisdn",
    "password", "phone", "private_key", "secret", "token", "tttb_reply",
)
_CLOSED = frozenset({
    "client", "decision", "gateway", "level", "limit", "logger", "outcome", "purpose", "queue", "route",
    "script", "source", "timestamp", "version",
})
_SHAPED = frozenset({"job_id", "request_id", "verification_id"})
_MEASURES = frozenset({"depth", "pid", "port", "seq", "size", "status"})
_MEASURE_SUFFIXES = ("_bytes", "_count", "_ms", "_ns", "_s", "_seconds", "_us")
_TRACEBACKS = frozenset({"exception", "stack", "stack_info"})

_VERIFICATION_ID = r"[0-9a-z]-[0-9a-z]{1,4}-[a-z2-7]{26}"
_OUR_ID = re.compile(
    _VERIFICATION_ID + r"(?::\d{1,3})?|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
)

#: Six or more decimal digits of any script, with what people and URLs put between them: 0900 000 001,
#: (+84) 900.000.001, %2B84%20900…
_DIGITS = re.compile(r"\d(?:[\s.\-‐-―()+%_/·\u200b-\u200f\u2060\ufeff]{0,3}\d){5,}")
_ID_OR_DIGITS = re.compile(rf"(?<![\w-])(?P<id>{_VERIFICATION_ID})(?![\w-])|{_DIGITS.pattern}")
_DIGITS_AT_END = re.compile(r"[\d\s.()-]{1,24}\Z")
_UNBROKEN_CODE = re.compile(r"\d{6}|(?<!\d)\d{3}[\s-]\d{3}(?!\d)")

#: Addresses of infrastructure may stand in messages.  No phone number is written so: mobile numbers start with
#: 0, 84, 3, 5, 7, 8 or 9, and 84.… is no private range.
_OCTET = r"(?:0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])"
_PRIVATE_ADDRESS = re.compile(
    rf"(?:(?:10|127)\.{_OCTET}|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))(?:\.{_OCTET}){{2}}", re.ASCII,
)

_TOKEN = re.compile(
    r"eyJ[\w-]*(?:\.[\w-]*)*"  # JSON Web Signature: a verdict
    r"|vt_[\w.~-]+"  # client token
    r"|otp_(?:live|test)_[\w.~-]+",  # API key
)
_BEARER = re.compile(r"([Bb](?:earer|asic)|BEARER|BASIC)(\s+)[^\s\"',;]{8,}")
_REPORT_SECRET = re.compile(r"(/delivery-reports/[^/?#\s\"']+/)[^/?#\s\"']+")
_REJECTED_INPUT = re.compile(r"(input_value=).*?(?=, input_type=|$)", re.DOTALL)  # pydantic echoes what it refuses
_NAMES = "|".join(sorted(_DENIED, key=len, reverse=True)).replace("_", "[_-]")
_ASSIGNED = re.compile(
    rf"(?i)((?<![a-z0-9])(?:{_NAMES})(?:\s?=\s?|[\"']\s*:\s*))"
    rf"(?!{re.escape(REDACTED)})"
    r"(?:[bru]?\"(?:[^\"\\]|\\.)*\"?|[bru]?'(?:[^'\\]|\\.)*'?|[^\s,&;)}\]\"']+)",
)


def _problem_codes() -> frozenset[str]:
    """Collect the stable codes of the contract's table: a line's ``code`` is one of these or it is a secret."""

    def below(refusal: type[errors.Refusal]) -> Iterator[str]:
        for child in refusal.__subclasses__():
            yield child.code
            yield from below(child)

    return frozenset(below(errors.Refusal))


_PROBLEM_CODES = _problem_codes()


def redact(_logger: Any, _name: str, event_dict: Mapping[str, Any]) -> dict[str, Any]:
    """
    Redact one event; a structlog processor.

    It stands after what renders ``exc_info`` and directly before the renderer.  What it returns is made of JSON
    types alone, so that no renderer has to call ``repr`` on anything.
    """
    return _clean_members(event_dict.items(), 0)


def redact_text(text: str, limit: int = MAX_TEXT) -> str:
    """
    Mask every secret that can be known by its form, and cut to ``limit`` characters.

    Masked are runs of nine and more digits however they are spaced (phone and ID numbers), unbroken runs of six
    and more (codes; also ``123 456``), client tokens, API keys, JSON Web Signatures, ``Authorization`` values, the
    secret of a delivery report's path, and what is assigned to a denied name (``code=…``, ``"full_name": "…"``).
    Verification ids, dates such as 2026-01-31 and private network addresses stay.
    """
    if len(text) > limit:
        # What is left of a number at the cut goes too: it would be too short to be known as one.
        text = _DIGITS_AT_END.sub("", text[:limit]) + _CUT
    if "eyJ" in text or "vt_" in text or "otp_" in text:
        text = _TOKEN.sub(REDACTED, text)
    if "delivery-reports/" in text:
        text = _REPORT_SECRET.sub(rf"\1{REDACTED}", text)
    if "=" in text or "':" in text or '":' in text:
        text = _REJECTED_INPUT.sub(rf"\1{REDACTED}", text)
        text = _ASSIGNED.sub(rf"\1{REDACTED}", text)
    if "earer" in text or "asic" in text or "EARER" in text or "ASIC" in text:
        text = _BEARER.sub(rf"\1\2{REDACTED}", text)
    if _DIGITS.search(text) is not None:
        text = _ID_OR_DIGITS.sub(_mask_digits, text)
    return text


def _mask_digits(match: re.Match[str]) -> str:
    """Decide about one run of digits, or let a verification id pass."""
    run = match[0]
    if match["id"] is not None:
        return run
    if _UNBROKEN_CODE.search(run) is not None:
        return REDACTED
    is_long = sum(map(str.isdecimal, run)) >= 9
    return REDACTED if is_long and _PRIVATE_ADDRESS.fullmatch(run) is None else run


@lru_cache(maxsize=1024)
def _classify(key: str) -> tuple[str, str]:
    """Say what a key promises, and give the key as it may be logged: a mapping may be keyed by phone numbers."""
    name = key.lower().replace("-", "_")
    if name == "code":
        kind = _Kind.PROBLEM_CODE
    elif name in _DENIED or any(part in name for part in _DENIED_PARTS):
        kind = _Kind.DENIED
    elif name in _CLOSED:
        kind = _Kind.CLOSED
    elif name in _SHAPED:
        kind = _Kind.SHAPED
    elif name in _TRACEBACKS:
        kind = _Kind.TRACEBACK
    elif name in _MEASURES or name.endswith(_MEASURE_SUFFIXES):
        kind = _Kind.MEASURE
    else:
        kind = _Kind.OPEN
    return kind, redact_text(key)


def _clean_members(members: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
    """Redact the members of a mapping, each by what its key promises."""
    clean: dict[str, Any] = {}
    for key, value in members:
        kind, safe_key = _classify(str(key)[:128])
        # The two commonest cases are decided here: each call saved counts in a line of a dozen members.
        if (kind is _Kind.CLOSED and type(value) is str and len(value) <= 128) or (
            kind is _Kind.MEASURE and type(value) in _NUMBERS
        ):
            clean[safe_key] = value
        else:
            clean[safe_key] = _clean(kind, value, depth)
    return clean


def _clean(kind: str, value: Any, depth: int) -> Any:
    """Redact one value of which ``kind`` is known; the answer is made of JSON types."""
    if value is None or value is True or value is False:
        return value
    if kind is _Kind.DENIED:
        return REDACTED
    if type(value) is not str and isinstance(value, Enum):
        value = value.value
    if kind is _Kind.PROBLEM_CODE:
        return value if isinstance(value, str) and value in _PROBLEM_CODES else REDACTED
    if isinstance(value, str):
        return _clean_text(kind, value)
    if isinstance(value, int | float):
        return value if kind is _Kind.MEASURE or -100_000 < value < 100_000 else REDACTED
    return _clean_object(value, depth)


def _clean_text(kind: str, value: str) -> str:
    """Redact a string, the cheapest way that its key allows."""
    if kind is _Kind.CLOSED and len(value) <= 128:
        return value
    if kind is _Kind.SHAPED and _OUR_ID.fullmatch(value) is not None:
        return value
    if kind is _Kind.TRACEBACK:
        return redact_text(_end_of(value), MAX_TRACEBACK)
    return redact_text(value)


def _clean_object(value: Any, depth: int) -> Any:
    """Redact what is neither text nor number; an object we do not know shows its type, never its ``repr``."""
    if isinstance(value, Mapping | list | tuple | AbstractSet):
        return _clean_container(value, depth + 1)
    if isinstance(value, bytes | bytearray):
        return redact_text(value[: MAX_TEXT + 1].decode("utf-8", "backslashreplace"))
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {redact_text(str(value))}"
    if isinstance(value, dt.date | dt.time | dt.timedelta | decimal.Decimal | uuid.UUID | pathlib.PurePath):
        return redact_text(str(value))
    return f"<{type(value).__qualname__}>"


def _clean_container(value: Any, depth: int) -> Any:
    """Redact a container's first members; one nested too deep is cut off, so that a cycle ends."""
    if depth > MAX_DEPTH:
        return _CUT
    if isinstance(value, Mapping):
        return _clean_members(islice(value.items(), MAX_ITEMS), depth)
    return [_clean(_Kind.OPEN, item, depth) for item in islice(value, MAX_ITEMS)]


def _end_of(traceback: str) -> str:
    """
    Keep the end of a long traceback, from the start of a line.

    A token cut in its middle would lose the prefix that it is known by, hence whole lines.
    """
    if len(traceback) <= MAX_TRACEBACK:
        return traceback
    _, newline, end = traceback[-MAX_TRACEBACK:].partition("\n")
    return end if newline else traceback
