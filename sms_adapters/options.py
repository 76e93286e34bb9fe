"""
How an adapter's options are read: each may come from TOML or, as text, from the environment.

Every mistake is a ConfigurationError with adapter and option in it, never the value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from otp_service.core.errors import ConfigurationError

_LONGEST_S = 60.0


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

    def seconds(self, name: str, value: object) -> float:
        """Return seconds, more than 0 and at most 60."""
        try:
            seconds = 0.0 if isinstance(value, bool) or not isinstance(value, str | int | float) else float(value)
        except (ValueError, OverflowError):
            seconds = 0.0
        # Not a number compares as false.
        if not 0 < seconds <= _LONGEST_S:
            raise self.wrong(name, "write seconds, more than 0 and at most 60")
        return seconds

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
