"""Times as the contract writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(ms: int) -> str:
    """Return milliseconds since the epoch as RFC 3339 in UTC with milliseconds: ``2026-01-31T08:00:00.000Z``."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
