"""The sentences of one page: texts of the catalogue, filled with what this verification and its portal say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from otp_service.core.client import Client
from otp_service.core.messages import Catalogue
from otp_service.core.page_texts import PAGE_PLACEHOLDERS
from otp_service.core.phone import mask
from otp_service.core.verification import Verification

#: Vietnam has one time zone and no summer time.
_VIETNAM: Final = timezone(timedelta(hours=7))
_NOTHING: Final = dict.fromkeys(PAGE_PLACEHOLDERS, "")


class Words:
    """
    The texts by key of [page]: ``words["resend"]``, in a template ``t.resend``.

    Args:
        catalogue: every sentence.
        locale: the page's.
        values: of the placeholders; one that is not given is empty.
    """

    def __init__(self, catalogue: Catalogue, locale: str, values: Mapping[str, str]) -> None:
        self.locale = locale
        self.catalogue = catalogue
        self._texts = catalogue.page(locale)
        self._values = {**_NOTHING, **values}

    def __getitem__(self, key: str) -> str:
        return self._texts[f"page.{key}"].format_map(self._values)

    def timed(self, key: str, time: str) -> str:
        """Return a text with a time of day or a duration; ``{time}`` leaves it to the script."""
        return self._texts[f"page.{key}"].format_map(self._values | {"time": time})

    def duration(self, seconds: int) -> str:
        """Return a wait as a phrase."""
        return self.catalogue.duration(self.locale, seconds)


def words_of(catalogue: Catalogue, locale: str, verification: Verification, client: Client) -> Words:
    """Return the sentences about a verification.  The SMS speaks the language of the start, whatever the page's is."""
    number, texts = str(verification.send_number), catalogue.page(locale)
    return Words(catalogue, locale, {
        "action": texts.get(f"page.action_{verification.purpose}", texts["page.action_default"]),
        "attempts_left": str(verification.attempts_left),
        "code_length": str(verification.code_length),
        "hotline": client.hotline or "",
        "phone": _local(mask(verification.phone_number)),
        "portal": client.display_name or client.name,
        "send_number": number,
        "sends_left": str(verification.sends_left),
        "sms_mark": catalogue.page(verification.locale)["page.sms_mark"].format(**_NOTHING | {"send_number": number}),
    })


def _local(masked: str) -> str:
    """Write a number as people know theirs: ``+84•••••0001`` → ``0•••••0001``."""
    return "0" + masked.removeprefix("+84")


def time_of_day(ms: int) -> str:
    """Return the time in Vietnam: ``15:04:20``."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC).astimezone(_VIETNAM):%H:%M:%S}"
