"""What the store knows of SMS gateways, besides shares and tokens: places in time, messages under way."""

from __future__ import annotations

from dataclasses import dataclass

from otp_service.core.verification import Delivery
from otp_service.storage import keys
from otp_service.storage.client import StoreClient
from otp_service.storage.peers import PeerStore
from otp_service.storage.records import DELIVERY_LETTERS


@dataclass(frozen=True, slots=True)
class Known:
    """The send that a provider's message id stands for, and when the gateway took it (ms)."""

    verification_id: str
    send_number: int
    taken_at_ms: int
    now_ms: int


class GatewayStore(PeerStore):
    """
    Transitions about gateways rather than verifications.

    Args:
        client: runs the scripts.
        now_ms: 0, the store's clock.  Only tests give another value.
    """

    def __init__(self, client: StoreClient, *, now_ms: int = 0) -> None:
        super().__init__(client, keys.shares(), keys.gateway, now_ms=now_ms)

    async def place(self, gateway: str, *, emission_ms: float, tolerance_ms: float, max_wait_ms: int) -> int | None:
        """Reserve a place in time: milliseconds until then, None when that is too long; see ``scripts/pace.lua``."""
        _, wait_ms = await self._run(
            "pace", (keys.gateway(gateway, "rate"),), (self.now_ms, emission_ms, tolerance_ms, max_wait_ms),
        )
        return wait_ms if wait_ms >= 0 else None

    async def find(self, gateway: str, provider_id: str, state: Delivery) -> Known | str:
        """Find what a report is about, or keep it for later: ``early`` or ``full``; see ``scripts/report.lua``."""
        outcome, now_ms, found, number, taken_at_ms = await self._run(
            "report",
            (
                keys.gateway_message(gateway, provider_id), keys.gateway(gateway, "early"),
                keys.gateway(gateway, "polls"),
            ),
            (self.now_ms, DELIVERY_LETTERS[state], provider_id),
        )
        return Known(found.decode(), number, taken_at_ms, now_ms) if outcome == b"known" else outcome.decode()

    async def delivered(
        self, shard: int, verification_id: str, send_number: int, state: Delivery, *, by_reference_of: str = "",
    ) -> bool:
        """
        Take a report over into ``delivery``; says whether it was news; see ``scripts/delivered.lua``.

        ``by_reference_of`` is the gateway's name when nothing but our reference says which message it is about.
        """
        _, changed = await self._run(
            "delivered", (keys.verification(shard, verification_id),),
            (self.now_ms, verification_id, send_number, DELIVERY_LETTERS[state], by_reference_of),
        )
        return bool(changed)

    async def due_polls(self, gateway: str, most: int) -> list[str]:
        """Take the provider's ids of messages whose delivery is to be asked for; see ``scripts/due_polls.lua``."""
        answer = await self._run(
            "due_polls", (keys.gateway(gateway, "polls"),), (self.now_ms, keys.gateway_message(gateway), most),
        )
        return [provider_id.decode() for provider_id in answer[1:]]
