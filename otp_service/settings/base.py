"""What every section of the settings shares."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from otp_service.core.client import LOOPBACK_HOSTS

#: The demo's API key.  It stands in the README, so it must never open anything but the demo.
DEMO_KEY: Final = "demo-portal-key"
DEMO_DIGEST: Final = sha256(DEMO_KEY.encode()).hexdigest()
#: What the demo signs its webhooks with, as well known as its key: nobody else may.
DEMO_WEBHOOK_SECRET: Final = "whsec_" + b64encode(b"demo-portal-webhook-secret").decode()

_PERIOD = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class Section(BaseModel):
    """One table of the settings: unknown names are refused, and no error repeats a value, which may be a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


@dataclass(slots=True)
class Known:
    """
    What a section must know of the others; it travels as the validation context.

    Names are taken from the raw tables, so that a reference is checked even while what it names has errors.
    ``digests`` and ``overrides`` collect what was seen, because neither may appear twice.
    """

    config_dir: Path
    now_s: float
    purposes: frozenset[str]
    clients: frozenset[str]
    digests: set[str] = field(default_factory=set)
    overrides: set[tuple[str, str]] = field(default_factory=set)


def known(info: ValidationInfo) -> Known:
    """Return the validation's context."""
    if not isinstance(info.context, Known):
        raise TypeError("settings are validated with a Known context")
    return info.context


def parse_period(value: Any) -> Any:
    """Turn ``60s``, ``5m``, ``24h`` or ``30d`` into seconds; numbers pass, all else is refused."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('a period is text such as "60s", "5m", "24h" or "30d", or a number of seconds')  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    if not isinstance(value, str):
        return value
    text = value.strip()
    if match := _PERIOD.fullmatch(text):
        return int(match[1]) * _SECONDS[match[2]]
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):  # the environment knows only text
        return float(text)
    raise ValueError('a period is a whole number with its unit: "60s", "5m", "24h" or "30d"')


def split_list(value: Any) -> Any:
    """Turn the comma-separated text of an environment variable into a list; lists pass."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


#: Seconds, written as a period.
Period = Annotated[float, BeforeValidator(parse_period)]

#: A list in TOML, comma-separated text in the environment.
Listed = BeforeValidator(split_list)


def checked_host(host: str) -> str:
    """Accept a bare host name in lower case."""
    if not _HOST.fullmatch(host):
        raise ValueError("a host is a bare name in lower case, without scheme, port or path: portal.example.vn")
    return host


def checked_hosts(hosts: Collection[str]) -> frozenset[str]:
    """Accept a set of host names; ``loopback``, which stands for this machine, is the demo's own."""
    if "loopback" in hosts:
        raise ValueError("no host is called loopback: name the hosts of the portal")
    return frozenset(map(checked_host, hosts))


def checked_origin(origin: str) -> str:
    """Accept an origin exactly as a browser sends it (RFC 6454 section 6.2): ``scheme://host[:port]``."""
    wanted = "an origin is scheme://host[:port] in lower case, without path: https, or http for loopback"
    parts, host, port = _split(origin, wanted)
    shown = f"[{host}]" if ":" in host else host
    default_port = 443 if parts.scheme == "https" else 80
    exact = f"{parts.scheme}://{shown}" + ("" if port in {None, default_port} else f":{port}")
    if origin != exact:
        raise ValueError(wanted)
    return origin


def checked_url(url: str) -> str:
    """Accept an absolute URL to which paths are appended: no query, no fragment, no slash at the end."""
    wanted = "a URL like https://otp.example.vn: https, or http for loopback, without query or slash at the end"
    _split(url, wanted)
    if set(url) & set("?# ") or url.endswith("/") or not (url.isascii() and url.isprintable()):
        raise ValueError(wanted)
    return url


def _split(url: str, wanted: str) -> tuple[SplitResult, str, int | None]:
    """Split a URL; raise ``wanted`` unless it is https, or http to loopback, and names no user."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(wanted) from None
    loopback = host in LOOPBACK_HOSTS
    if parts.scheme not in ({"http", "https"} if loopback else {"https"}) or "@" in parts.netloc:
        raise ValueError(wanted)
    if not loopback and not _HOST.fullmatch(host):
        raise ValueError(wanted)
    return parts, host, port
