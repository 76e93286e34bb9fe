"""
A phone to look at: the SMS that arrived, newest last, as a person would read them.

The page asks for itself again every second and adds what is new.  Which number it shows is chosen in the browser and
kept in the fragment, so that no phone number stands in an address that is sent.  Its policy allows exactly its own
style sheet and script, by digest.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from multidict import CIMultiDict

from otp_service.web.exchange import answer_headers
from otp_service.web.fake_gateway.inbox import InboxMessage

_VIETNAM: Final = timezone(timedelta(hours=7))
_POLICY: Final = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _Bubble:
    """One SMS as the page shows it; ``number`` as people in Vietnam write it."""

    id: str
    number: str = field(repr=False)
    text: str = field(repr=False)
    time: str
    sent_at: str


class PhonePage:
    """The page; made once."""

    def __init__(self) -> None:
        environment = Environment(
            loader=PackageLoader("otp_service.web.fake_gateway.phone", "."), autoescape=True,
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )
        style, script = (environment.get_template(name).render() for name in ("phone.css", "phone.js"))
        self._template = environment.get_template("phone.html")
        self._own = {"style": Markup(style), "script": Markup(script)}  # noqa: S704 - files of this package
        self._headers = answer_headers(
            "text/html; charset=utf-8", Content_Security_Policy=_POLICY.format(
                style=_digest(style), script=_digest(script),
            ),
        )

    def render(self, messages: Sequence[InboxMessage]) -> tuple[bytes, CIMultiDict[str]]:
        """Return the page with these messages, which come newest first, and its headers."""
        bubbles = [_bubble(message) for message in reversed(messages)]
        return self._template.render(bubbles=bubbles, **self._own).encode(errors="replace"), self._headers


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _bubble(message: InboxMessage) -> _Bubble:
    sent = datetime.fromisoformat(message.sent_at).astimezone(_VIETNAM)
    return _Bubble(message.id, _national(message.to), message.text, f"{sent:%H:%M:%S}", message.sent_at)


def _national(number: str) -> str:
    """Write ``+84900000001`` as ``0900 000 001``; what is no Vietnamese number stays as it came."""
    rest = number.removeprefix("+84")
    if rest == number or len(rest) != 9:
        return number
    return f"0{rest[:3]} {rest[3:6]} {rest[6:]}"
