"""What the store knows of ownership sources, besides shares and tokens: what was spent on questions."""

from __future__ import annotations

from dataclasses import dataclass

from otp_service.storage import keys
from otp_service.storage.client import StoreClient
from otp_service.storage.peers import PeerStore


@dataclass(frozen=True, slots=True)
class Spending:
    """
    What one question costs.

    Attributes:
        shard, verification_id: what it is about.
        source: who is asked.
        nonce: names this question: spending it twice costs it once.
        once: it must not be asked again about this verification.
        budget: questions per period of so many ms; None for as many as come.
    """

    shard: int
    verification_id: str
    source: str
    nonce: str
    once: bool = False
    budget: tuple[int, int] | None = None


class SourceStore(PeerStore):
    """
    Transitions about ownership sources rather than verifications.

    Args:
        client: runs the scripts.
        now_ms: 0, the store's clock.  Only tests give another value.
    """

    def __init__(self, client: StoreClient, *, now_ms: int = 0) -> None:
        super().__init__(client, keys.source_shares(), keys.source, now_ms=now_ms)

    async def spend_question(self, spending: Spending) -> tuple[str, int]:
        """
        Spend a question before it is asked: ``ok``, ``asked_before`` or ``over_budget``.

        With the ms until the budget begins anew.  See ``scripts/spend_question.lua``.
        """
        count, period_ms = spending.budget or (0, 0)
        outcome, _, left_ms = await self._run(
            "spend_question", self._keys(spending, with_budget=spending.budget is not None),
            (self.now_ms, spending.nonce, spending.source if spending.once else "", count, period_ms),
        )
        return outcome.decode(), left_ms

    async def give_back_question(self, spending: Spending, *, with_budget: bool) -> None:
        """Give a spent question back, of its budget too or not; see ``scripts/give_back_question.lua``."""
        await self._run(
            "give_back_question", self._keys(spending, with_budget=with_budget and spending.budget is not None),
            (self.now_ms, spending.nonce, spending.source if spending.once else ""),
        )

    @staticmethod
    def _keys(spending: Spending, *, with_budget: bool) -> tuple[str, str]:
        return (
            keys.verification(spending.shard, spending.verification_id),
            keys.source(spending.source, "budget") if with_budget else "",
        )
