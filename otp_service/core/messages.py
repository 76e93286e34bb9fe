"""
Every sentence the service says: SMS texts, refusals, bad fields, statuses and reasons, per locale.

The catalogue is data (``config/messages/<locale>.toml``), read elsewhere and handed over as dicts.  It is checked
once, at construction, so that filling a text at run time never fails.

::

    [sms.<template key>]     text                          filled with brand, code, validity, send_number
    [sms_units], [units]     second(s), minute(s), hour(s) filled with count; the first for SMS, unaccented
    [problems.<code>]        title, detail, detail_<word>  one per refusal of core/errors.py
    [fields]                 <code>, <code>_<param>        one per code of a bad field
    [statuses], [reasons]    <value>                       what a person reads about a verification
    [page]                   <name>                        what the hosted page and the element say: page_texts.py

A text under its plain name has no placeholders and always works.  A variant, ``detail_<word>``, replaces it when
the refusal has that word and every placeholder can be filled: see :meth:`Catalogue.problem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

from otp_service.core.errors import ConfigurationError
from otp_service.core.message_entries import PLAIN_SECTIONS, Template, check_alike, check_entries, read_entries
from otp_service.core.sms_length import segments


@dataclass(frozen=True, slots=True)
class _Problem:
    title: str
    detail: str
    variants: Mapping[str, Template]


@dataclass(frozen=True, slots=True)
class _Locale:
    """One locale's texts, compiled."""

    sms: Mapping[str, Template]
    sms_units: Mapping[str, Template]
    units: Mapping[str, Template]
    problems: Mapping[str, _Problem]
    plain: Mapping[str, Mapping[str, Template]]
    page: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RenderedSms:
    """
    An SMS as the phone will show it; it carries a live code and is never logged.

    Attributes:
        text: NFC, with the origin-bound line last when there is a host.
        template_key: the key whose text was used, ``default`` when the asked one has none of its own.
        params: placeholder names and values in the order of the template, without the origin-bound line.
        segments: how many SMS the text takes.
    """

    text: str = field(repr=False)
    template_key: str
    params: tuple[tuple[str, str], ...] = field(repr=False)
    segments: int


# --- The catalogue -----------------------------------------------------------------------------------------------

#: Members whose value, not only their name, may choose a variant.
_CHOOSING_MEMBERS = ("verification_status", "limit")

#: A host of the origin-bound line: letters, digits, dots and hyphens; no scheme, port, path or whitespace.
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")

#: The validities with the longest phrases: a code lives at most 600 s (NIST SP 800-63B-4 section 3.1.3.2).
_LONGEST_VALIDITIES_S = (599, 600)


class Catalogue:
    """
    The texts of every locale, checked once and compiled.

    Args:
        texts: locale → the parsed TOML of that locale.
        default_locale: serves whoever asks for a locale that is not there.

    Attributes:
        locales: the locales there are, the default first.

    Raises:
        ConfigurationError: a locale lacks a key or placeholder that another has, an SMS has no ``{code}``, or a
            text stands under a name nobody reads; the message names locale and key.
    """

    def __init__(self, texts: Mapping[str, Mapping[str, Any]], default_locale: str = "vi") -> None:
        if default_locale not in texts:
            raise ConfigurationError(f"messages: no catalogue for the default locale {default_locale!r}")
        self.locales = (default_locale, *sorted(locale for locale in texts if locale != default_locale))
        entries = {locale: read_entries(locale, texts[locale]) for locale in self.locales}
        for locale in self.locales:
            check_entries(locale, entries[locale])
            check_alike(default_locale, entries[default_locale], locale, entries[locale])
        self._compiled = {locale: _compile(entries[locale]) for locale in self.locales}
        self._default = self._compiled[default_locale]

    def sms(
        self, locale: str, template_key: str, *, code: str, validity_s: int, send_number: int, brand: str,
        host: str | None = None,
    ) -> RenderedSms:
        """
        Write one SMS.

        Args:
            locale: an unknown one is served in the default locale.
            template_key: usually the purpose's name; without a text of its own it gets ``default``.
            code: the live code.
            validity_s: seconds the code stays valid: told in minutes where that is exact, otherwise in seconds.
            send_number: 1 for the first SMS of a verification.
            brand: who sends it.
            host: adds the last line ``@host #code``, by which a browser fills the code in on that host alone
                (WICG sms-one-time-codes).  Nothing may follow that line.

        Raises:
            ConfigurationError: the host is not a bare host name; :meth:`check_sms` finds that at start-up.
        """
        texts = self._compiled.get(locale, self._default)
        template = texts.sms.get(template_key)
        if template is None:
            template_key, template = "default", texts.sms["default"]
        values = {
            "brand": normalize("NFC", brand), "code": code, "send_number": str(send_number),
            "validity": _exact_duration(texts.sms_units, validity_s),
        }
        text = template.fill(values)
        if host:
            text = f"{text}\n@{_checked_host(host)} #{code}"
        params = tuple([(name, values[name]) for name in template.names])
        return RenderedSms(text, template_key, params, segments(text))

    def check_sms(
        self, *, brand: str, hosts: Iterable[str] = (), code_length: int = 8, max_sends: int = 99,
        max_segments: int = 1,
    ) -> None:
        """
        Refuse to start when an SMS could take more than ``max_segments``, the longest values filled in.

        Raises:
            ConfigurationError: names locale, template and count; or a brand or host that cannot stand in an SMS.
        """
        if not brand.isprintable():
            raise ConfigurationError(f"messages: brand {brand!r} has a line break or control character")
        every_host = (None, *hosts)
        for locale, texts in self._compiled.items():
            for key in texts.sms:
                needed = max(
                    self.sms(locale, key, code="0" * code_length, validity_s=validity_s, send_number=max_sends,
                             brand=brand, host=host).segments
                    for validity_s in _LONGEST_VALIDITIES_S for host in every_host
                )
                if needed > max_segments:
                    raise ConfigurationError(
                        f"messages {locale}: [sms.{key}] takes {needed} SMS with brand {brand!r} and its longest "
                        f"values, at most {max_segments} allowed: shorten the text, brand or host, or remove "
                        f"accents"
                    )

    def problem(
        self, locale: str, code: str, members: Mapping[str, Any], reason: str | None = None,
    ) -> tuple[str, str]:
        """
        Return title and detail of a refusal.

        The detail is the first variant that exists and can be filled: ``detail_<reason>``, then
        ``detail_<value>`` of ``verification_status`` or ``limit``, then ``detail_<name>`` of each member that has
        a value; otherwise ``detail``.  ``retry_after`` is filled in as a phrase, rounded up.  A code without
        texts is a defect and reads as ``internal``.
        """
        texts = self._compiled.get(locale, self._default)
        problem = texts.problems.get(code) or texts.problems["internal"]
        values = _printable(members)
        words = [reason, *(values.get(name) for name in _CHOOSING_MEMBERS), *values]
        wait_s = members.get("retry_after")
        if isinstance(wait_s, int):
            values["retry_after"] = _rounded_duration(texts.units, wait_s)
        for word in words:
            variant = problem.variants.get(word) if word is not None else None
            if variant is not None and variant.fits(values):
                return problem.title, variant.fill(values)
        return problem.title, problem.detail

    def field(
        self, locale: str, code: str, params: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    ) -> str:
        """
        Return the sentence for a bad field.

        A parameter chooses the variant of its name: ``phone_not_mobile`` with ``suggestion`` reads
        ``phone_not_mobile_suggestion``.  An unknown code reads ``default``.
        """
        fields = self._compiled.get(locale, self._default).plain["fields"]
        values = dict(params)
        for key in (*(f"{code}_{name}" for name in values), code, code.rpartition("_")[0]):
            text = fields.get(key)
            if text is not None and text.fits(values):
                return text.fill(values)
        return fields["default"].fill({})

    def text(self, locale: str, section: str, key: str) -> str:
        """
        Return a text without placeholders, of section ``statuses`` or ``reasons``; unknown keys read ``default``.

        Raises:
            ValueError: there is no such section.
        """
        if section not in {"statuses", "reasons"}:
            raise ValueError(f"no section {section!r}: use statuses or reasons")
        texts = self._compiled.get(locale, self._default).plain[section]
        return texts.get(key, texts["default"]).fill({})

    def page(self, locale: str) -> Mapping[str, str]:
        """
        Return what pages say: ``page.<key>``, ``statuses.<key>`` and ``reasons.<key>`` → text.

        The ``{placeholders}`` are unfilled, for ``str.format`` with all of ``page_texts.PAGE_PLACEHOLDERS``.
        """
        return self._compiled.get(locale, self._default).page

    def duration(self, locale: str, seconds: int) -> str:
        """Say how long to wait, rounded up: ``42 giây``, ``15 phút``."""
        return _rounded_duration(self._compiled.get(locale, self._default).units, seconds)


# --- Compiling ---------------------------------------------------------------------------------------------------


def _compile(entries: Mapping[str, Template]) -> _Locale:
    sections: dict[str, dict[str, Template]] = {}
    for path, template in entries.items():
        section, _, key = path.partition(".")
        sections.setdefault(section, {})[key] = template
    problems = sections["problems"]
    return _Locale(
        sms={key.removesuffix(".text"): template for key, template in sections["sms"].items()},
        sms_units=sections["sms_units"],
        units=sections["units"],
        problems={
            code: _Problem(
                problems[f"{code}.title"].fill({}), problems[f"{code}.detail"].fill({}),
                {key.partition(".detail_")[2]: template for key, template in problems.items()
                 if key.startswith(f"{code}.detail_")},
            )
            for code in {key.partition(".")[0] for key in problems}
        },
        plain={section: sections[section] for section in PLAIN_SECTIONS},
        page={
            f"{section}.{key}": template.raw
            for section in ("page", "statuses", "reasons") for key, template in sections[section].items()
        },
    )


# --- Filling -----------------------------------------------------------------------------------------------------


def _checked_host(host: str) -> str:
    if _HOST.fullmatch(host) is None:
        raise ConfigurationError(f"WebOTP host {host!r}: write a bare host name, without scheme, port or path")
    return host


def _printable(members: Mapping[str, Any]) -> dict[str, str]:
    """Keep the members a sentence can show: text that is not empty, and numbers."""
    return {name: str(value) for name, value in members.items() if isinstance(value, str | int) and value != ""}


def _phrase(units: Mapping[str, Template], count: int, unit: str) -> str:
    return units[unit if count == 1 else f"{unit}s"].fill({"count": str(count)})


def _exact_duration(units: Mapping[str, Template], seconds: int) -> str:
    """Say a validity: never longer than it is, so minutes only where they come out even."""
    minutes, rest = divmod(seconds, 60)
    return _phrase(units, minutes, "minute") if minutes and not rest else _phrase(units, seconds, "second")


def _rounded_duration(units: Mapping[str, Template], seconds: int) -> str:
    """Say a wait: rounded up, so that whoever waits that long is not refused again."""
    if seconds < 120:
        return _phrase(units, seconds, "second")
    if seconds < 7200:
        return _phrase(units, -(-seconds // 60), "minute")
    return _phrase(units, -(-seconds // 3600), "hour")
