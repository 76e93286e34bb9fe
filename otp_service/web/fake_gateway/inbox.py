"""
The fake gateway's memory: the messages it took.

Held in memory and nowhere else: codes never reach the store or a log (invariant 5).
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from html import escape
from secrets import token_hex
from typing import Final

from otp_service.core.times import iso

MAX_MESSAGES: Final = 100
#: References by which a repeated SMS is known; far more than may be on their way at once.
_MAX_REFERENCES: Final = 10_000

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>SMS inbox</title></head>
<body><h1>SMS inbox</h1>
<table><thead><tr><th>Sent</th><th>To</th><th>Send</th><th>Text</th></tr></thead>
<tbody>
{rows}</tbody></table></body></html>
"""


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One SMS as it arrived; ``to`` is E.164, ``sent_at`` RFC 3339."""

    id: str
    to: str = field(repr=False)
    text: str = field(repr=False)
    send_number: int
    sent_at: str


class Inbox:
    """
    The newest SMS; a reference that came before is known as a duplicate.

    Args:
        max_messages: how many are kept to be read.
    """

    def __init__(self, max_messages: int = MAX_MESSAGES) -> None:
        self._messages: deque[InboxMessage] = deque(maxlen=max_messages)
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

    def id_of(self, reference: str) -> str | None:
        """Return the id of the message that came with this reference."""
        return self._ids.get(reference)

    def messages(self) -> list[InboxMessage]:
        """Return what arrived, newest first."""
        return list(self._messages)


def render(messages: list[InboxMessage]) -> bytes:
    """Return the inbox as a page for a person; it needs no style, script or other host."""
    rows = "".join(
        f"<tr><td>{escape(one.sent_at)}</td><td>{escape(one.to)}</td><td>{one.send_number}</td>"
        f"<td><pre>{escape(one.text)}</pre></td></tr>\n"
        for one in messages
    )
    return _PAGE.format(rows=rows).encode(errors="replace")
