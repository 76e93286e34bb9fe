"""
HTTP answers that are described in the settings: which rule takes one, by its status and by what stands in its JSON.

::

    status = 200               # or "2xx", or a list; a redirect is never described
    path = "code"              # where in the JSON answer: names and list indexes, "data.0.code"
    value = ["0", "00"]        # what stands there; without it, anything

Text and number are one value (``0`` and ``"0"``), true is ``"true"``; a list or table is never a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from otp_service.core.described.check import Check, Path, shown

_CLASSES: Final = {"2xx": range(200, 300), "4xx": range(400, 500), "5xx": range(500, 600)}
_STATUSES: Final = frozenset(status for each in _CLASSES.values() for status in each)

#: The statuses of a success.
SUCCESSES: Final = frozenset(_CLASSES["2xx"])


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """Which answers a rule takes; an empty path stands for one that is not written, ``values`` None for any value."""

    statuses: frozenset[int]
    path: Path
    values: frozenset[str] | None

    def takes(self, status: int, answer: object) -> bool:
        """Whether an answer, as :func:`load` has read it, is one of them."""
        if status not in self.statuses:
            return False
        if not self.path:
            return True
        found = at(answer, self.path)
        return found is not None if self.values is None else shown(found) in self.values

    def never_reached(self, earlier: Iterable[AnswerRule]) -> bool:
        """Whether rules before this one, by their status alone, take every answer that it would."""
        taken = {status for rule in earlier if not rule.path for status in rule.statuses}
        return bool(self.statuses) and self.statuses <= taken


def checked_rule(check: Check, name: str, table: Mapping[str, Any]) -> AnswerRule:
    """Read ``status``, ``path`` and ``value`` of the rule ``name``."""
    statuses = _checked_statuses(check, f"{name}.status", table.get("status"))
    path = check.path(f"{name}.path", table.get("path"))
    values = check.scalars(f"{name}.value", table["value"]) if "value" in table else None
    if values is not None and not path:
        check.tell(f"{name}.path", "write where the value stands")
    return AnswerRule(statuses, path, values)


def _checked_statuses(check: Check, name: str, value: object) -> frozenset[int]:
    found: set[int] = set()
    for one in value if isinstance(value, list | tuple) and value else [value]:
        text = shown(one) or ""
        if text in _CLASSES:
            found |= set(_CLASSES[text])
        elif re.fullmatch(r"[0-9]{3}", text) and int(text) in _STATUSES:
            found.add(int(text))
        else:
            check.tell(name, "write a status from 200 to 299 or 400 to 599, 2xx, 4xx, 5xx, or a list of them")
    return frozenset(found)


def load(body: bytes) -> object:
    """Read an answer's JSON; None for what is none, in which no path leads anywhere."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # An HTML page or a cut-off answer says nothing.
        return None


def at(value: object, path: Path) -> object:
    """Return what stands at a path, None when nothing does."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and len(step) < 4:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value
