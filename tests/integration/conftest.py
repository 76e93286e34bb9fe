"""The engine on both stores: every transition is proven on the fake one and on a real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator

import fakeredis
import pytest
from support.engine import Backend, Engine

from otp_service.storage.client import connect


@pytest.fixture
def valkey_backend(request: pytest.FixtureRequest, valkey_url: str) -> Backend:
    """Give the real Valkey, emptied."""
    request.getfixturevalue("valkey")
    return Backend("valkey", lambda: connect(valkey_url))


@pytest.fixture(params=["fakeredis", "valkey"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Give a store: first the fake one, then a real Valkey."""
    if request.param == "valkey":
        return request.getfixturevalue("valkey_backend")
    server = fakeredis.FakeServer()
    return Backend("fakeredis", lambda: fakeredis.FakeAsyncRedis(server=server))


@pytest.fixture
async def engine(backend: Backend) -> AsyncIterator[Engine]:
    """Give one process of the service on each store."""
    async with Engine(backend) as engine:
        yield engine
