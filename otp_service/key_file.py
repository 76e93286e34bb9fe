"""
The secrets on disk: the anchor, the ring keys and the signing keys, in one JSON file that only its owner can read.

::

    {"version": 1, "anchor": "<base64>", "next_id": 3,
     "ring":    [{"id": "k1", "secret": "<base64>", "active_from": 0, "created_at": 1767225600}, …],
     "signing": [{"kid": "…", "alg": "ES256", "pem": "…", "test": false, "active_from": 0, "created_at": …}, …]}

Both lists grow at their end.  Times are unix seconds.  A key is current when it is the last one whose ``active_from``
has come: a rotation is written a minute before it takes effect, so that every process, which looks for a changed file
each few seconds, can already read what the first one to switch has made.

The file is replaced as a whole (temporary file, fsync, rename) under an exclusive lock; a file that cannot be read is
reported and never overwritten.  Whoever loses the anchor loses every phone's history: there is no way to make it anew.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from secrets import token_bytes
from tempfile import mkstemp
from typing import Annotated, Final, Literal, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from otp_service.core.errors import ConfigurationError
from otp_service.core.keyring import KeyRing, RingKey
from otp_service.core.result_token import TOKEN_LIFE_S, SigningKey

#: Seconds between writing a new key and using it; processes look for a changed file far more often.
ACTIVATE_IN_S: Final = 60

#: Seconds an older ring key stays readable: longer than the longest memory under its names (30 days, invariant 2).
KEEP_S: Final = 31 * 24 * 3600

#: Seconds an older signing key stays published: a day for caches of the JWKS, and the life of its last token.
PUBLISH_S: Final = 24 * 3600 + TOKEN_LIFE_S

#: Each ring key is one more name per phone and script call: so many rotations in KEEP_S are a mistake.
MAX_RING_KEYS: Final = 16

_MAX_FILE_BYTES: Final = 1_048_576
_SECRET_BYTES: Final = 32
_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_MAX_ID: Final = 36**3 - 1


def _is_secret(text: str) -> str:
    if len(b64decode(text, validate=True)) < _SECRET_BYTES:
        raise ValueError(f"at least {_SECRET_BYTES} bytes")
    return text


Secret = Annotated[str, AfterValidator(_is_secret), Field(repr=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _RingEntry(_Part):
    id: str = Field(pattern=r"^k[0-9a-z]{1,3}$")
    secret: Secret
    active_from: int = Field(ge=0)
    created_at: int = Field(ge=0)


class _SigningEntry(_Part):
    kid: str
    alg: Literal["ES256"]
    pem: str = Field(repr=False)
    test: bool
    active_from: int = Field(ge=0)
    created_at: int = Field(ge=0)

    @model_validator(mode="after")
    def _kid_is_the_thumbprint(self) -> _SigningEntry:
        if self.kid != _thumbprint(self.pem):
            raise ValueError("pem is not the private P-256 key that kid names")
        return self


class _Content(_Part):
    version: Literal[1]
    anchor: Secret
    next_id: int = Field(ge=2, le=_MAX_ID + 1)
    ring: list[_RingEntry] = Field(min_length=1, max_length=MAX_RING_KEYS)
    signing: list[_SigningEntry]

    @model_validator(mode="after")
    def _complete(self) -> _Content:
        ids = [entry.id for entry in self.ring]
        if len(set(ids)) != len(ids) or any(int(name[1:], 36) >= self.next_id for name in ids):
            raise ValueError("ring ids are given once, below next_id")
        if {entry.test for entry in self.signing} != {False, True}:
            raise ValueError("a live and a test signing key are needed")
        return self


_Entry = TypeVar("_Entry", _RingEntry, _SigningEntry)


class KeyFile:
    """
    The key file of one store.

    Args:
        path: where it is, or will be made by :meth:`load_or_create`.

    Raises ConfigurationError from every method when the file cannot be used: others may read it, it is damaged, or
    it has vanished since it was loaded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: _Content | None = None
        self._stamp: tuple[int, int, int] | None = None

    def load_or_create(self) -> None:
        """Read the file; make it when there is none.  Of processes that race, one makes it and all read the same."""
        if self._content is None and not os.path.lexists(self.path):
            self._create()
        self._load()

    def changed(self) -> bool:
        """Whether another process has replaced the file since it was loaded.  A vanished file has not changed."""
        try:
            return _stamp(self.path.stat()) != self._stamp
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(f"cannot be looked at: {error.strerror}") from None

    def ring(self, now_s: float) -> KeyRing:
        """Return the ring as it stands at ``now_s``: the current key, then all others, the newest first."""
        content = self._loaded()
        current = _current(content.ring, now_s)
        others = [entry for entry in reversed(content.ring) if entry is not current]
        return KeyRing(
            b64decode(content.anchor), [RingKey(entry.id, b64decode(entry.secret)) for entry in (current, *others)],
        )

    def signing_keys(self, now_s: float) -> list[SigningKey]:
        """
        Return the keys whose public halves are published at ``now_s``, the newest first.

        A key is published before it signs, and after its last signature for as long as a token could be checked.
        """
        keys = []
        for test in (False, True):
            entries = [entry for entry in self._loaded().signing if entry.test is test]
            current = _current(entries, now_s)
            keys += [
                SigningKey(entry.kid, entry.alg, entry.pem.encode(), test, entry is current)
                for entry in reversed(_kept(entries, now_s - PUBLISH_S))
            ]
        return keys

    def rotate(self, now_s: float, *, activate_in_s: float = ACTIVATE_IN_S, keep_s: float = KEEP_S) -> str:
        """
        Add a ring key and two signing keys that become current ``activate_in_s`` later; drop what nothing needs.

        Args:
            now_s: unix seconds.
            activate_in_s: longer than any process takes to notice the change.
            keep_s: how long a superseded ring key stays readable.

        Returns:
            the id of the new ring key.
        """
        self._loaded()
        with self._locked():
            self._load()
            content = self._loaded()
            if content.next_id > _MAX_ID:
                raise self._unusable("has used up every key id")
            active_from, created_at = ceil(now_s + activate_in_s), int(now_s)
            entry = _new_ring_entry(content.next_id, active_from, created_at)
            ring = [*_kept(content.ring, now_s - keep_s), entry]
            if len(ring) > MAX_RING_KEYS:
                raise self._unusable(f"holds {MAX_RING_KEYS} ring keys already: wait until the oldest are dropped")
            signing = []
            for test in (False, True):
                entries = [old for old in content.signing if old.test is test]
                signing += _kept(entries, now_s - PUBLISH_S)
                signing.append(_new_signing_entry(active_from, created_at, test=test))
            self._replace(content.model_copy(
                update={"ring": ring, "signing": signing, "next_id": content.next_id + 1},
            ))
            self._load()
        return entry.id

    # -- the file ----------------------------------------------------------------------------------------------

    def _loaded(self) -> _Content:
        if self._content is None:
            self.load_or_create()
        if self._content is None:  # load_or_create sets it or raises
            raise self._unusable("was not loaded")
        return self._content

    def _load(self) -> None:
        """Read and check the file.  A failure leaves what was loaded before in use."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                raw = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            raise self._unusable(
                "has vanished: put it back from a backup; without its anchor every phone's history is lost",
            ) from None
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from None
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise self._unusable(f"can be used by others (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600")
        self._content, self._stamp = self._parse(raw), _stamp(status)

    def _parse(self, raw: bytes) -> _Content:
        """Check the content.  Errors tell where, never what: the values are secrets."""
        if len(raw) > _MAX_FILE_BYTES:
            raise self._unusable(f"is larger than {_MAX_FILE_BYTES} bytes")
        try:
            return _Content.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise self._unusable(f"is damaged and was left as it is: {where}: {first['msg']}")

    def _create(self) -> None:
        now_s = int(time.time())
        content = _Content(
            version=1, anchor=b64encode(token_bytes(_SECRET_BYTES)).decode(), next_id=2,
            ring=[_new_ring_entry(1, 0, now_s)],
            signing=[_new_signing_entry(0, now_s, test=False), _new_signing_entry(0, now_s, test=True)],
        )
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self._write_temporary(content)
            try:
                # Unlike a rename, a link never replaces: of several processes one wins, with a complete file.
                os.link(temporary, self.path)
            except FileExistsError:
                pass  # another process was first: its file is the one to load
            finally:
                temporary.unlink()
            self._sync_folder()
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror}") from None

    def _replace(self, content: _Content) -> None:
        try:
            temporary = self._write_temporary(content)
            try:
                old = self.path.stat()
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.chown(temporary, old.st_uid, old.st_gid)  # an administrator rotates, the service reads
                temporary.replace(self.path.resolve())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            self._sync_folder()
        except OSError as error:
            raise self._unusable(f"cannot be replaced: {error.strerror}") from None

    def _write_temporary(self, content: _Content) -> Path:
        """Write a complete file (mode 0600) beside the real one, on disk before it gets its name."""
        handle, name = mkstemp(dir=self.path.resolve().parent, prefix=f".{self.path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.model_dump_json(indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink()
            raise
        return temporary

    def _sync_folder(self) -> None:
        handle = os.open(self.path.resolve().parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold an exclusive lock on the file that has the name now: a rotation gives the name to another file."""
        handle = self._lock()
        while handle is None:
            handle = self._lock()
        try:
            yield
        finally:
            os.close(handle)

    def _lock(self) -> int | None:
        """Lock the file; None when it was replaced while this process waited."""
        try:
            handle = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(handle), self.path.stat()):
                    return handle
            except OSError:
                os.close(handle)
                raise
        except OSError as error:
            raise self._unusable(f"cannot be locked: {error.strerror}") from None
        os.close(handle)
        return None

    def _unusable(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"the key file {self.path} {reason}")


def _current(entries: Sequence[_Entry], now_s: float) -> _Entry:
    """Return the last entry whose time has come; the first one where the clock stands before all."""
    return next((entry for entry in reversed(entries) if entry.active_from <= now_s), entries[0])


def _kept(entries: Sequence[_Entry], since_s: float) -> list[_Entry]:
    """Return the entries that were current after ``since_s``, or will be."""
    kept: list[_Entry] = []
    superseded_at = float("inf")
    for entry in reversed(entries):
        if superseded_at > since_s:
            kept.append(entry)
        superseded_at = min(superseded_at, entry.active_from)
    return kept[::-1]


def _new_ring_entry(number: int, active_from: int, created_at: int) -> _RingEntry:
    secret = b64encode(token_bytes(_SECRET_BYTES)).decode()
    return _RingEntry(id=f"k{_base36(number)}", secret=secret, active_from=active_from, created_at=created_at)


def _new_signing_entry(active_from: int, created_at: int, *, test: bool) -> _SigningEntry:
    key = ECKey.generate_key("P-256")
    return _SigningEntry(
        kid=key.thumbprint(), alg="ES256", pem=key.as_pem(private=True).decode(), test=test,
        active_from=active_from, created_at=created_at,
    )


def _thumbprint(pem: str) -> str:
    """Return the RFC 7638 thumbprint of a private P-256 key, or nothing when it is none."""
    try:
        key = ECKey.import_key(pem)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError):
        return ""
    return key.thumbprint() if key.is_private and key.curve_name == "P-256" else ""


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
    return digits


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    """Return what differs between a file and the one that replaced it."""
    return status.st_mtime_ns, status.st_ino, status.st_size
