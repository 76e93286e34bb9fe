"""Webhooks on a newcomer's own machine: the page's example against the demo, and the commands on the demo's store."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.demo import Demo
from support.processes import Run, eventually, free_port

from otp_service.settings.base import DEMO_WEBHOOK_SECRET

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8").partition("## On your own machine")[2]
(RECEIVER,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
START, COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(SHOWN,) = re.findall(r"^verification\.finished .*$", PAGE, re.MULTILINE)


@asynccontextmanager
async def receiving(demo: Demo, port: int) -> AsyncIterator[Run]:
    """Run the page's receiver on a port."""
    run = demo.site.launch("receiver", program=("-c", RECEIVER.replace("8090", str(port))))
    try:
        yield run
    finally:
        run.kill()


async def command(demo: Demo, *words: str) -> CompletedProcess[str]:
    """Run a command as a second terminal beside the demo does."""
    return await demo.site.command("webhooks", *words)


async def test_the_page_s_example(demo: Demo) -> None:
    """What the page says to paste makes a webhook arrive, signed with the secret that the demo prints."""
    bash = shutil.which("bash")
    if bash is None or shutil.which("curl") is None:
        pytest.skip("curl and bash are needed to paste the commands")
    assert f"webhook secret  {DEMO_WEBHOOK_SECRET}" in demo.run.stdout
    port = free_port()
    async with receiving(demo, port) as receiver:
        await eventually(lambda: "listening" in receiver.stdout, "the receiver listens")
        process = await asyncio.create_subprocess_exec(
            bash, "-c", START.replace("http://127.0.0.1:8080", demo.base).replace("8090", str(port)),
            stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        said = await eventually(lambda: re.search("verification.finished.*", receiver.stdout), "a webhook")
        (verification_id,) = set(re.findall(r'"id":"([^"]+)"', out.decode()))
        kind, _, *others = SHOWN.split()
        assert [kind, verification_id, *others] == said[0].split()

        listed, tried = [
            await command(demo, *words.replace("8090", str(port)).split())
            for words in re.findall(r"^\S+otp-service webhooks (.+)$", COMMANDS, re.MULTILINE)
        ]
        assert (0, False) == (listed.returncode, verification_id in listed.stdout)
        assert (0, "delivered: http_204\n") == (tried.returncode, tried.stdout)
        await eventually(lambda: "webhook.test None" in receiver.stdout, "the test")


async def test_a_wrong_receiver_is_explained(demo: Demo) -> None:
    """Nobody listens: the list says so, and when the next attempt is; other commands know the demo's clients too."""
    port = free_port()
    async with demo.api() as api:
        started = await api.start("0700000002", callback_url=f"http://127.0.0.1:{port}/otp", purpose="phone_only")
        assert (201, "pending") == started.said
        await api.call("DELETE", f"/v1/verifications/{started['id']}")

    async def told() -> bool:
        listed = await command(demo, "list")
        assert 0 == listed.returncode
        assert {"demo-portal", "sample-portal"} <= set(re.findall(r"│ ([a-z-]+) +│ \d+ ", listed.stdout))
        return bool(re.search(
            rf"{started['id']} │ cancelled │ \S+Z │ (now|in \d+ (s|min)) +│ [12] +│ connection_refused", listed.stdout,
        ))

    await eventually(told, "the last word")
    assert 0 == (await command(demo, "list", "demo-portal")).returncode
    assert 0 == (await command(demo, "enable", "sample-portal")).returncode
    assert (0, "0 queued again.\n") == (await _replayed(demo))
    tried = await command(demo, "try", "demo-portal", f"http://127.0.0.1:{port}/otp")
    assert (1, "no_answer: connection_refused") == (tried.returncode, tried.stdout.splitlines()[0])
    for words in (("list", "nobody"), ("try", "nobody", "https://a.example.vn"), ("try", "demo-portal", "-")):
        assert 2 == (await command(demo, *words)).returncode
    sample = await command(demo, "try", "sample-portal", f"http://127.0.0.1:{port}/otp")
    assert (2, True) == (sample.returncode, "try demo-portal" in sample.stderr)


async def _replayed(demo: Demo) -> tuple[int, str]:
    done = await command(demo, "replay", "demo-portal", "--all")
    return done.returncode, done.stdout
