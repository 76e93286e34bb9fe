"""What the portal is told, by its environment: an address, an API key and a webhook secret, like any other client."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from otp_service.client import WebhookReceiver

HELP: Final = """\
A sample portal for otp_service: registration, sign-in, forgotten password and account linking, on loopback alone.

    python -m otp_service.sample_portal

Environment:
    PORTAL_OTP_URL          the service's API as this process reaches it, such as http://127.0.0.1:8080
    PORTAL_API_KEY          this portal's API key
    PORTAL_WEBHOOK_SECRET   what its webhooks are signed with (whsec_...); two, separated by a blank, while it rotates
    PORTAL_PORT             the port to listen on at 127.0.0.1 (default 8081; 0 takes any that is free)
    PORTAL_LISTEN_FD        instead of a port: the number of an inherited listening socket
    PORTAL_DATA_DIR         where its SQLite database and its own key are kept (default .data/portal)
    PORTAL_OTP_PUBLIC_URL   the service as browsers reach it (default PORTAL_OTP_URL)
    PORTAL_PHONE_URL        a page that shows arriving SMS, to link to (optional)
"""

_DEFAULT_PORT: Final = 8081
_BACKLOG: Final = 128


class SettingsInvalid(Exception):
    """The environment cannot be used; the message names every variable and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """
    The portal's settings.

    Attributes:
        otp_url: base of the service's API, without a slash at its end.
        otp_public_url: the same as browsers reach it; its origin serves the hosted page and ``/element.js``.
        webhook_secrets: Standard Webhooks secrets, at least one.
        listen_fd: an inherited listening socket, which ``port`` then does not choose.
        phone_url: where arriving SMS are shown, or None.
    """

    otp_url: str
    otp_public_url: str
    api_key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    data_dir: Path
    port: int = _DEFAULT_PORT
    listen_fd: int | None = None
    phone_url: str | None = None


def read_settings(environ: Mapping[str, str]) -> PortalSettings:
    """Read the settings.  Raises SettingsInvalid, which tells all that is wrong at once."""
    reader = _Reader(environ)
    otp_url = reader.url("PORTAL_OTP_URL")
    settings = PortalSettings(
        otp_url=otp_url, otp_public_url=reader.url("PORTAL_OTP_PUBLIC_URL", otp_url),
        api_key=reader.api_key("PORTAL_API_KEY"), webhook_secrets=reader.webhook_secrets("PORTAL_WEBHOOK_SECRET"),
        data_dir=Path(reader.text("PORTAL_DATA_DIR", ".data/portal")),
        port=reader.number("PORTAL_PORT", 65535, _DEFAULT_PORT), listen_fd=reader.listen_fd("PORTAL_LISTEN_FD"),
        phone_url=reader.url("PORTAL_PHONE_URL", "") or None,
    )
    if reader.problems:
        raise SettingsInvalid("; ".join(reader.problems))
    return settings


class _Reader:
    """Reads variables and collects what is wrong with them; their values are never repeated."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environ.get(name, "").strip()
        if not value and default is None:
            self.problems.append(f"{name} is missing")
        return value or (default or "")

    def url(self, name: str, default: str | None = None) -> str:
        value = self.text(name, default).rstrip("/")
        if value and not _is_url(value):
            self.problems.append(f"{name} is no http or https URL")
        return value

    def number(self, name: str, most: int, default: int) -> int:
        value = self.text(name, str(default))
        if value.isascii() and value.isdigit() and int(value) <= most:
            return int(value)
        self.problems.append(f"{name} is no number from 0 to {most}")
        return default

    def listen_fd(self, name: str) -> int | None:
        return self.number(name, 2**20, 0) if self.text(name, "") else None

    def api_key(self, name: str) -> str:
        value = self.text(name)
        if not (value.isascii() and value.isprintable()) or " " in value:
            self.problems.append(f"{name} has characters that no API key has")
        return value

    def webhook_secrets(self, name: str) -> tuple[str, ...]:
        values = tuple(self.text(name).split())
        try:
            if values:
                WebhookReceiver(*values)
        except ValueError:
            self.problems.append(f"{name} is no Standard Webhooks secret")
        return values


def open_listener(settings: PortalSettings) -> socket.socket:
    """
    Return the listening socket: the inherited one, or a new one on 127.0.0.1.

    Raises SettingsInvalid when it cannot be had, or would listen to more than this machine: accounts made of samples
    and their passwords are written on the home page.
    """
    try:
        if settings.listen_fd is None:
            # Restarted at once, it finds its port again although old connections are still dying on it.
            return socket.create_server(("127.0.0.1", settings.port), backlog=_BACKLOG)
        listener = socket.socket(fileno=settings.listen_fd)
    except OSError as error:
        raise SettingsInvalid(f"cannot listen: {error.strerror}") from error
    name = listener.getsockname()
    if not isinstance(name, tuple) or not ip_address(name[0]).is_loopback:
        with closing(listener):
            raise SettingsInvalid("PORTAL_LISTEN_FD listens to more than loopback")
    listener.listen(_BACKLOG)
    return listener


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)
