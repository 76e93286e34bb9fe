"""What every kind of test may ask for: one real Valkey for the session, and a fake one with a clock to move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import fakeredis
import pytest
import redis.asyncio

from otp_service.storage.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of one real Valkey, with the product's settings, that lives as long as the session."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    # A loop of its own: the session outlives the loop of every test.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(server.start())
        yield server.url
        loop.run_until_complete(server.stop())
    finally:
        loop.close()


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """Give a client of the real Valkey, emptied."""
    async with redis.asyncio.Redis.from_url(valkey_url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def fake_redis() -> AsyncIterator[fakeredis.FakeAsyncRedis]:
    """Give a client of a new fake server, for unit tests that move the clock; never the truth."""
    async with fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer()) as client:
        yield client
