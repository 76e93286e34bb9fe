"""
The subscriber table in clear: the operator's own records, which only it may read.

Made-up people in memory: a real table has no place here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier, carrier_hint
from otp_service.ownership.subscribers.rows import BadRow, CsvFile, open_file, read_subscriber

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_SAMPLE: Final = Path("sample") / "subscribers.csv"
_CARRIERS: Final = tuple(carrier.value for carrier in Carrier)
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

#: SIMs of which the operator tells nothing: out of service in both directions.
OUT_OF_SERVICE: Final = frozenset({"blocked", "restricted_two_way"})
#: SIMs that can send no SMS, to 1414 neither.
MUTE: Final = OUT_OF_SERVICE | {"restricted_one_way"}

MAX_BAD_ROWS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Subscriber:
    """
    One SIM and whose it is; empty where the operator has no document.

    Attributes:
        phone_number: E.164 with plus.
        id_number: 12 or 9 digits.
        full_name: with its accents.
        birth_date: ISO 8601, or a year.
        status: one of ``STATUSES`` of ``ownership/subscribers/table.py``.
        carrier: who serves it now, whatever its prefix says.
    """

    phone_number: str = field(repr=False)
    id_number: str = field(repr=False)
    full_name: str = field(repr=False)
    birth_date: str = field(repr=False)
    status: str
    carrier: Carrier | None

    @property
    def known(self) -> bool:
        """Whether the operator knows whose SIM it is."""
        return bool(self.id_number) and self.status != "unknown"


class Subscribers:
    """
    Finds subscribers by phone and by document.

    Args:
        rows: one per phone.
        carrier: the operator, who knows its own alone; None knows all.
    """

    def __init__(self, rows: Iterable[Subscriber], carrier: Carrier | None = None) -> None:
        own = [row for row in rows if carrier is None or row.carrier == carrier]
        self._by_phone = {row.phone_number: row for row in own}

    def __len__(self) -> int:
        return len(self._by_phone)

    def find(self, e164: str) -> Subscriber | None:
        """Return the subscriber of a number."""
        return self._by_phone.get(e164)

    def held_with(self, subscriber: Subscriber) -> list[str]:
        """Return the numbers under a subscriber's document at their carrier, in the order of the table."""
        return [
            row.phone_number for row in self._by_phone.values()
            if row.id_number == subscriber.id_number and row.carrier == subscriber.carrier
        ]


def sample_path() -> Path:
    """Return where the sample table is: in the checkout, or in the installed package."""
    checkout = _PACKAGE.parent
    folder = checkout / "config" if (checkout / "pyproject.toml").is_file() else _PACKAGE / "_config"
    return folder / _SAMPLE


def read_subscribers(path: Path) -> list[Subscriber]:
    """
    Read a table as CSV, see ``ownership/subscribers/rows.py``.

    Raises ConfigurationError: the file cannot be read, or the first 20 of its bad rows by line, without their data.
    """
    found: dict[str, Subscriber] = {}
    bad: list[str] = []
    with open_file(path) as file:
        for line, texts in CsvFile(path, file, lambda _done, _total: None).rows():
            try:
                row = _subscriber(texts)
            except BadRow as error:
                bad.append(f"  line {line}: {error}")
                continue
            if found.setdefault(row.phone_number, row) is not row:
                bad.append(f"  line {line}: this phone_number was there before")
    if bad:
        more = [f"  and {len(bad) - MAX_BAD_ROWS_SHOWN} more"] if len(bad) > MAX_BAD_ROWS_SHOWN else []
        raise ConfigurationError("\n".join([f"{path}: bad rows: {len(bad)}", *bad[:MAX_BAD_ROWS_SHOWN], *more]))
    return list(found.values())


def _subscriber(texts: dict[str, str] | str) -> Subscriber:
    """Keep a good row in clear.  Raises BadRow."""
    if isinstance(texts, str):
        raise BadRow(texts)
    row = read_subscriber(texts)
    carrier = texts["carrier"].strip().lower()
    if carrier and carrier not in _CARRIERS:
        raise BadRow(f"carrier is none of {', '.join(_CARRIERS)}")
    served_by = Carrier(carrier) if carrier else carrier_hint(row.phone_number)
    name = " ".join(texts["full_name"].split())
    return Subscriber(row.phone_number, row.id_number, name, row.birth_date, row.status, served_by)


def is_date(text: str) -> bool:
    """Whether this is a calendar date as RFC 3339 writes it."""
    if not _ISO_DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
