"""Asks providers what became of messages, where they do not tell by themselves."""

from __future__ import annotations

import asyncio

from otp_service.core.errors import StoreUnavailable
from otp_service.core.ports import NoAnswer, PollingGateway
from otp_service.delivery.accounts import Account, Accounts
from otp_service.delivery.pacing import pause
from otp_service.delivery.reports import Reports
from otp_service.delivery.sender import Sender
from otp_service.storage.gateways import GatewayStore
from otp_service.telemetry.logs import get_logger

_EVERY_S = 2.0
#: Requests to one provider at the same time.
_BATCHES = 8
#: How long after a hand-over its delivery is asked for first.
FIRST_POLL_MS = 5000

_log = get_logger()


class ReportPoller:
    """
    Polls every account that is set to be polled; any number of workers may, each message is asked for by one.

    Args:
        accounts: the accounts in use.
        store: hands out messages that are due.
        sender: talks to the providers.
        reports: takes over what they say.
    """

    def __init__(self, *, accounts: Accounts, store: GatewayStore, sender: Sender, reports: Reports) -> None:
        self._polled = [account for account in accounts if account.poll_reports]
        self._store = store
        self._sender = sender
        self._reports = reports

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until ``stop``, each provider at its own speed."""
        await asyncio.gather(stop.wait(), *(self._run(account, stop) for account in self._polled))

    async def _run(self, account: Account, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                busy = await self.step(account)
            except StoreUnavailable as error:
                _log.warning("polls wait for the store", gateway=account.name, error=str(error))
                busy = False
            if not busy:
                await pause(stop, _EVERY_S)

    async def step(self, account: Account) -> bool:
        """Ask for what is due, a few batches at once; says whether there may be more."""
        gateway = account.gateway
        if not isinstance(gateway, PollingGateway):
            return False
        size = gateway.poll_batch
        due = await self._store.due_polls(account.name, size * _BATCHES)
        await asyncio.gather(*(
            self._ask(account, gateway, due[at:at + size]) for at in range(0, len(due), size)
        ))
        return len(due) == size * _BATCHES

    async def _ask(self, account: Account, gateway: PollingGateway, provider_ids: list[str]) -> None:
        """Make one poll; what an adapter or the HTTP client raises costs this one alone."""
        try:
            answer = await self._sender.exchange(account, gateway.build_poll(provider_ids))
            if isinstance(answer, NoAnswer):
                _log.warning("poll not answered", gateway=account.name, provider_code=answer.code)
                return
            await self._reports.take(account, gateway.parse_poll(answer))
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter's defect must not end the worker; its text may hold data
            _log.error("poll failed", gateway=account.name, error=type(error).__name__)
