from __future__ import annotations

from hashlib import sha256

import pytest

from otp_service.core.client import ApiKey, Client, ClientRegistry, Scope

PORTAL = Client("portal", origins=frozenset({"https://dichvucong.example", "https://dichvucong.example:8443"}))
LOCAL = Client("local", origins=frozenset({"loopback"}))
HOSTS = frozenset({"dichvucong.example", "sub.dichvucong.example"})


@pytest.mark.parametrize("origin", sorted(PORTAL.origins))
def test_its_own_origins(origin: str) -> None:
    """A registered origin may act for the client."""
    assert PORTAL.allows_origin(origin)


@pytest.mark.parametrize(
    "origin",
    ["http://dichvucong.example", "https://dichvucong.example:443", "https://dichvucong.example.evil.example",
     "https://evil.example", "https://dichvucong.example/", "https://DICHVUCONG.example", "null", "", "loopback",
     "http://localhost", "http://127.0.0.1:3000"],
)
def test_other_origins(origin: str) -> None:
    """Every other origin may not, however alike it looks."""
    assert not PORTAL.allows_origin(origin)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:3000", "https://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:80"],
)
def test_loopback_origins(origin: str) -> None:
    """A client of the demo allows any loopback origin."""
    assert LOCAL.allows_origin(origin)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost.evil.example", "http://127.0.0.1.evil.example", "file://localhost", "null", "http://[::1",
     "http://127.0.0.2", "ftp://localhost", "http://evil.example#localhost", "javascript://localhost"],
)
def test_what_only_looks_like_loopback(origin: str) -> None:
    """What is no loopback origin is not allowed, malformed ones included."""
    assert not LOCAL.allows_origin(origin)


@pytest.mark.parametrize(
    "origin", ["http://evil@localhost", "http://localhost/path", "http://localhost:port"],
)
def test_what_is_no_origin_at_all(origin: str) -> None:
    """No browser sends an origin with user, path or a port that is none: such a header is refused."""
    assert not LOCAL.allows_origin(origin)


@pytest.mark.parametrize(
    "url",
    ["https://dichvucong.example", "https://dichvucong.example/back?id=1#x", "https://DichVuCong.example/",
     "https://dichvucong.example:8443/", "https://sub.dichvucong.example/"],
)
def test_its_own_hosts(url: str) -> None:
    """A URL of a registered host is allowed over https."""
    assert PORTAL.allows_host(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    ["http://dichvucong.example/", "https://evil.example/", "https://dichvucong.example.evil.example/",
     "https://evil.example/dichvucong.example", "https://evil.example#dichvucong.example",
     "https://dichvucong.example@evil.example/", "https://user@dichvucong.example/", "https://:pw@dichvucong.example/",
     "//dichvucong.example/", "dichvucong.example", "javascript:alert(1)", "https:dichvucong.example", "",
     "https://[dichvucong.example/", "https://other.dichvucong.example/", "https://dichvucong.example./",
     "http://localhost/", "https://127.0.0.1/"],
)
def test_other_hosts(url: str) -> None:
    """Anything else is not: other hosts, plain http, a user in the URL, or no URL at all."""
    assert not PORTAL.allows_host(url, HOSTS)


@pytest.mark.parametrize(
    "url", ["https://dichvucong.example\\@evil.example/", "https://evil.example\\.dichvucong.example/",
            "https://dichvucong.example\t.evil.example/", "https://dichvucong.example\n/"],
)
def test_what_browsers_read_otherwise(url: str) -> None:
    """A URL that a browser would read as another host's is not allowed."""
    assert not PORTAL.allows_host(url, HOSTS)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [("http://localhost:3000/back", True), ("http://127.0.0.1/", True), ("https://[::1]:8443/", True),
     ("http://localhost.evil.example/", False), ("ftp://localhost/", False), ("https://evil.example/", False)],
)
def test_loopback_hosts(url: str, allowed: bool) -> None:
    """Where loopback is allowed, http to it is good enough, and nothing else is."""
    assert allowed is LOCAL.allows_host(url, frozenset({"loopback"}))


def _key(text: str, **options: object) -> ApiKey:
    return ApiKey(sha256(text.encode()).hexdigest(), frozenset({Scope.VERIFY}), **options)  # type: ignore[arg-type]


def test_keys_find_their_client() -> None:
    """A key is good for its client, scopes and kind until the second it expires."""
    client = Client("portal", keys=(_key("one"), _key("two", expires_at=100, test=True)))
    registry = ClientRegistry((client, LOCAL))
    one, two = registry.authenticate("one", 1e12), registry.authenticate("two", 99.999)
    assert one is not None
    assert two is not None
    assert ((client, False), (client, True)) == ((one.client, one.test), (two.client, two.test))
    assert frozenset({Scope.VERIFY}) == one.scopes
    assert registry.authenticate("two", 100) is None
    assert registry.authenticate("three", 0) is None
    assert registry.authenticate("", 0) is None
    assert registry.authenticate(client.keys[0].digest, 0) is None
    assert (client, None) == (registry.get("portal"), registry.get("nobody"))
    assert [client, LOCAL] == list(registry)


def test_keys_are_not_shown() -> None:
    """A client's representation tells nothing of its keys (Invariant 5)."""
    assert _key("one").digest not in repr(Client("portal", keys=(_key("one"),)))
