"""The sections about the process itself: where it listens, what it keeps, whom it calls."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationInfo, field_validator

from otp_service.core.sms_length import GSM7_BASIC
from otp_service.settings.base import Listed, Section, checked_url, known

_ENTRY_POINT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_STORE_SCHEMES = ("redis://", "rediss://", "valkey://", "valkeys://", "unix://")


def _checked_plugin(name: str) -> str:
    if not _ENTRY_POINT.fullmatch(name) and not _CLASS.fullmatch(name):
        raise ValueError('a plugin is the name of an entry point, such as "console", or "module:Class"')
    return name


def _fill_config_dir(options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """Put the configuration folder in place of ``{config_dir}``, so that paths hold from any working directory."""
    if not options:
        return options  # a section that is left out is made without a context
    folder = str(known(info).config_dir)
    return {
        name: value.replace("{config_dir}", folder) if isinstance(value, str) else value
        for name, value in options.items()
    }


Plugin = Annotated[str, AfterValidator(_checked_plugin)]
Options = Annotated[dict[str, Any], AfterValidator(_fill_config_dir)]


class ServiceSection(Section):
    """``[service]``: who speaks, and in which language."""

    brand: str = Field("Cong DVC", min_length=1, max_length=20)
    issuer: Annotated[str, AfterValidator(checked_url)] = "http://127.0.0.1:8080"
    default_locale: Literal["vi", "en"] = "vi"

    @field_validator("brand")
    @classmethod
    def _gsm7(cls, brand: str) -> str:
        if brand != brand.strip() or any(char not in GSM7_BASIC or not char.isprintable() for char in brand):
            raise ValueError("only characters of the GSM-7 alphabet: an accent would double the price of every SMS")
        return brand


class ServerSection(Section):
    """``[server]``: the two listeners.  ``private_port`` is -1 when that listener is off."""

    host: str = Field("127.0.0.1", min_length=1, max_length=253)
    port: int = Field(8080, ge=0, le=65535)
    private_host: str = Field("127.0.0.1", min_length=1, max_length=253)
    private_port: Annotated[
        int, BeforeValidator(lambda value: -1 if value == "none" else value), Field(ge=-1, le=65535),
    ] = 9464
    public_url: Annotated[str, AfterValidator(checked_url)] = "http://127.0.0.1:8080"
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], Listed] = ()
    max_body_bytes: int = Field(16384, ge=1024, le=1_048_576)
    drain_s: float = Field(2.0, ge=0, le=60)
    max_waiters: int = Field(10_000, ge=0, le=1_000_000)

    @field_validator("private_port")
    @classmethod
    def _own_port(cls, private_port: int, info: ValidationInfo) -> int:
        if private_port > 0 and private_port == info.data.get("port"):
            raise ValueError("the private listener needs a port of its own")
        return private_port

    @field_validator("trusted_proxies")
    @classmethod
    def _not_everyone(cls, networks: tuple[IPvAnyNetwork, ...]) -> tuple[IPvAnyNetwork, ...]:
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("trusting every address lets anyone choose the address limits are counted by")
        return networks


class StoreSection(Section):
    """``[store]``: Valkey or Redis, and how patient its callers are."""

    url: str = Field("", repr=False)
    data_dir: Path = Path(".data")
    connections: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(2.0, ge=0.05, le=30)
    retry_total_s: float = Field(5.0, ge=0, le=30)
    queue_cap: int = Field(100_000, ge=1, le=10_000_000)

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: str) -> str:
        if url and not url.startswith(_STORE_SCHEMES):
            raise ValueError(f"empty for the embedded store, or a URL that starts with {', '.join(_STORE_SCHEMES)}")
        return url


class KeysSection(Section):
    """``[keys]``: the file with the secrets; None means ``keys.json`` in the data folder."""

    file: Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)] = None


class ProofSection(Section):
    """``[proof]``: how much work a browser does where a proof is asked for."""

    cost: int = Field(300, ge=1, le=10_000)


def _as_bool(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


class LoggingSection(Section):
    """``[logging]``: how much, and whether as JSON lines (``auto``: unless a person watches a terminal)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: Annotated[Literal["auto", True, False], BeforeValidator(_as_bool)] = Field("auto", alias="json")


def is_loopback(host: str) -> bool:
    """Whether a listener on this host is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name that may resolve to anything
