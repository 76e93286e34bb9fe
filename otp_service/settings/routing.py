"""Names of gateways or sources, and which of them serve what: the grammar of ``[sending]`` and ``[ownership]``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import ValidationInfo, field_validator, model_validator

from otp_service.core.phone import Carrier
from otp_service.core.routing import parse_tiers
from otp_service.settings.base import Listed, Section, known

#: No hyphen: a shell cannot set OTP__GATEWAYS__ESMS-2__RATE.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

#: What test keys use has this name.
RESERVED: Final = "test"


@dataclass(frozen=True, slots=True)
class Named:
    """
    What has names.

    Attributes:
        what: one of them, in a word.
        used: what test keys do with theirs.
        example: of a tier.
    """

    what: str
    used: str
    example: str

    def name(self, name: str) -> str:
        """Accept a name: it is a metric label, a store key and part of an environment variable."""
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a {self.what}'s name has lower case letters, digits and _, starts with a letter, at most 32; no "
                f"hyphen, because no shell sets a variable of that name"
            )
        if name == RESERVED:
            raise ValueError(f"{RESERVED!r} is the name of the {self.what} that test keys {self.used}; take another")
        return name

    def tiers(self, written: Iterable[str]) -> tuple[str, ...]:
        """Accept tiers as they are written; they stay text until the core reads them."""
        written = tuple(written)
        for tier in parse_tiers(written, what=self.what, example=self.example):
            for name in tier:
                self.name(name)
        return written


class ServedSection(Section):
    """What a route is for: some carriers or purposes.  ``rest`` says who serves all that no route takes."""

    rest: ClassVar[str]

    carriers: Annotated[frozenset[Carrier], Listed] = frozenset()
    purposes: Annotated[frozenset[str], Listed] = frozenset()

    @field_validator("purposes")
    @classmethod
    def _there(cls, purposes: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        if strangers := sorted(purposes - known(info).purposes):
            raise ValueError(f"no such purpose: {', '.join(strangers)}")
        return purposes

    @model_validator(mode="after")
    def _for_some(self) -> ServedSection:
        if not self.carriers and not self.purposes:
            raise ValueError(f"a route is for some carriers or purposes; the rest is {self.rest}")
        return self
