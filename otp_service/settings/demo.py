"""The demo's variant of the settings: one client whose key everybody knows, so nothing but loopback and no real SMS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Final

from otp_service.core.client import ApiKey, Client, ProofMode, Scope
from otp_service.core.errors import ConfigurationError
from otp_service.core.routing import Route
from otp_service.settings.base import DEMO_DIGEST, DEMO_KEY
from otp_service.settings.gateways import GatewaySection, adapter_of
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
    used = settings.route_book().gateways
    adapters = {adapter_of(name, settings.gateways.get(name))[0] for name in used}
    if not adapters <= _UNREAL_GATEWAYS:
        problems.append("sending.gateways: the demo refuses real gateways")
    if any(portal.name == DEMO_CLIENT for portal in settings.portals):
        problems.append(f"clients.{DEMO_CLIENT}: the demo makes this client itself")
    if problems:
        raise ConfigurationError("\n".join(["the demo refuses to start:", *map("  {}".format, problems)]))
    own_url = f"http://127.0.0.1:{port}"
    return replace(
        settings,
        service=settings.service.model_copy(update={"issuer": own_url}),
        server=settings.server.model_copy(update={"host": "127.0.0.1", "port": port, "public_url": own_url}),
        store=settings.store.model_copy(update={"data_dir": data_dir}),
        keys=settings.keys.model_copy(update={"file": None}),
        sending=settings.sending.model_copy(update={"gateways": (_GATEWAY,)}),
        gateways={_GATEWAY: _fake_gateway(settings)}, routes=(Route(({_GATEWAY: 1},)),),
        portals=(*settings.portals, _demo_client(settings)),
    )


def _fake_gateway(settings: Settings) -> GatewaySection:
    """
    Return the account at the demo's own gateway, with the options that were written for the fake gateway.

    Nobody but its own inbox reports, from loopback and unsigned; the secret is new for each start.
    """
    section = settings.gateways.get(_GATEWAY)
    adapter, options = adapter_of(_GATEWAY, section)
    if section is None or adapter != _GATEWAY:
        section, options = GatewaySection(), {}
    options.pop("report_key", None)
    return section.model_copy(update={
        "adapter": _GATEWAY, "options": options, "report_secret": token_hex(24), "report_networks": (),
    })


def _demo_client(settings: Settings) -> Client:
    loopback = frozenset({"loopback"})
    return Client(
        name=DEMO_CLIENT, display_name="Demo portal", purposes=frozenset(settings.purposes),
        origins=loopback, return_hosts=loopback, webhook_hosts=loopback,
        # Who tries the API by hand has no browser that could work for it.
        proof=ProofMode.NEVER, keys=(ApiKey(DEMO_DIGEST, frozenset(Scope)),),
    )
