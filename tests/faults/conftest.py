"""What the tests with killed processes and broken lines share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.processes import Installation
from support.sms_gateway import ScriptedGateway


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    """Give a gateway of the test's own."""
    with ScriptedGateway() as gateway:
        yield gateway


@pytest.fixture
async def site(tmp_path: Path, gateway: ScriptedGateway) -> AsyncIterator[Installation]:
    """Give an installation whose SMS go to the test's gateway; nothing runs yet."""
    async with Installation(tmp_path / "site", gateway_url=gateway.url) as site:
        yield site
