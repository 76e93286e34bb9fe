"""The sample portal before the real service; people walk it without JavaScript, one cookie jar each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from portal.walk import OpenSite, Site, site_at


@pytest.fixture
def open_site(valkey_url: str, tmp_path: Path) -> OpenSite:
    """Let a test open the portal as it wants it."""
    return lambda **changes: site_at(valkey_url, tmp_path / "portal", **changes)


@pytest.fixture
async def site(open_site: OpenSite) -> AsyncIterator[Site]:
    """Give the portal and the service behind it."""
    async with open_site() as site:
        yield site
