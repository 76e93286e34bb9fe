"""
How an adapter's options are read: each may come from TOML or, as text, from the environment.

Every mistake is a ConfigurationError with adapter and option in it, never the value: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from otp_service.core.errors import ConfigurationError

#: An attempt takes at most a minute: a code lives for three.
_LONGEST_S = 60.0
#: More of them are no number that an option could mean, and would be slow to read.
_DIGITS = re.compile(r"[0-9]{1,9}")


class Options:
    """
    Reads one adapter's options.

    Args:
        adapter: its name, for the error.
    """

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter

    def wrong(self, name: str, what: str) -> ConfigurationError:
        """Return the error to raise: ``what`` tells what to write instead."""
        return ConfigurationError(f"{self._adapter}: {name}: {what}")

    def text(self, name: str, value: object) -> str:
        """Return one line of text that is not empty, without space around it."""
        text = value.strip() if isinstance(value, str) else ""
        if not text or not text.isprintable():
            raise self.wrong(name, "write one line of text that is not empty")
        return text

    def url(self, name: str, value: object, *, query: bool = False) -> str:
        """Return an http or https address, without a slash at the end; ``query`` says whether it may have one."""
        text = self.text(name, value)
        try:
            parts = urlsplit(text)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            # An unclosed bracket of an IPv6 address, a port that is no number: as bad as no host.
            good = False
        if not good or not text.isascii() or " " in text or "#" in text or ("?" in text and not query):
            without = "" if query else " without a query"
            raise self.wrong(name, f"write an address that begins with http:// or https://{without}")
        return text if query else text.rstrip("/")

    def matching(self, name: str, value: object, pattern: re.Pattern[str], what: str) -> str:
        """Return text, or a whole number as text, that is all of a pattern, without space around it."""
        text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not pattern.fullmatch(text):
            raise self.wrong(name, what)
        return text

    def seconds(self, name: str, value: object, *, most: float = _LONGEST_S) -> float:
        """Return seconds, more than 0 and at most ``most``."""
        try:
            seconds = 0.0 if isinstance(value, bool) or not isinstance(value, str | int | float) else float(value)
        except (ValueError, OverflowError):
            seconds = 0.0
        # Not a number compares as false.
        if not 0 < seconds <= most:
            raise self.wrong(name, f"write seconds, more than 0 and at most {most:g}")
        return seconds

    def whole(self, name: str, value: object, least: int, most: int) -> int:
        """Return a whole number from ``least``, which is not negative, to ``most``."""
        what = f"write a whole number from {least} to {most}"
        number = int(self.matching(name, value, _DIGITS, what))
        if not least <= number <= most:
            raise self.wrong(name, what)
        return number

    def boolean(self, name: str, value: object) -> bool:
        """Return true or false."""
        found = {"true": True, "false": False}.get(str(value).strip().lower())
        if found is None:
            raise self.wrong(name, "write true or false")
        return found

    def table(self, name: str, value: object) -> Mapping[str, Any]:
        """Return a table that is not empty; a text is read as JSON."""
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise self.wrong(name, "the text is no JSON") from error
        if not isinstance(value, Mapping) or not value:
            raise self.wrong(name, "write a table that is not empty")
        return value

    def tables(self, name: str, value: object, members: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return a table of tables by their names, each with exactly these members; a text is read as JSON."""
        found = {str(key): entry for key, entry in self.table(name, value).items()}
        for key, entry in found.items():
            if not isinstance(entry, Mapping) or set(entry) != set(members):
                raise self.wrong(f"{name}.{key}", f"write {' and '.join(sorted(members))}, nothing else")
        return found
