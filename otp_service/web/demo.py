"""
The demo's fake gateway: where its SMS arrive, and where a person reads them.

Held in memory and nowhere else: codes never reach the store or a log (invariant 5).
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import ip_address
from secrets import token_hex
from typing import Any, Final

import orjson
from aiohttp import web

from otp_service.core.client import LOOPBACK_HOSTS
from otp_service.core.errors import Forbidden
from otp_service.core.times import iso
from otp_service.web import problems
from otp_service.web.bodies import read_json
from otp_service.web.exchange import answer, peer_of

MAX_MESSAGES: Final = 100
#: References by which a repeated SMS is known; far more than may be on their way at once.
_MAX_REFERENCES: Final = 10_000


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One SMS as it arrived; ``to`` is E.164, ``sent_at`` RFC 3339."""

    id: str
    to: str = field(repr=False)
    text: str = field(repr=False)
    send_number: int
    sent_at: str


class Inbox:
    """The newest SMS, at most 100; a reference that came before is known as a duplicate."""

    def __init__(self) -> None:
        self._messages: deque[InboxMessage] = deque(maxlen=MAX_MESSAGES)
        self._ids: OrderedDict[str, str] = OrderedDict()

    def add(self, reference: str, *, to: str, text: str, send_number: int) -> tuple[str, bool]:
        """Take one SMS in; returns its id and whether it is new."""
        if (known := self._ids.get(reference)) is not None:
            return known, False
        message = InboxMessage(f"sms-{token_hex(8)}", to, text, send_number, iso(int(time.time() * 1000)))
        self._ids[reference] = message.id
        if len(self._ids) > _MAX_REFERENCES:
            self._ids.popitem(last=False)
        self._messages.appendleft(message)
        return message.id, True

    def messages(self) -> list[InboxMessage]:
        """Return what arrived, newest first."""
        return list(self._messages)


class DemoHandlers:
    """``POST /demo/gateway``, which ``sms_adapters/fake.py`` calls, and ``GET /demo/sms``; both from loopback only."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def gateway(self, request: web.Request) -> web.Response:
        """Take an SMS: 200 with its id, or 409 with the id its reference had before."""
        _require_loopback(request)
        _, raw = await read_json(request)
        message = _message(raw)
        message_id, new = self._inbox.add(message.pop("reference"), **message)
        return answer(orjson.dumps({"id": message_id}), 200 if new else 409)

    async def sms(self, request: web.Request) -> web.Response:
        """Show what arrived, newest first."""
        _require_loopback(request)
        return answer(orjson.dumps({"messages": self._inbox.messages()}))


def _message(raw: dict[str, Any]) -> dict[str, Any]:
    """Return what the inbox keeps of an SMS.  Raises InvalidRequest."""
    texts = {name: raw.get(name) for name in ("reference", "to", "text")}
    send_number = raw.get("send_number")
    if not all(type(text) is str and text for text in texts.values()) or type(send_number) is not int:
        raise problems.malformed()
    return {**texts, "send_number": send_number}


def _require_loopback(request: web.Request) -> None:
    """Refuse every other machine: whoever reads the inbox reads the codes.  Raises Forbidden."""
    peer = peer_of(request)
    if peer is None or not ip_address(peer).is_loopback or not _names_loopback(request.host):
        raise Forbidden


def _names_loopback(host: str) -> bool:
    """Whether the page that asks knows this machine by its own name: another name here is DNS rebinding."""
    return host.rpartition(":")[0] in LOOPBACK_HOSTS or host in LOOPBACK_HOSTS
