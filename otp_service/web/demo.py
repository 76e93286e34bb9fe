"""The demo's fake gateway: where its SMS arrive, and where a person reads them; for this machine alone."""

from __future__ import annotations

from otp_service.web.fake_gateway.handlers import FakeGatewayHandlers, require_loopback
from otp_service.web.fake_gateway.provider import FakeProvider


class DemoHandlers(FakeGatewayHandlers):
    """The fake gateway's handlers under ``/demo``, from loopback only."""

    def __init__(self, provider: FakeProvider) -> None:
        super().__init__(provider, require_loopback)
