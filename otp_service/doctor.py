"""``otp-service doctor``: what an operator would check by hand, in one go."""

from __future__ import annotations

import time
from dataclasses import dataclass

from redis.exceptions import ResponseError

from otp_service.app import House, opened
from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.core.ports import ConnectedGateway
from otp_service.delivery.accounts import TEST_ACCOUNT
from otp_service.settings import Settings
from otp_service.storage.client import translated

_SKEW_WARN_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``ok``, ``warn`` or ``FAIL``; about what; and what to do."""

    level: str
    subject: str
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Check everything that starting the service needs, and what makes it durable."""
    findings = [*_readiness(settings), *_clients(settings)]
    try:
        async with opened(settings) as house:
            findings.append(Finding("ok", "ownership", f"source {settings.ownership.source}"))
            findings += _gateways(house)
            findings += _keys(house)
            findings += await _store(house)
    except (ConfigurationError, StoreUnavailable) as error:
        where = settings.store.url or f"embedded in {settings.store.data_dir}"
        hint = f" (store.url: {where.rpartition('@')[2]})" if isinstance(error, StoreUnavailable) else ""
        findings.append(Finding("FAIL", "start", f"{error}{hint}"))
    return findings


def _readiness(settings: Settings) -> list[Finding]:
    """Say what is fine on a developer's machine and must not go live."""
    findings = []
    if "sample" in str(settings.ownership.options.get("subscribers", "")):
        findings.append(Finding("warn", "ownership", "the sample subscribers are made up: set [ownership.options]"))
    for name, url in (("service.issuer", settings.service.issuer), ("server.public_url", settings.server.public_url)):
        if url.startswith("http://"):
            findings.append(Finding("warn", "address", f"{name} is {url}: portals elsewhere cannot reach or trust it"))
    return findings


def _clients(settings: Settings) -> list[Finding]:
    if not settings.portals:
        return [Finding("warn", "clients", "none yet: otp-service clients new NAME makes the first")]
    now_s = time.time()
    expired = [
        portal.name for portal in settings.portals
        if not any(key.expires_at is None or key.expires_at > now_s for key in portal.keys)
    ]
    if expired:
        return [Finding("warn", "clients", f"without a live key: {', '.join(expired)}")]
    return [Finding("ok", "clients", f"{len(settings.portals)} with live keys")]


def _keys(house: House) -> list[Finding]:
    ring = house.keys.secrets.ring
    return [Finding("ok", "keys", f"{house.settings.key_path}: current {ring.current} of {len(ring.ids)}")]


def _gateways(house: House) -> list[Finding]:
    """Say of each account in use what would surprise an operator."""
    findings = []
    for account in house.accounts:
        if account.name == TEST_ACCOUNT:
            continue
        reports = account.report_secret or account.poll_reports or isinstance(account.gateway, ConnectedGateway)
        if not account.real:
            findings.append(Finding("warn", "gateway", f"{account.name} reaches no phone: for development only"))
        elif not reports and (account.supports.callback or account.supports.polling):
            findings.append(Finding(
                "warn", "gateway", f"{account.name} could tell of deliveries: set its report_secret or poll_reports",
            ))
        else:
            findings.append(Finding("ok", "gateway", f"{account.name} ({account.gateway.name})"))
    return findings


async def _store(house: House) -> list[Finding]:
    redis = house.store.client.redis
    findings = []
    with translated():
        memory = await redis.info("memory")
        seconds, _ = await redis.time()
        policy = memory.get("maxmemory_policy", "noeviction")
        try:
            config = await redis.config_get("append*")
        except ResponseError:
            config = {}
    findings.append(
        Finding("ok", "store", "answers and does not evict") if policy == "noeviction"
        else Finding("FAIL", "store", f"maxmemory-policy is {policy}: it drops live verifications; use noeviction"),
    )
    appendonly, fsync = _text(config.get("appendonly")), _text(config.get("appendfsync"))
    if not config:
        findings.append(Finding("warn", "durability", "CONFIG is not allowed here: check appendfsync yourself"))
    elif appendonly != "yes":
        findings.append(Finding("warn", "durability", "no append-only file: a crash loses what was acknowledged"))
    elif fsync != "always":
        findings.append(Finding("warn", "durability", f"appendfsync is {fsync}: a crash loses a second; use always"))
    else:
        findings.append(Finding("ok", "durability", "append-only file, synced on every write"))
    skew = abs(time.time() - int(seconds))
    findings.append(
        Finding("warn", "clock", f"this host and the store differ by {skew:.0f} s; API keys expire by the host's")
        if skew > _SKEW_WARN_S else Finding("ok", "clock", "agrees with the store's"),
    )
    return findings


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
