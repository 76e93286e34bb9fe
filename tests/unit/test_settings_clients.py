"""The settings of clients and their keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from settings_harness import copied, digest, key, load, portal, problems

from otp_service.core.client import Scope
from otp_service.core.errors import ConfigurationError
from otp_service.settings import load_settings
from otp_service.settings.clients import new_key

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped configuration."""
    return copied(tmp_path)


@pytest.fixture
def hanoi(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the host seven hours ahead of UTC."""
    monkeypatch.setenv("TZ", "<+07>-7")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@time_machine.travel(NOW, tick=False)
def test_a_client_is_read_whole() -> None:
    """Every member arrives in the core's client, and its key opens it until it expires."""
    settings = load(portal(
        origins=["https://portal.example.vn", "http://localhost:3000"], webotp_host="portal.example.vn",
        hotline="1900 0000", return_hosts=["portal.example.vn"], webhook_hosts=["api.example.vn"],
        keys=[key("secret", scopes=["verify", "metrics"])],
    ))
    (client,) = settings.clients()
    registry = settings.clients()
    expiry_s = datetime(2027, 1, 1, tzinfo=UTC).timestamp()

    assert ("portal", "Cổng", frozenset({"registration"})) == (client.name, client.display_name, client.purposes)
    assert {"https://portal.example.vn", "http://localhost:3000"} == client.origins
    assert ("portal.example.vn", "1900 0000") == (client.webotp_host, client.hotline)
    assert {"portal.example.vn"} == client.return_hosts
    assert {"api.example.vn"} == client.webhook_hosts
    credential = registry.authenticate("secret", expiry_s - 1)
    assert credential is not None
    assert {Scope.VERIFY, Scope.METRICS} == credential.scopes
    assert not credential.test
    assert registry.authenticate("secret", expiry_s) is None
    assert registry.authenticate("Secret", expiry_s - 1) is None


def test_a_key_verifies_reads_and_redeems_unless_told_otherwise() -> None:
    """The scopes a portal needs, and no more."""
    (client,) = load(portal(keys=[key(test=True)])).clients()

    assert {Scope.VERIFY, Scope.READ, Scope.REDEEM} == client.keys[0].scopes
    assert client.keys[0].test


@pytest.mark.parametrize(("moment", "written"), [
    (datetime(2027, 1, 31, tzinfo=UTC), "2027-01-31"),
    (datetime(2027, 1, 31, 12, tzinfo=UTC), "2027-01-31T12:00:00"),
    (datetime(2027, 1, 31, 5, tzinfo=UTC), "2027-01-31T12:00:00+07:00"),
])
def test_expiry_is_a_date_or_a_time_in_utc(folder: Path, hanoi: None, moment: datetime, written: str) -> None:
    """A date means its midnight; a time without offset is UTC, wherever the host stands."""
    del hanoi
    (folder / "clients.toml").write_text(
        f'[clients.portal]\ndisplay_name = "x"\n'
        f'[[clients.portal.keys]]\ndigest = "{digest("a")}"\nexpires = {written}\n',
        encoding="utf-8",
    )
    (client,) = load_settings(folder, environ={}).clients()

    assert moment.timestamp() == client.keys[0].expires_at


@time_machine.travel(NOW, tick=False)
def test_two_live_and_two_test_keys_are_the_most() -> None:
    """A third unexpired key of one kind is refused; an expired one does not count."""
    two_of_each = [key("a"), key("b"), key("c", test=True), key("d", test=True)]
    expired = key("e", expires=NOW)

    (client,) = load(portal(keys=[*two_of_each, expired])).clients()
    assert 5 == len(client.keys)
    for third, kind in ((key("e"), "live"), (key("e", test=True), "test")):
        assert [f"clients.portal.keys: 3 unexpired {kind} keys, at most 2: remove the oldest"] == problems(
            portal(keys=[*two_of_each, third]),
        )


@pytest.mark.parametrize(("path", "change"), [
    ("digest", {"digest": "a" * 64}), ("digest", {"digest": "sha256:" + "A" * 64}), ("digest", {"digest": "sha256:"}),
    ("digest", {"digest": "otp_live_0123456789"}),
    ("expires", {"expires": "2027-01-31"}), ("expires", {"expires": 5}), ("expires", {"expires": None}),
    ("scopes", {"scopes": []}), ("test", {"test": "perhaps"}), ("unknown", {"unknown": 1}),
])
def test_a_bad_key_is_refused(path: str, change: dict[str, Any]) -> None:
    """Each guard of a key tells its path and never the value."""
    (told,) = problems(portal(keys=[key(**change)]))

    assert told.startswith(f"clients.portal.keys[0].{path}: ")


def test_a_key_without_expiry_is_refused() -> None:
    """Every key ends some day."""
    assert ["clients.portal.keys[0].expires: missing"] == problems(portal(keys=[{"digest": digest("a")}]))


def test_a_key_belongs_to_one_client_once() -> None:
    """The same digest twice would let one portal act as another."""
    tree = portal(keys=[key("a")])
    tree["clients"]["other"] = {"display_name": "x", "keys": [key("a")]}

    (told,) = problems(tree)

    assert "clients.other.keys[0].digest: this key is listed before: each key belongs to one client, once" == told


@pytest.mark.parametrize("origin", [
    "https://portal.example.vn", "https://portal.example.vn:8443", "http://127.0.0.1:3000", "http://localhost",
    "http://[::1]:3000",
])
def test_an_origin_is_taken_as_browsers_send_it(origin: str) -> None:
    """TLS anywhere, http on loopback."""
    (client,) = load(portal(origins=[origin])).clients()

    assert {origin} == client.origins


@pytest.mark.parametrize("origin", [
    "http://portal.example.vn", "https://portal.example.vn/", "https://portal.example.vn/a", "portal.example.vn",
    "https://Portal.example.vn", "HTTPS://portal.example.vn", "https://portal.example.vn:443", "http://localhost:80",
    "https://u@portal.example.vn", "https://portal.example.vn?", "https://portal.example.vn#", "https://*.example.vn",
    "*", "null", "loopback", "", "https://", "https://a b", "https://x:port", "file:///x", "https://portal.example.vn ",
    "https://portal.example.vn\n",
])
def test_any_other_origin_is_refused(origin: str) -> None:
    """What a browser never sends would never match; what it could send from anywhere must not."""
    (told,) = problems(portal(origins=[origin]))

    assert told.startswith("clients.portal.origins[0]: an origin is scheme://host[:port]")


@pytest.mark.parametrize("name", ["webotp_host", "return_hosts", "webhook_hosts"])
@pytest.mark.parametrize("host", [
    "https://portal.example.vn", "portal.example.vn:443", "portal.example.vn/", "Portal.example.vn", "*.example.vn",
    "", "a..b", "-a.vn", "a" * 64, "a b", "portal.example.vn\n", "đ.vn",
])
def test_a_host_is_a_bare_name(name: str, host: str) -> None:
    """No scheme, port, path or pattern."""
    (told,) = problems(portal(**{name: host if name == "webotp_host" else [host]}))

    assert told.startswith(f"clients.portal.{name}: a host is a bare name")


@pytest.mark.parametrize("name", ["", "Portal", "1a", "a_b", "-a", "a" * 25, "đ"])
def test_a_bad_client_name_is_refused(name: str) -> None:
    """A name is the token's audience and a store field."""
    told = problems({"clients": {name: {"display_name": "x"}}})

    assert 1 == len(told)
    assert "a client's name has" in told[0]


@pytest.mark.parametrize("test", [False, True])
@time_machine.travel(NOW, tick=False)
def test_a_new_key_works_once_its_block_is_pasted(folder: Path, test: bool) -> None:
    """The printed key opens the client of the printed block until its days are over, and is not in the block."""
    made, block = new_key("tinh-portal", test=test, days=30)
    (folder / "clients.toml").write_text(block, encoding="utf-8")
    registry = load_settings(folder, environ={}).clients()
    credential = registry.authenticate(made, (NOW + timedelta(days=29)).timestamp())

    assert made.startswith("otp_test_" if test else "otp_live_")
    assert 43 == len(made) - len("otp_live_")
    assert made not in block
    assert credential is not None
    assert ("tinh-portal", test) == (credential.client.name, credential.test)
    assert {Scope.VERIFY, Scope.READ, Scope.REDEEM} == credential.scopes
    assert registry.authenticate(made, (NOW + timedelta(days=30)).timestamp()) is None
    assert made != new_key("tinh-portal", test=test, days=30)[0]


def test_a_new_key_needs_a_good_name() -> None:
    """A block that would be refused is not printed."""
    with pytest.raises(ConfigurationError, match=r"clients\.Portal: a client's name has"):
        new_key("Portal", test=False, days=1)


def test_a_purpose_with_errors_is_still_known_to_clients() -> None:
    """One mistake gives one problem."""
    (told,) = problems(portal() | {"purposes": {"registration": {"max_attempts": 99}}})

    assert told.startswith("purposes.registration.max_attempts: ")
