"""
Members of JSON objects, each as the type it must have.

The functions ending in ``_of`` are for what may be lacking or odd: None then.  :class:`Members` is for answers that
must have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

_T = TypeVar("_T")


def text_of(found: Mapping[str, Any], name: str) -> str | None:
    """Return a string."""
    value = found.get(name)
    return value if isinstance(value, str) else None


def integer_of(found: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number; ``true`` is none."""
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def mapping_of(found: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return an object."""
    value = found.get(name)
    return value if isinstance(value, dict) else None


def time_of(found: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time (RFC 3339) in UTC; one that names no offset is none."""
    try:
        time = datetime.fromisoformat(text_of(found, name) or "")
        return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


class MemberInvalid(Exception):
    """An answer lacks a member or has it of another type; the message is its name, never its value."""


class Members:
    """An object that must have certain members; each method raises MemberInvalid."""

    def __init__(self, found: Any, name: str = "") -> None:
        if not isinstance(found, dict):
            raise MemberInvalid(name or "object")
        self._found: Mapping[str, Any] = found
        self._prefix = f"{name}." if name else ""

    def text(self, name: str) -> str:
        """Return a string."""
        return self._must(text_of(self._found, name), name)

    def integer(self, name: str) -> int:
        """Return a whole number."""
        return self._must(integer_of(self._found, name), name)

    def time(self, name: str) -> datetime:
        """Return a time in UTC."""
        return self._must(time_of(self._found, name), name)

    def seconds(self, name: str) -> datetime:
        """Return a time that is written in seconds since 1970 (NumericDate, RFC 7519 section 2)."""
        try:
            return datetime.fromtimestamp(self.integer(name), UTC)
        except (ValueError, OverflowError, OSError):
            # Beyond what a calendar has.
            raise MemberInvalid(self._prefix + name) from None

    def text_or_none(self, name: str) -> str | None:
        """Return a string, or None for null and what is absent."""
        return None if self._found.get(name) is None else self.text(name)

    def time_or_none(self, name: str) -> datetime | None:
        """Return a time in UTC, or None for null and what is absent."""
        return None if self._found.get(name) is None else self.time(name)

    def members_or_none(self, name: str) -> Members | None:
        """Return an object, or None for null and what is absent."""
        found = self._found.get(name)
        return None if found is None else Members(found, self._prefix + name)

    def list(self, name: str) -> Sequence[Members]:
        """Return a list of objects, empty for null and what is absent."""
        found = self._found.get(name)
        if found is None:
            return ()
        if not isinstance(found, list):
            raise MemberInvalid(self._prefix + name)
        return [Members(one, self._prefix + name) for one in found]

    def _must(self, value: _T | None, name: str) -> _T:
        if value is None:
            raise MemberInvalid(self._prefix + name)
        return value
