"""``otp-service doctor``: what an operator would check by hand, in one go."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.exceptions import ResponseError

from otp_service import plugins
from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.core.ports import ConnectedGateway
from otp_service.delivery.accounts import TEST_ACCOUNT
from otp_service.house import House, opened
from otp_service.inquiry.sources import AskedSource
from otp_service.plugins import listed
from otp_service.settings import Settings, SourceSection, adapter_of
from otp_service.sources_from_settings import SAMPLE, lacking, routes_for
from otp_service.storage.client import translated

_SKEW_WARN_S = 2.0

#: A table that was imported longer ago is told.
_OLD_DAYS = 60

#: The options of adapters that hold addresses.
_ADDRESSES = ("url", "token_url", "api_root")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``ok``, ``warn`` or ``FAIL``; about what; and what to do."""

    level: str
    subject: str
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Check everything that starting the service needs, and what makes it durable."""
    findings = [
        *_readiness(settings), *_clients(settings), *account_warnings(settings), *source_warnings(settings),
    ]
    try:
        async with opened(settings) as house:
            findings += sources_in_use(settings, house.sources)
            findings += _gateways(house)
            findings += _keys(house)
            findings += await _store(house)
    except (ConfigurationError, StoreUnavailable) as error:
        where = settings.store.url or f"embedded in {settings.store.data_dir}"
        hint = f" (store.url: {where.rpartition('@')[2]})" if isinstance(error, StoreUnavailable) else ""
        findings += [Finding("FAIL", "start", line) for line in f"{error}{hint}".splitlines()]
    return findings


def _readiness(settings: Settings) -> list[Finding]:
    """Say what is fine on a developer's machine and must not go live."""
    urls = {"service.issuer": settings.service.issuer, "server.public_url": settings.server.public_url}
    return [
        Finding("warn", "address", f"{name} is {url}: portals elsewhere cannot reach or trust it")
        for name, url in urls.items() if url.startswith("http://")
    ]


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


def account_warnings(settings: Settings) -> list[Finding]:
    """Say what the accounts' settings will lead to, though each adapter takes its options."""
    texts = []
    used = settings.route_book().gateways
    for name, section in settings.gateways.items():
        if name not in used:
            texts.append(f"{name} is in no route: nothing is sent through it")
            continue
        _, options = adapter_of(name, section)
        expected = f"{settings.server.public_url}/v1/delivery-reports/{name}/"
        texts += [f"{name}: {text}" for text in (
            *_plain_http(plugins.GATEWAYS, section.adapter or name, options, "password and codes"),
            *_wrong_callback(options.get("callback_url"), expected, section.report_secret),
            *_templates(options.get("templates"), *_template_keys(settings, name)),
        )]
    return [Finding("warn", "gateway", text) for text in texts]


def source_warnings(settings: Settings) -> list[Finding]:
    """Say what the sources' settings will lead to, though each adapter takes its options."""
    texts = []
    used, most_s = settings.source_book().names, settings.ownership.worker_deadline_s
    for name in dict.fromkeys((*used, *settings.sources)):
        section = settings.source(name)
        made_up = _made_up(section)
        if name not in used:
            # Shipped with the settings; who asks others has not forgotten it.
            texts += [] if made_up else [f"{name} is in no route: nobody asks it"]
            continue
        if made_up:
            texts.append(f"{name}: the sample subscribers are made up: set sources.{name}.options.subscribers")
        if section.deadline_s > most_s:
            texts.append(
                f"{name}: deadline_s is {section.deadline_s:g}, but ownership.worker_deadline_s cuts it off after "
                f"{most_s:g} s",
            )
        texts += _aged(name, section)
        found = _plain_http(plugins.SOURCES, section.adapter_for(name), section.options, "ID numbers and secrets")
        texts += [f"{name}: {text}" for text in found]
    return [Finding("warn", "ownership", text) for text in texts]


def _made_up(section: SourceSection) -> bool:
    return Path(str(section.options.get("subscribers", ""))).parts[-2:] == SAMPLE


def _aged(name: str, section: SourceSection) -> list[str]:
    """Tell of an imported table that nobody has replaced for long."""
    path = section.options.get("table")
    if section.adapter_for(name) != "tttb" or not path:
        return []
    try:
        days = (time.time() - Path(str(path)).stat().st_mtime) / 86_400
    except OSError:  # starting tells it
        return []
    old = days > _OLD_DAYS
    return [f"{name}: its table is {days:.0f} days old, and SIMs change hands: import a newer one"] if old else []


def sources_in_use(settings: Settings, sources: Mapping[str, AskedSource]) -> list[Finding]:
    """Say of each source in use what it is, and of each purpose what some of its citizens will miss."""
    findings = []
    used = settings.source_book().names
    for name in used:
        source = sources[name]
        real = ", reaches a real register" if source.traits.real else ""
        text = f"{name} ({settings.source(name).adapter_for(name)}): {source.source.assurance}{real}"
        findings.append(Finding("ok", "ownership", text))
    waits_s = settings.ownership.inline_deadline_s
    slow = [sources[name].timeout_s for name in used if sources[name].over_http]
    if slow and waits_s < min(slow):
        findings.append(Finding(
            "ok", "ownership", f"a check waits {waits_s:g} s for an answer that may take {min(slow):g} s: the citizen "
            f'of a late one sees "checking", and the worker asks again',
        ))
    return [*findings, *_missed(settings, sources)]


def _missed(settings: Settings, sources: Mapping[str, AskedSource]) -> list[Finding]:
    """Tell of routes none of whose sources can give what a purpose wants, though another route's can."""
    return [
        Finding("warn", "ownership", f"{purpose.name} of {', '.join(sorted(route.carriers)) or 'all others'}: {text}")
        for purpose in settings.purposes.values() if purpose.checks_ownership
        for route in routes_for(settings, purpose)
        for text in lacking(purpose, [sources[name] for tier in route.tiers for name in tier])
    ]


def _plain_http(group: str, adapter: str, options: Mapping[str, Any], what: str) -> list[str]:
    """Tell of addresses, given or the adapter's own, that are neither encrypted nor on this machine."""
    try:
        known = plugins.option_parameters(plugins.find(group, adapter)) or {}
    except ConfigurationError:  # starting tells it
        known = {}
    own = {name: known[name].default for name in _ADDRESSES if name in known}
    hosts = {name: _plain_host(url) for name, url in (own | dict(options)).items() if name in _ADDRESSES}
    return [
        f"{name} is plain HTTP to {host}: {what} travel in clear; use https, a private line or a tunnel"
        for name, host in hosts.items() if host
    ]


def _plain_host(url: object) -> str:
    """Return the host of a plain address beyond this machine, else nothing."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        host = parts.hostname or ""
    except ValueError:  # no URL: the adapter refuses it
        return ""
    return host if parts.scheme == "http" and not _loopback(host) else ""


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong_callback(given: object, expected: str, secret: str) -> list[str]:
    """Compare the address that the provider is told with ours; the secret, also a wrong one, stays untold."""
    if not isinstance(given, str) or not given:
        return []
    if not secret:
        return ["callback_url is set, but report_secret is empty: every report is refused"]
    base, account, _ = expected.rsplit("/", 2)
    # Whatever is too short has empty parts in front.
    told = ["", "", *given.partition("?")[0].rsplit("/", 2)][-3:]
    wrong = [what for what, one, right in zip(
        ("what stands before the account", "the account", "the secret"), told, (base, account, secret), strict=True,
    ) if one != right]
    differ = "differ" if len(wrong) > 1 else "differs"
    return [f"callback_url is not {expected}<report_secret>: {listed(wrong)} {differ}"] if wrong else []


def _template_keys(settings: Settings, account: str) -> tuple[set[str], set[str]]:
    """Return every template key there is, and those of the SMS that routes bring to an account."""
    texts = settings.messages[settings.service.default_locale].get("sms")
    known = set(texts) if isinstance(texts, dict) else set()
    purposes = {
        purpose for purpose in settings.purposes for route in settings.routes
        if (not route.purposes or purpose in route.purposes) and any(account in tier for tier in route.tiers)
    }
    return known, {purpose if purpose in known else "default" for purpose in purposes}


def _templates(given: object, known: set[str], sent: set[str]) -> list[str]:
    """Compare the registered templates with the texts; from the environment they come as JSON."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:  # the adapter refuses it
            return []
    if not isinstance(given, dict):
        return []
    strange, missing = sorted(set(given) - known), sorted(sent - set(given))
    return [
        *([f"templates has {listed(strange)}, no [sms.*] of config/messages/*.toml"] if strange else []),
        *([f"templates has none for {listed(missing)}: it refuses these SMS"] if missing else []),
    ]


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
