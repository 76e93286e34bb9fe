"""The sample portal as a process: what it is told, what it refuses, and that it keeps its people."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from otp_service.core.webhook_secrets import new_secret
from otp_service.sample_portal.settings import HELP, SettingsInvalid, open_listener, read_settings

GOOD = {"PORTAL_OTP_URL": "http://127.0.0.1:1/", "PORTAL_API_KEY": "a-key", "PORTAL_WEBHOOK_SECRET": new_secret()}


async def _run(*arguments: str, environ: Mapping[str, str] = {}, **options: object) -> asyncio.subprocess.Process:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "otp_service.sample_portal", *arguments, env=kept | dict(environ),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **options,  # type: ignore[arg-type]
    )


async def _live(base: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{base}/livez") as answer:
        return answer.status


async def test_it_runs_on_an_inherited_socket_and_ends_when_asked(tmp_path: Path) -> None:
    """It says where it is, answers, ends with 0 on SIGTERM, and leaves a database that nobody else may read."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.set_inheritable(True)
        told = {**GOOD, "PORTAL_LISTEN_FD": str(listener.fileno()), "PORTAL_DATA_DIR": str(tmp_path / "a" / "b")}
        process = await _run(environ=told, pass_fds=(listener.fileno(),))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert process.stdout is not None
    assert f"the sample portal is ready on {base}\n".encode() == await process.stdout.readline()
    assert 200 == await _live(base)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert (0, b"", b"") == (process.returncode, out, err)
    assert 0o600 == (tmp_path / "a" / "b" / "portal.sqlite3").stat().st_mode & 0o777


async def test_help() -> None:
    """``--help`` explains every variable that is read; anything else is told the same and fails."""
    process = await _run("--help")
    out, _ = await process.communicate()
    assert (0, HELP) == (process.returncode, out.decode())
    source = Path(sys.modules[read_settings.__module__].__file__ or "").read_text()
    read = {word for word in source.replace('"', " ").split() if word.startswith("PORTAL_")}
    assert read
    assert all(name.rstrip(",);:") in HELP for name in read)
    process = await _run("--port", "8081")
    _, err = await process.communicate()
    assert (2, HELP) == (process.returncode, err.decode())


async def test_what_is_missing_is_told_at_once(tmp_path: Path) -> None:
    """Without its environment it refuses to start, and names each variable but no value."""
    secret = "whsec_not-base64-at-all!"
    process = await _run(environ={"PORTAL_WEBHOOK_SECRET": secret, "PORTAL_DATA_DIR": str(tmp_path)})
    _, err = await process.communicate()
    assert 2 == process.returncode
    said = err.decode()
    for part in ("PORTAL_OTP_URL is missing", "PORTAL_API_KEY is missing", "PORTAL_WEBHOOK_SECRET is no"):
        assert part in said
    assert secret not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("name", "value"), [
    ("PORTAL_OTP_URL", "127.0.0.1:8080"), ("PORTAL_OTP_URL", "http://[::1"), ("PORTAL_OTP_URL", "https://h/?q"),
    ("PORTAL_API_KEY", "two words"), ("PORTAL_API_KEY", "khóa"), ("PORTAL_PORT", "65536"), ("PORTAL_PORT", "-1"),
    ("PORTAL_LISTEN_FD", "x"), ("PORTAL_PHONE_URL", "javascript:alert(1)"), ("PORTAL_WEBHOOK_SECRET", " "),
])
def test_bad_settings_are_refused(name: str, value: str) -> None:
    """Each bad value is refused by its name."""
    with pytest.raises(SettingsInvalid, match=name):
        read_settings({**GOOD, name: value})


def test_settings_show_no_secret() -> None:
    """Neither key nor secret stands in the settings' repr, and a base URL has no slash at its end."""
    settings = read_settings({**GOOD, "PORTAL_API_KEY": "key-nobody-may-see"})
    assert "http://127.0.0.1:1" == settings.otp_public_url
    assert "key-nobody-may-see" not in repr(settings)
    assert GOOD["PORTAL_WEBHOOK_SECRET"] not in repr(settings)


def test_it_listens_to_this_machine_alone() -> None:
    """A socket that listens to more than loopback is refused: the samples' passwords are on the home page."""
    with closing(socket.create_server(("0.0.0.0", 0))) as everybody:
        settings = read_settings({**GOOD, "PORTAL_LISTEN_FD": str(os.dup(everybody.fileno()))})
        with pytest.raises(SettingsInvalid, match="more than loopback"):
            open_listener(settings)
    with closing(open_listener(read_settings({**GOOD, "PORTAL_PORT": "0"}))) as own:
        host, port = own.getsockname()
        assert "127.0.0.1" == host
        with pytest.raises(SettingsInvalid, match="cannot listen"):
            open_listener(read_settings({**GOOD, "PORTAL_PORT": str(port)}))
