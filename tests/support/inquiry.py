"""The real chain around one source that needs no connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otp_service.core.keyring import KeyRing
from otp_service.core.routing import Route, RouteBook
from otp_service.core.source_ports import OwnershipSource
from otp_service.delivery.tokens import Tokens
from otp_service.inquiry.asker import Asker
from otp_service.inquiry.chain import Chain
from otp_service.inquiry.health import SourceShares
from otp_service.inquiry.sources import AskedSource
from otp_service.storage.sources import SourceStore
from otp_service.telemetry.metrics import Metrics

_NO_SESSION: Any = None


def chain_of(
    source: OwnershipSource, store: SourceStore, ring: Callable[[], KeyRing], metrics: Metrics,
) -> Chain:
    """Return a chain of this source alone."""
    name = source.name
    return Chain(
        {name: AskedSource(name, source)}, RouteBook([Route(({name: 1},))]),
        Asker(_NO_SESSION, Tokens(store, ring, kind="source"), metrics), SourceShares(store, [name], metrics), store,
        metrics, shard_of=lambda reference: ring().parse_id(reference),
    )
