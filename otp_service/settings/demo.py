"""
The demo's variant of the settings: a client whose key everybody knows, so nothing but loopback and no real SMS.

The sample portal is a client too, with a key and a secret that are new for each start and known to its process alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Final

from otp_service.core.client import ApiKey, Client, ProofMode, Scope
from otp_service.core.errors import ConfigurationError
from otp_service.core.routing import Route
from otp_service.core.webhook_secrets import new_secret
from otp_service.settings.base import DEMO_DIGEST, DEMO_KEY, DEMO_WEBHOOK_SECRET
from otp_service.settings.gateways import GatewaySection, adapter_of
from otp_service.settings.load import Settings
from otp_service.settings.sections import is_loopback

__all__ = [
    "DEMO_CLIENT", "DEMO_KEY", "PORTAL_CLIENT", "PortalAccess", "demo_clients", "demo_settings", "with_sample_portal",
]

DEMO_CLIENT: Final = "demo-portal"
PORTAL_CLIENT: Final = "sample-portal"
_GATEWAY: Final = "fake"
_LOOPBACK: Final = frozenset({"loopback"})
#: Nobody's number.
_HOTLINE: Final = "1900 0000"

#: The gateways that reach no phone; any other may be real, and only its class could tell.
_UNREAL_GATEWAYS: Final = frozenset({"console", _GATEWAY})


@dataclass(frozen=True, slots=True)
class PortalAccess:
    """What the sample portal calls with and checks webhooks with; new for each start of the demo."""

    api_key: str = field(default_factory=lambda: f"otp_live_{token_urlsafe(32)}", repr=False)
    webhook_secret: str = field(default_factory=new_secret, repr=False)


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
    problems += [
        f"clients.{portal.name}: the demo makes this client itself"
        for portal in settings.portals if portal.name in {DEMO_CLIENT, PORTAL_CLIENT}
    ]
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


def with_sample_portal(settings: Settings, access: PortalAccess) -> Settings:
    """Return the settings with the sample portal among the clients, which may do what a portal does, on loopback."""
    key = ApiKey(sha256(access.api_key.encode()).hexdigest(), frozenset({Scope.VERIFY, Scope.READ, Scope.REDEEM}))
    portal = replace(_sample_portal(settings), webhook_secrets=(access.webhook_secret,), keys=(key,))
    return replace(settings, portals=(*settings.portals, portal))


def demo_clients(settings: Settings) -> tuple[Client, ...]:
    """
    Return the clients that every demo has, for whoever looks at the store of one from beside it.

    The sample portal comes without key and secret: only the running demo has those.
    """
    return _demo_client(settings), _sample_portal(settings)


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
    return Client(
        name=DEMO_CLIENT, display_name="Demo portal", purposes=frozenset(settings.purposes),
        origins=_LOOPBACK, return_hosts=_LOOPBACK, webhook_hosts=_LOOPBACK,
        webhook_secrets=(DEMO_WEBHOOK_SECRET,),
        # Who tries the API by hand has no browser that could work for it.
        proof=ProofMode.NEVER, keys=(ApiKey(DEMO_DIGEST, frozenset(Scope)),),
    )


def _sample_portal(settings: Settings) -> Client:
    return Client(
        name=PORTAL_CLIENT, display_name="Cổng dịch vụ công mẫu", purposes=frozenset(settings.purposes),
        hotline=_HOTLINE, origins=_LOOPBACK, return_hosts=_LOOPBACK, webhook_hosts=_LOOPBACK,
    )
