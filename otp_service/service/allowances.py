"""Which limits an SMS or a guess spends, and under which names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from otp_service.core import limits as names
from otp_service.core.keyring import KeyRing
from otp_service.core.limits import Limit, LimitBook
from otp_service.core.magic_numbers import is_magic
from otp_service.core.verification import Purpose
from otp_service.service.callers import Caller
from otp_service.storage.calls import SendLimits


class Allowances:
    """Looks limits up, overrides applied, and names addresses."""

    def __init__(self, book: LimitBook, ring: Callable[[], KeyRing]) -> None:
        self._book = book
        self._ring = ring
        self._names = lru_cache(maxsize=65_536)(self._name)

    def address(self, address: str | None) -> tuple[str, str]:
        """Return the names of an address and of its block, both empty without an address."""
        return self._names(address) if address is not None else ("", "")

    def _name(self, address: str) -> tuple[str, str]:
        ring = self._ring()
        subject, block = names.address_names(address)
        return ring.address_name(subject), ring.address_name(block)

    def sends(self, caller: Caller, purpose: Purpose, phone: str, address: str | None) -> SendLimits:
        """Return the limits one SMS to ``phone`` spends, on behalf of an end user's address if there is one."""
        if is_magic(phone):
            return self._unlimited(caller, purpose)
        get = self._book.get
        return SendLimits(
            cooldown=get(names.PHONE_COOLDOWN, phone),
            sends=get(names.PHONE_ASSISTED_SENDS if purpose.assisted else names.PHONE_SENDS, phone),
            block=None if purpose.assisted else get(names.PHONE_BLOCK_SENDS, phone),
            total=get(names.PHONE_SENDS_TOTAL, phone),
            failures=get(names.PHONE_FAILURES),
            block_failures=None if purpose.assisted else get(names.PHONE_BLOCK_FAILURES, phone),
            address=(self.address(address)[0], get(names.ADDRESS_SENDS, address)) if address else None,
            client=(caller.tenant, get(names.CLIENT_SENDS, caller.client.name)),
            service=get(names.SERVICE_SENDS),
        )

    def _unlimited(self, caller: Caller, purpose: Purpose) -> SendLimits:
        """Return the limits of a magic number: nothing is refused, and nothing spent that others share."""
        get = self._book.get
        return SendLimits(
            cooldown=_free(get(names.PHONE_COOLDOWN)),
            sends=names.exempt(get(names.PHONE_ASSISTED_SENDS if purpose.assisted else names.PHONE_SENDS)),
            block=None, total=names.exempt(get(names.PHONE_SENDS_TOTAL)), failures=get(names.PHONE_FAILURES),
            block_failures=None, address=None,
            client=(caller.tenant, _free(get(names.CLIENT_SENDS, caller.client.name))),
            service=_free(get(names.SERVICE_SENDS)),
        )

    def guesses(self, address: str | None) -> tuple[str, Limit] | None:
        """Return the name and limit of a browser's guesses; None for a back end, whose address means nothing."""
        if address is None:
            return None
        return self.address(address)[0], self._book.get(names.ADDRESS_GUESSES, address)

    def cooldown_ms(self, phone: str) -> int:
        """Return how long after an SMS the next may follow."""
        return 0 if is_magic(phone) else round(self._book.get(names.PHONE_COOLDOWN, phone).period_s * 1000)


def _free(limit: Limit) -> Limit:
    """Return a limit over so short a time that it neither refuses nor takes anything."""
    return replace(names.exempt(limit), period_s=0.001)


def send_group(purpose: Purpose, caller: Caller) -> str:
    """Return whose allowance a send counts against: the client's on this phone, or the assisted purposes' own."""
    return "a" if purpose.assisted else f"s:{caller.tenant}"
