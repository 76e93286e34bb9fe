"""Plugins that the service under test loads as ``support.plugins:Class``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from sms_adapters.fake import FakeGateway


class ImpatientGateway(FakeGateway):
    """The fake gateway with so short a timeout that a dead worker's leases end while a test waits."""

    timeout_s = 0.5


class ScriptedSource:
    """
    An ownership source that does what a file says, so that a test can change its mind while the service runs.

    Args:
        folder: ``answer`` in it holds ``match``, ``mismatch``, ``not_available`` or ``error``, or ``raise`` (it
            raises), ``hang`` (it never answers) or ``wrong_type`` (it returns what is no evidence).  Each question
            adds a line to ``asked``.
    """

    name = "scripted"
    assurance = "operator_match"

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Answer as the file says."""
        with (self._folder / "asked").open("a") as asked:
            asked.write(f"{question.reference}\n")
        answer = (self._folder / "answer").read_text().strip()
        if answer == "raise":
            raise ConnectionResetError("the source hung up")
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "wrong_type":
            return answer  # type: ignore[return-value]  # what a careless source may do
        outcome = OwnershipOutcome(answer)
        return Evidence(outcome, self.name, self.assurance if outcome is OwnershipOutcome.MATCH else None)
