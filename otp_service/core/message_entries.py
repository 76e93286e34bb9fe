"""
What stands in a catalogue: its texts read as templates, and the rules that refuse one at start-up.

:class:`otp_service.core.messages.Catalogue` is made of these; see there for what the sections are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from otp_service.core.errors import ConfigurationError
from otp_service.core.page_texts import PAGE_PLACEHOLDERS, PAGE_TEXTS

# --- Templates ---------------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"\{([a-z][a-z_]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A text ready to be filled: ``names`` in order of appearance, ``pattern`` for the ``%`` operator."""

    names: tuple[str, ...]
    pattern: str

    @classmethod
    def parse(cls, where: str, text: str) -> Template:
        """Read a text of a catalogue.  Raises ConfigurationError."""
        text = normalize("NFC", text)
        *literals, last = _PLACEHOLDER.split(text)[::2]
        if any("{" in literal or "}" in literal for literal in (*literals, last)):
            raise ConfigurationError(f"{where}: a brace that is no {{placeholder}}; write a lower-case name in it")
        pattern = "%s".join(literal.replace("%", "%%") for literal in (*literals, last))
        return cls(tuple(_PLACEHOLDER.findall(text)), pattern)

    def fits(self, values: Mapping[str, str]) -> bool:
        """Whether there is a value for each placeholder."""
        return all(name in values for name in self.names)

    def fill(self, values: Mapping[str, str]) -> str:
        """Put the values in; what they contain is never read as a placeholder again."""
        return self.pattern % tuple([values[name] for name in self.names])

    @property
    def raw(self) -> str:
        """The text with its placeholders unfilled, in braces."""
        return self.pattern % tuple([f"{{{name}}}" for name in self.names])


# --- The rules ----------------------------------------------------------------------------------------------------

_SMS_PLACEHOLDERS = frozenset({"brand", "code", "validity", "send_number"})
PLAIN_SECTIONS = ("fields", "statuses", "reasons")
_SMS_UNITS = ("second", "seconds", "minute", "minutes")
_UNITS = (*_SMS_UNITS, "hour", "hours")

#: The shape of a catalogue, as dotted paths; anything else is a misspelt name and refuses to start.
_PATH = re.compile(
    r"sms\.[a-z0-9_]+\.text|(?:sms_units|units)\.(?:second|minute|hour)s?"
    r"|problems\.[a-z_]+\.(?:title|detail(?:_[a-z_]+)?)|(?:fields|statuses|reasons)\.[a-z_]+"
    rf"|page\.(?:{'|'.join(PAGE_TEXTS)})"
)

#: What run-time fall-backs end on.
_REQUIRED = (
    "sms.default.text", *(f"sms_units.{unit}" for unit in _SMS_UNITS), *(f"units.{unit}" for unit in _UNITS),
    "problems.internal.title", *(f"{section}.default" for section in PLAIN_SECTIONS),
    *(f"page.{key}" for key in PAGE_TEXTS),
)


def read_entries(locale: str, tree: Mapping[str, Any], prefix: str = "") -> dict[str, Template]:
    """Flatten a catalogue to dotted path → template."""
    entries: dict[str, Template] = {}
    for name, value in tree.items():
        path, where = f"{prefix}{name}", f"messages {locale}: {prefix}{name}"
        if isinstance(value, Mapping):
            entries |= read_entries(locale, value, f"{path}.")
        elif not isinstance(value, str) or not value.strip():
            raise ConfigurationError(f"{where}: write a sentence between quotes")
        elif _PATH.fullmatch(path) is None:
            raise ConfigurationError(f"{where}: no text of that name is ever read; check the spelling")
        else:
            entries[path] = Template.parse(where, value)
    return entries


def check_entries(locale: str, entries: Mapping[str, Template]) -> None:
    """Refuse a catalogue in which a text could turn out missing or impossible to fill at run time."""
    problems = {path.split(".")[1] for path in entries if path.startswith("problems.")}
    needed = [*_REQUIRED, *(f"problems.{code}.{name}" for code in sorted(problems) for name in ("title", "detail"))]
    for path in needed:
        if path not in entries:
            raise ConfigurationError(f"messages {locale}: {path}: missing")
    for path, template in entries.items():
        found, (least, most) = set(template.names), _allowed_placeholders(path, template, entries)
        if not least <= found:
            raise ConfigurationError(f"messages {locale}: {path}: must contain {_braced(least - found)}")
        if most is not None and not found <= most:
            raise ConfigurationError(f"messages {locale}: {path}: cannot be filled: {_braced(found - most)}")


def _allowed_placeholders(
    path: str, template: Template, entries: Mapping[str, Template],
) -> tuple[frozenset[str], frozenset[str] | None]:
    """Return the placeholders a text must have, and those it may have (None: any)."""
    section, _, key = path.partition(".")
    none: frozenset[str] = frozenset()
    if section == "sms":
        return frozenset({"code"}), _SMS_PLACEHOLDERS
    if section in {"sms_units", "units"}:
        return frozenset({"count"}), frozenset({"count"})
    if section == "page":
        return none, PAGE_PLACEHOLDERS
    if section == "problems" and ".detail_" in path:
        return none, None
    if section == "fields" and len(template.names) == 1:
        # Only a variant may have one, "<code>_<param>" beside "<code>": that is what stands in when it is absent.
        code = key.removesuffix(f"_{template.names[0]}")
        return none, frozenset(template.names) if code != key and f"fields.{code}" in entries else none
    return none, none


def check_alike(
    reference: str, expected: Mapping[str, Template], locale: str, entries: Mapping[str, Template],
) -> None:
    """Refuse a locale that says more, less or something else than the reference."""
    for path in sorted(expected.keys() - entries.keys()):
        raise ConfigurationError(f"messages {locale}: {path}: missing, {reference} has it")
    for path in sorted(entries.keys() - expected.keys()):
        raise ConfigurationError(f"messages {reference}: {path}: missing, {locale} has it")
    for path, template in entries.items():
        if set(template.names) != set(expected[path].names):
            raise ConfigurationError(
                f"messages {locale}: {path}: has {_braced(template.names)}, {reference} has "
                f"{_braced(expected[path].names)}"
            )


def _braced(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names)) or "no placeholder"
