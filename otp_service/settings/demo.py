"""The demo's variant of the settings: one client whose key everybody knows, so nothing but loopback and no real SMS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from otp_service.core.client import ApiKey, Client, Scope
from otp_service.core.errors import ConfigurationError
from otp_service.settings.base import DEMO_DIGEST, DEMO_KEY
from otp_service.settings.load import Settings
from otp_service.settings.sections import is_loopback

__all__ = ["DEMO_CLIENT", "DEMO_KEY", "demo_settings"]

DEMO_CLIENT: Final = "demo-portal"
_GATEWAY: Final = "fake"

#: The gateways that reach no phone; any other may be real, and only its class could tell.
_UNREAL_GATEWAYS: Final = frozenset({"console", _GATEWAY})


def demo_settings(settings: Settings, port: int, data_dir: Path) -> Settings:
    """
    Return the settings for the demo on ``http://127.0.0.1:<port>`` with its data in ``data_dir``.

    Raises:
        ConfigurationError: the settings ask for another address than loopback, or for a gateway that may be real.
    """
    problems = [
        f"{where}: the demo listens on loopback alone, because everybody knows its key"
        for where, host in (
            ("server.host", settings.server.host), ("server.private_host", settings.server.private_host),
        )
        if not is_loopback(host)
    ]
    if settings.store.url:
        problems.append("store.url: the demo has a store of its own; its inbox shows every code")
    if settings.gateway.name not in _UNREAL_GATEWAYS:
        problems.append("gateway.name: the demo refuses real gateways")
    if any(portal.name == DEMO_CLIENT for portal in settings.portals):
        problems.append(f"clients.{DEMO_CLIENT}: the demo makes this client itself")
    if problems:
        raise ConfigurationError("\n".join(["the demo refuses to start:", *map("  {}".format, problems)]))
    own_url = f"http://127.0.0.1:{port}"
    options = settings.gateway.options if settings.gateway.name == _GATEWAY else {}
    return replace(
        settings,
        service=settings.service.model_copy(update={"issuer": own_url}),
        server=settings.server.model_copy(update={"host": "127.0.0.1", "port": port, "public_url": own_url}),
        store=settings.store.model_copy(update={"data_dir": data_dir}),
        keys=settings.keys.model_copy(update={"file": None}),
        gateway=settings.gateway.model_copy(update={"name": _GATEWAY, "options": options}),
        portals=(*settings.portals, _demo_client(settings)),
    )


def _demo_client(settings: Settings) -> Client:
    loopback = frozenset({"loopback"})
    return Client(
        name=DEMO_CLIENT, display_name="Demo portal", purposes=frozenset(settings.purposes),
        origins=loopback, return_hosts=loopback, webhook_hosts=loopback,
        keys=(ApiKey(DEMO_DIGEST, frozenset(Scope)),),
    )
