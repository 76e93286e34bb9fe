"""
An SMS gateway on loopback that a test scripts: what the ``fake`` adapter posts to.

It serves in a thread of its own, so that it answers whatever the test's event loop is doing.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from support.processes import eventually, free_port

_CODE = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])")


@dataclass(frozen=True, slots=True)
class Sms:
    """One hand-over as it arrived."""

    reference: str
    to: str
    text: str
    send_number: int

    @property
    def code(self) -> str:
        """The code it carries."""
        return str(_CODE.findall(self.text)[0])

    @property
    def verification_id(self) -> str:
        """Whose code it is."""
        return self.reference.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Say:
    """How a hand-over is answered; status 0 hangs up without a word, ``held`` waits for ``release``."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    held: bool = False


#: Takes the message, or knows it as a duplicate.
WELL = None
HELD = Say(0, held=True)
HANGS_UP = Say(0)


class ScriptedGateway:
    """
    The gateway.

    Attributes:
        arrived: every hand-over, in order, however it was answered.
        taken: those that were accepted, each reference once.
        answer: gives the answer to a hand-over; None takes it.
    """

    def __init__(self) -> None:
        self.arrived: list[Sms] = []
        self.taken: list[Sms] = []
        self.answer: Callable[[Sms], Say | None] = lambda _: WELL
        self._port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """Where SMS are posted."""
        return f"http://127.0.0.1:{self._port}/sms"

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._set_up())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._call(self._tear_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def down(self) -> None:
        """Refuse connections from now on."""
        self._call(self._stop_listening())

    def up(self) -> None:
        """Accept connections again."""
        self._call(self._listen())

    def release(self) -> None:
        """Answer what is held, by the ``answer`` in force now."""
        self._loop.call_soon_threadsafe(self._released.set)

    def sms(self, verification_id: str) -> list[Sms]:
        """Return the messages of one verification that were taken."""
        return [sms for sms in list(self.taken) if sms.verification_id == verification_id]

    async def code(self, verification_id: str, send_number: int = 1, within_s: float = 30.0) -> str:
        """Wait for an SMS and return its code."""
        def found() -> str | None:
            return next((sms.code for sms in self.sms(verification_id) if sms.send_number == send_number), None)

        return await eventually(found, f"SMS {send_number} of {verification_id}", within_s)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        sms = Sms(body["reference"], body["to"], body["text"], body["send_number"])
        self.arrived.append(sms)
        say = self.answer(sms)
        if say is not None and say.held:
            await self._released.wait()
            say = self.answer(sms)
        if say is None:
            known = any(sms.reference == taken.reference for taken in self.taken)
            if not known:
                self.taken.append(sms)
            return web.json_response({"id": f"id-{sms.reference}"}, status=409 if known else 200)
        if say.status == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=say.status or 500, body=say.body, headers=say.headers)

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _set_up(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def _stop_listening(self) -> None:
        assert self._site is not None
        await self._site.stop()
        self._site = None

    async def _tear_down(self) -> None:
        assert self._runner is not None
        self._released.set()
        await self._runner.cleanup()
