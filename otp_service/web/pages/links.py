"""Where a page leads: back to the portal that sent the browser here, and to nowhere else."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from otp_service.core.client import Client
from otp_service.core.verification import Links

#: What is added to a ``return_url``; the portal's back end reads the verdict of that id with its key.
RETURNED: Final = "verification_id"


def way_back(client: Client, links: Links, verification_id: str) -> str | None:
    """
    Return the portal's ``return_url`` with the verification's id, None without one.

    The host is looked at again, because a client may have lost it since the start.  A ``verification_id`` that the
    URL has already is replaced, so that there is never more than one to choose from.
    """
    url = links.return_url
    if url is None or not client.allows_host(url, client.return_hosts):
        return None
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and unquote_plus(pair.partition("=")[0]) != RETURNED]
    return urlunsplit(parts._replace(query="&".join([*kept, f"{RETURNED}={verification_id}"])))


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, as browsers write them in ``Origin``."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host.removesuffix(':').removesuffix(f':{default}')}"


def form_targets(client: Client, back: str | None) -> str:
    """
    Return the sources of ``form-action`` beside ``'self'``.

    Chromium applies that directive to every redirect that follows a form's POST: to the way back, and to what the
    portal makes of it, which is why its other registered hosts stand here as well.
    """
    if back is None:
        return ""
    hosts = [f"https://{host}" for host in sorted(client.return_hosts) if host != "loopback"]
    return "".join(f" {origin}" for origin in dict.fromkeys((origin_of(back), *hosts)))
