"""
Reads an adapter that is described in the settings alone, and tells every mistake of the description at once.

Nobody has to start the service five times to learn of five mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any

import orjson

from otp_service.core.errors import ConfigurationError

#: Where something stands in JSON: names, and indexes of lists.
Path = tuple[str, ...]


class Check:
    """
    Reads options and remembers every mistake.

    A mistake names the option and says what to write; it never repeats what stands there, which may be a secret.

    Args:
        adapter: its name, for the error.
    """

    def __init__(self, adapter: str) -> None:
        self.adapter = adapter
        self._mistakes: list[str] = []

    @property
    def told(self) -> int:
        """How many mistakes there are so far: what follows from one of them is not told as another."""
        return len(self._mistakes)

    def tell(self, name: str, text: str) -> None:
        """Remember a mistake of an option, given by its dotted name."""
        self._mistakes.append(f"{name}: {text}")

    def done(self) -> None:
        """Raise ConfigurationError if there were mistakes."""
        if self._mistakes:
            raise ConfigurationError(f"{self.adapter}: " + "; ".join(self._mistakes))

    def line(self, name: str, value: object, default: str | None) -> str:
        """Read one line of text; ``default`` None means that it must not be empty."""
        text = value.strip() if isinstance(value, str) else None
        if text is None or not text.isprintable() or (not text and default is None):
            self.tell(name, "write one line of text" + ("" if default is not None else " that is not empty"))
            return ""
        return text

    def secret(self, value: object) -> str:
        """Read the option ``secret``: empty, or what a header can carry."""
        secret = self.line("secret", value, "")
        if not secret.isascii():
            self.tell("secret", "write ASCII, because it goes into headers")
        return secret

    def choice(self, name: str, value: object, choices: Collection[str]) -> str:
        """Read one of some words; empty when it is none of them."""
        if not isinstance(value, str) or value not in choices:
            self.tell(name, f"write {listed(choices)}")
            return ""
        return value

    def boolean(self, name: str, value: object) -> bool:
        """Read true or false."""
        text = str(value).lower() if isinstance(value, str | bool) else ""
        if text not in {"true", "false"}:
            self.tell(name, "write true or false")
        return text == "true"

    def number(self, name: str, value: float | str, *, at_most: int) -> float:
        """Read a number above 0."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.0
        if isinstance(value, bool) or not isfinite(number) or not 0 < number <= at_most:
            self.tell(name, f"write a number above 0 and at most {at_most}")
        return number

    def whole(self, name: str, value: float | str, *, at_most: int) -> int:
        """Read a whole number from 1."""
        text = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= at_most:
            self.tell(name, f"write a whole number from 1 to {at_most}")
            return 1
        return int(text)

    def from_text(self, name: str, value: object) -> object:
        """Read JSON where a text stands in place of a table or list, as it comes from the environment."""
        if not isinstance(value, str):
            return value
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            self.tell(name, "the text is no JSON")
            return None

    def table(self, name: str, value: object, known: Collection[str] | None = None) -> dict[str, Any]:
        """Read a table; ``known`` are the names it may have, None for any."""
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
            self.tell(name, "write a table")
            return {}
        for key in value:
            if known is not None and key not in known:
                self.tell(f"{name}.{key}", f"there is no such option: write {listed(known)}")
        return dict(value)

    def path(self, name: str, value: object) -> Path:
        """Read a path such as ``data.0.id``; empty when there is none."""
        if value is None:
            return ()
        steps = tuple(value.split(".")) if isinstance(value, str) else ("",)
        if not all(step and step == step.strip() for step in steps):
            self.tell(name, 'write where it stands in the JSON, such as "data.0.id"')
        return steps

    def scalars(self, name: str, value: object) -> frozenset[str]:
        """Read a text, number or boolean, or a list of them."""
        found = [shown(one) for one in (value if isinstance(value, list | tuple) else [value])]
        if not found or None in found:
            self.tell(name, "write a text, a number, true or false, or a list of them")
        return frozenset(one for one in found if one is not None)


def shown(value: object) -> str | None:
    """Return a JSON text, number or boolean as text, so that ``0`` and ``"0"`` are one value in a description."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def listed(words: Collection[str]) -> str:
    """Write words as a sentence does: ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else str(last)
