"""The real service, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from client_harness import client_of
from fakeredis import FakeAsyncRedis
from unit.web_harness import Web, serve

from otp_service.client import OtpClient


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


@pytest.fixture
async def otp(service: Web) -> AsyncIterator[OtpClient]:
    """Give a client of it."""
    async with client_of(service) as client:
        yield client
