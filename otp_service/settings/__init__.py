"""
Settings: ``config/*.toml``, the environment and secret files, checked as a whole before anything starts.

::

    sources.py    the layers, from the strongest: overrides, environment and secret files, TOML files
    base.py       what every section shares, and the little grammars (period, list)
    sections.py   [service] [server] [store] [keys] [logging]
    routing.py    names, tiers and routes: what [sending] and [ownership] share
    gateways.py   [sending] [gateways.*] [[routes]]
    ownership.py  [ownership] [[ownership.routes]] [sources.*]
    policies.py   [purposes.*] [limits.*] [[overrides]]
    clients.py    [clients.*]
    load.py       all of it together: every error at once
    demo.py       the demo's variant
"""

from __future__ import annotations

from otp_service.settings.demo import DEMO_CLIENT, DEMO_KEY, demo_settings
from otp_service.settings.gateways import GatewaySection, adapter_of
from otp_service.settings.load import Settings, load_settings
from otp_service.settings.ownership import SourceSection

__all__ = [
    "DEMO_CLIENT", "DEMO_KEY", "GatewaySection", "Settings", "SourceSection", "adapter_of", "demo_settings",
    "load_settings",
]
