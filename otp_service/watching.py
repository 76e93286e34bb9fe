"""What a process keeps an eye on while it works: its key file, and whether the store is fit."""

from __future__ import annotations

import asyncio
import time

from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.core.result_token import Signer
from otp_service.delivery.pacing import pause
from otp_service.key_file import KeyFile
from otp_service.service import Secrets
from otp_service.storage.client import translated
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger

_KEYS_EVERY_S = 5.0
_PING_S = 0.25

_log = get_logger()


class KeyWatcher:
    """The secrets in force, read again when another process has rotated them."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self.secrets = self._read()

    def _read(self) -> Secrets:
        now_s = time.time()
        return Secrets(self._file.ring(now_s), Signer(self._file.signing_keys(now_s)))

    async def watch(self, stop: asyncio.Event) -> None:
        """Look at the file every few seconds; a key that was waiting may also have become current."""
        while not stop.is_set():
            try:
                if self._file.changed():
                    self._file.load_or_create()
                    _log.info("keys read again")
                found = self._read()
                if (found.ring.ids, found.signer.kids) != (self.secrets.ring.ids, self.secrets.signer.kids):
                    self.secrets = found
            except ConfigurationError as error:
                # The keys in memory go on serving; somebody must look at the file.
                _log.error("keys not readable", error=str(error))
            await pause(stop, _KEYS_EVERY_S)


class Readiness:
    """What ``/readyz`` asks: the store answers quickly and evicts nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self) -> dict[str, bool | str]:
        """Name each dependency; True means well, text says what is wrong."""
        try:
            with translated():
                async with asyncio.timeout(_PING_S):
                    memory = await self._store.client.redis.info("memory")
        except TimeoutError:
            return {"store": f"no answer within {_PING_S * 1000:.0f} ms"}
        except StoreUnavailable as error:
            return {"store": str(error)}
        policy = memory.get("maxmemory_policy", "noeviction")
        evicts = f"the store evicts ({policy}): set maxmemory-policy noeviction"
        return {"store": True if policy == "noeviction" else evicts}
