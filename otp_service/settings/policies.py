"""``[purposes.*]``, ``[limits.*]`` and ``[[overrides]]``: the rules that an operator may set, within their guards."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, create_model, field_validator

from otp_service.core.errors import PhoneNotMobile
from otp_service.core.evidence import ASSURANCE_LEVELS, ComparedField, EvidenceRules, SimSwapEffect
from otp_service.core.limits import (
    FAILURE_MEMORY_S,
    LIMIT_KINDS,
    MAX_FAILURES,
    PHONE_BLOCK_FAILURES,
    PHONE_COOLDOWN,
    PHONE_FAILURES,
    Limit,
    LimitKind,
    Mode,
    Override,
    Subject,
)
from otp_service.core.phone import parse_mobile
from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose
from otp_service.settings.base import Listed, Period, Section, known

_PURPOSE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

#: What the store keeps of a phone's or an ID number's log: no window sees further back.
LOG_S: Final = 24 * 3600
_MAX_RATE_PERIOD_S: Final = 31 * 24 * 3600
_MAX_CAP: Final = 1000
_MAX_RATE: Final = 1_000_000


class CodeSection(Section):
    """``[purposes.<name>.code]``."""

    length: int = Field(6, ge=6, le=8)
    allow_long_validity: bool = False
    validity_s: int = Field(180, ge=30)
    previous_code_grace_s: int = Field(0, ge=0, le=60)

    @field_validator("validity_s")
    @classmethod
    def _not_too_long(cls, validity_s: int, info: ValidationInfo) -> int:
        if validity_s > 600:
            raise ValueError("at most 600: no code lives longer than ten minutes (NIST SP 800-63B-4 section 3.1.3.2)")
        if validity_s > 300 and not info.data.get("allow_long_validity"):
            raise ValueError(
                "above 300 only beside allow_long_validity = true (Circular 50/2024/TT-NHNN article 11(3))",
            )
        return validity_s


def _not_the_deciding(fields: frozenset[ComparedField]) -> frozenset[ComparedField]:
    if ComparedField.ID_NUMBER in fields:
        raise ValueError("the ID number decides in any case: write full_name, birth_date or both")
    return fields


def _level(name: str) -> str:
    if name not in ASSURANCE_LEVELS:
        raise ValueError(f"no such level; there are, the strongest first, {', '.join(ASSURANCE_LEVELS)}")
    return name


Assurance = Annotated[str, AfterValidator(_level)]


class PurposeSection(Section):
    """``[purposes.<name>]``."""

    ownership: OwnershipPolicy = OwnershipPolicy.AFTER
    assisted: bool = False
    consent_required: bool = False
    max_attempts: int = Field(5, ge=1, le=10)
    max_resends: int = Field(3, ge=0, le=10)
    life_s: int = Field(900, ge=60, le=3600)
    ownership_timeout_s: int = Field(300, ge=1, le=3600)
    must_match: Annotated[frozenset[ComparedField], Listed, AfterValidator(_not_the_deciding)] = frozenset()
    min_assurance: Annotated[Assurance | None, BeforeValidator(lambda value: None if value == "" else value)] = None
    sim_swap: SimSwapEffect = SimSwapEffect.IGNORE
    sim_swap_max_age_h: int = Field(240, ge=1, le=2400)
    code: CodeSection = Field(default_factory=CodeSection)

    @field_validator("code")
    @classmethod
    def _within_life(cls, code: CodeSection, info: ValidationInfo) -> CodeSection:
        if code.validity_s > info.data.get("life_s", code.validity_s):
            raise ValueError("validity_s is longer than the verification's life_s")
        return code

    def purpose(self, name: str) -> Purpose:
        """Return the policy the core works with."""
        return Purpose(
            name=name, ownership=self.ownership, assisted=self.assisted, consent_required=self.consent_required,
            max_attempts=self.max_attempts, max_resends=self.max_resends, life_s=self.life_s,
            ownership_timeout_s=self.ownership_timeout_s,
            evidence=EvidenceRules(self.must_match, self.min_assurance, self.sim_swap, self.sim_swap_max_age_h),
            code=CodePolicy(
                length=self.code.length, validity_s=self.code.validity_s,
                previous_code_grace_s=self.code.previous_code_grace_s,
                allow_long_validity=self.code.allow_long_validity,
            ),
        )


def _purpose_name(name: str) -> str:
    if not _PURPOSE_NAME.fullmatch(name):
        raise ValueError("a purpose's name has lower case letters, digits and _, starts with a letter, at most 32")
    return name


PurposeName = Annotated[str, AfterValidator(_purpose_name)]


class CapSection(Section):
    """``[limits.<name>]`` of a cap: at most ``count`` in any ``period``."""

    count: int = Field(ge=0, le=_MAX_CAP)
    period: Period = Field(ge=1, le=LOG_S)
    mode: Mode = Mode.ENFORCE


class CooldownSection(Section):
    """``[limits.phone_cooldown]``: one SMS per ``period``; a cooldown with another count would be a cap."""

    count: int = Field(ge=1, le=1)
    period: Period = Field(ge=1, le=LOG_S)
    mode: Mode = Mode.ENFORCE


class FailuresSection(Section):
    """``[limits.phone_failures]``: invariant 2 fixes its numbers; it stands there to be read, not changed."""

    count: int
    period: Period
    mode: Mode = Mode.ENFORCE

    @field_validator("count", "period", "mode")
    @classmethod
    def _fixed(cls, value: Any, info: ValidationInfo) -> Any:
        fixed = {"count": MAX_FAILURES, "period": FAILURE_MEMORY_S, "mode": Mode.ENFORCE}
        if value != fixed[info.field_name or ""]:
            raise ValueError('fixed by rule: count = 100, period = "30d", mode = "enforce"')
        return value


class BlockFailuresSection(Section):
    """``[limits.phone_block_failures]``: remembered as long as all failures, and a share of what they may come to."""

    count: int = Field(ge=1, lt=MAX_FAILURES)
    period: Period = FAILURE_MEMORY_S
    mode: Mode = Mode.ENFORCE

    @field_validator("period")
    @classmethod
    def _as_failures(cls, period: float) -> float:
        if period != FAILURE_MEMORY_S:
            raise ValueError('fixed by rule: period = "30d", as for phone_failures')
        return period


class RateSection(Section):
    """``[limits.<name>]`` of a rate: ``count`` per ``period`` in the long run, ``burst`` at once."""

    count: int = Field(ge=1, le=_MAX_RATE)
    period: Period = Field(ge=1, le=_MAX_RATE_PERIOD_S)
    burst: int = Field(0, ge=0, le=_MAX_RATE)
    mode: Mode = Mode.ENFORCE


def _section_of(kind: LimitKind) -> type[Section]:
    if kind is PHONE_COOLDOWN:
        return CooldownSection
    if kind is PHONE_FAILURES:
        return FailuresSection
    if kind is PHONE_BLOCK_FAILURES:
        return BlockFailuresSection
    return RateSection if kind.rate else CapSection


_FIELDS: dict[str, Any] = {name: (_section_of(kind), ...) for name, kind in LIMIT_KINDS.items()}

#: ``[limits]``: exactly the names of core/limits.py, each required.
LimitsSection: type[Section] = create_model("LimitsSection", __base__=Section, **_FIELDS)


def limits_of(section: Section) -> tuple[Limit, ...]:
    """Return the limits the core works with, in the order of core/limits.py."""
    numbers = ((kind, getattr(section, name)) for name, kind in LIMIT_KINDS.items())
    return tuple(
        Limit(kind, part.count, part.period, getattr(part, "burst", 0), part.mode) for kind, part in numbers
    )


class OverrideSection(Section):
    """``[[overrides]]``: other numbers for one phone, address, network or client, and who wanted them."""

    limit: str
    subject: str
    count: int = Field(ge=0, le=_MAX_RATE)
    period: Period | None = Field(None, ge=1, le=_MAX_RATE_PERIOD_S)
    burst: int | None = Field(None, ge=0, le=_MAX_RATE)
    comment: str = Field(min_length=1, max_length=500)

    @field_validator("limit")
    @classmethod
    def _overridable(cls, name: str) -> str:
        kind = LIMIT_KINDS.get(name)
        if kind is None:
            raise ValueError(f"no such limit; there are {', '.join(LIMIT_KINDS)}")
        if kind is PHONE_FAILURES:
            raise ValueError("phone_failures is fixed by rule")
        if kind is PHONE_BLOCK_FAILURES:
            raise ValueError("change limits.phone_block_failures itself: it protects every phone alike")
        if kind.subject is Subject.SERVICE:
            raise ValueError(f"the whole service is one subject: change limits.{name} itself")
        if kind.subject is Subject.ID_NUMBER:
            raise ValueError("an ID number never stands in a file: override phone_ownership_checks for the phone")
        return name

    @field_validator("subject")
    @classmethod
    def _named(cls, text: str, info: ValidationInfo) -> str:
        limit = info.data.get("limit")
        if limit is None:
            return text  # the limit's own error says enough
        subject = _subject(LIMIT_KINDS[limit].subject, text, known(info).clients)
        if (limit, subject) in known(info).overrides:
            raise ValueError("this limit is overridden for this subject before")
        known(info).overrides.add((limit, subject))
        return subject

    @field_validator("count", "period", "burst")
    @classmethod
    def _within_the_limit(cls, value: float | None, info: ValidationInfo) -> float | None:
        kind = LIMIT_KINDS.get(info.data.get("limit", ""))
        if kind is None or value is None:
            return value
        match info.field_name:
            case "burst" if not kind.rate:
                raise ValueError(f"{kind.name} is a cap: only rates have a burst")
            case "period" if not kind.rate and value > LOG_S:
                raise ValueError('at most "24h": the log of a cap keeps a day')
            case "count" if kind is PHONE_COOLDOWN and value != 1:
                raise ValueError("a cooldown's count is 1: override its period")
            case "count" if kind.rate and value < 1:
                raise ValueError("a rate is at least 1 per period")
            case "count" if not kind.rate and value > _MAX_CAP:
                raise ValueError(f"a cap is at most {_MAX_CAP}")
            case _:
                return value

    @field_validator("comment")
    @classmethod
    def _says_something(cls, comment: str) -> str:
        if not comment.strip():
            raise ValueError("says who asked for it and why")
        return comment.strip()

    def override(self) -> Override:
        """Return the override the core works with."""
        return Override(self.limit, self.subject, self.count, self.comment, self.period, self.burst)


def _subject(kind: Subject, text: str, clients: frozenset[str]) -> str:
    """Check and normalise the subject of an override.  A phone number is never repeated in an error."""
    if kind is Subject.PHONE:
        try:
            return parse_mobile(text).e164
        except PhoneNotMobile:
            raise ValueError("not a Vietnamese mobile number") from None
    if kind is Subject.ADDRESS:
        try:
            return str(ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError("not an IP address or network") from None
    if text not in clients:
        raise ValueError("no such client")
    return text
