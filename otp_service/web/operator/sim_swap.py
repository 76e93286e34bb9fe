"""
CAMARA SIM Swap 2.1.0: ``POST /sim-swap/v2/check`` and ``/retrieve-date``.

The script says when SIMs were changed (``swaps``); all others never were, which is ``null`` with the period that the
operator looks back.  ``maxAge`` outside 1 to 2400 hours is ``OUT_OF_RANGE``, anything but a whole number
``INVALID_ARGUMENT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from otp_service.core.times import iso
from otp_service.web.operator.errors import ApiRefusal, invalid
from otp_service.web.operator.kyc_match import phone_of, served
from otp_service.web.operator.script import MOST_HOURS, Script
from otp_service.web.operator.subscribers import Subscribers

CHECK_PATH: Final = "/sim-swap/v2/check"
DATE_PATH: Final = "/sim-swap/v2/retrieve-date"
CHECK_SCOPES: Final = ("sim-swap:check", "sim-swap")
DATE_SCOPES: Final = ("sim-swap:retrieve-date", "sim-swap")

_USUAL_HOURS: Final = 240
_MONITORED_DAYS: Final = MOST_HOURS // 24


def check(body: Mapping[str, Any], subscribers: Subscribers, script: Script, now_s: float) -> dict[str, object]:
    """Say whether the SIM was changed within ``maxAge`` hours.  Raises ApiRefusal."""
    phone, hours = phone_of(body), _max_age(body.get("maxAge", _USUAL_HOURS))
    subscriber = served(subscribers, phone)
    changed = _changed(subscriber.phone_number, script, now_s)
    swapped = changed is not None and changed >= _ago(now_s, hours)
    return {"swapped": swapped is not script.wrong}


def retrieve_date(
    body: Mapping[str, Any], subscribers: Subscribers, script: Script, now_s: float,
) -> dict[str, object]:
    """Say when the SIM was changed last, or ``null`` and for how many days that is known.  Raises ApiRefusal."""
    subscriber = served(subscribers, phone_of(body))
    changed = _changed(subscriber.phone_number, script, now_s)
    if changed is not None and changed < _ago(now_s, MOST_HOURS):
        changed = None  # longer ago than the operator remembers
    if script.wrong:
        changed = _ago(now_s, 1) if changed is None else None
    if changed is None:
        return {"latestSimChange": None, "monitoredPeriod": _MONITORED_DAYS}
    return {"latestSimChange": iso(int(changed.timestamp() * 1000))}


def _changed(e164: str, script: Script, now_s: float) -> datetime | None:
    """Return when the script has this SIM changed."""
    swap = script.swaps.get(e164)
    return swap if swap is None or isinstance(swap, datetime) else _ago(now_s, swap)


def _ago(now_s: float, hours: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC) - timedelta(hours=hours)


def _max_age(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 120.0 is an integer to JSON Schema
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid("maxAge is a whole number of hours")
    if not 1 <= value <= MOST_HOURS:
        raise ApiRefusal(400, "OUT_OF_RANGE", f"maxAge is 1 to {MOST_HOURS} hours")
    return value
