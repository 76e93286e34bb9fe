"""Demos that the end-to-end tests share: starting one takes a second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from support.demo import Demo
from support.processes import Installation


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """Give one demo with the settings as they are shipped."""
    async with Installation(tmp_path_factory.mktemp("demo") / "site") as site:
        yield Demo(site, await site.demo())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quick_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """Give one demo in which a second SMS may follow after a second."""
    async with Installation(tmp_path_factory.mktemp("quick") / "site", LIMITS__PHONE_COOLDOWN__PERIOD="1s") as site:
        yield Demo(site, await site.demo())
