"""The portal's own key, made once and kept beside its database: a new one would sign everybody out."""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes
from tempfile import NamedTemporaryFile
from typing import Final

from otp_service.sample_portal.settings import SettingsInvalid

_FILE: Final = "portal.key"
_BYTES: Final = 32


class ServerKey:
    """A key for each use, so that what is made for one means nothing to another."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def derived(self, use: str) -> bytes:
        """Return the key of a use: 32 bytes."""
        return hmac.digest(self._key, use.encode(), "sha256")


def read_server_key(data_dir: Path) -> ServerKey:
    """Return the key kept in ``data_dir``, made where there is none; mode 0600.  Raises SettingsInvalid, OSError."""
    path = data_dir / _FILE
    if not path.exists():
        _make(path)
    path.chmod(0o600)
    key = path.read_bytes()
    if len(key) != _BYTES:
        raise SettingsInvalid(f"{path} is no key of this portal")
    return ServerKey(key)


def _make(path: Path) -> None:
    """Make the file whole or not at all, and never in another's place."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Temporary files are made with mode 0600.
    with NamedTemporaryFile(dir=path.parent) as file:
        file.write(token_bytes(_BYTES))
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)
