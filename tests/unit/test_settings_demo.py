"""The demo's settings: everybody knows its key, so nothing but loopback and no real SMS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from settings_harness import key, load, portal, problems

from otp_service.core.client import Scope
from otp_service.core.errors import ConfigurationError
from otp_service.core.webhook_secrets import checked_secrets, new_secret
from otp_service.settings import DEMO_CLIENT, DEMO_KEY, demo_settings
from otp_service.settings.base import DEMO_WEBHOOK_SECRET
from otp_service.settings.demo import PORTAL_CLIENT, PortalAccess, demo_clients, with_sample_portal


def test_the_demo_has_its_client_on_loopback(tmp_path: Path) -> None:
    """The published key opens everything, on 127.0.0.1, with the fake gateway and its own data and keys."""
    demo = demo_settings(load({"keys": {"file": "/run/keys.json"}}), 8081, tmp_path)
    credential = demo.clients().authenticate(DEMO_KEY, 0)

    assert "demo-portal-key" == DEMO_KEY
    assert credential is not None
    assert (DEMO_CLIENT, frozenset(Scope), False) == (credential.client.name, credential.scopes, credential.test)
    assert set(demo.purposes) == credential.client.purposes
    assert credential.client.allows_origin("http://localhost:5173")
    assert not credential.client.allows_origin("https://portal.example.vn")
    assert {"loopback"} == credential.client.return_hosts == credential.client.webhook_hosts
    assert ("127.0.0.1", 8081) == (demo.server.host, demo.server.port)
    assert "http://127.0.0.1:8081" == demo.service.issuer == demo.server.public_url
    assert tmp_path / "keys.json" == demo.key_path
    assert tmp_path == demo.store.data_dir


def test_the_sample_portal_is_a_client_like_any_other(tmp_path: Path) -> None:
    """It may start what a portal may, read and redeem, on loopback; it attests nothing and reads no metrics."""
    access = PortalAccess()
    demo = with_sample_portal(demo_settings(load(), 8081, tmp_path), access)
    credential = demo.clients().authenticate(access.api_key, 0)

    assert credential is not None
    assert PORTAL_CLIENT == credential.client.name
    assert {Scope.VERIFY, Scope.READ, Scope.REDEEM} == credential.scopes
    assert (access.webhook_secret,) == checked_secrets(credential.client.webhook_secrets)
    assert set(demo.purposes) == credential.client.purposes
    client = credential.client
    assert {"loopback"} == client.return_hosts == client.webhook_hosts == client.origins
    assert client.hotline
    assert demo.clients().authenticate(DEMO_KEY, 0) is not None


def test_the_sample_portal_s_access_is_new_and_silent() -> None:
    """Two starts of the demo share no key and no secret, and neither is in a repr (Invariant 5)."""
    one, other = PortalAccess(), PortalAccess()

    assert 4 == len({one.api_key, other.api_key, one.webhook_secret, other.webhook_secret})
    assert "PortalAccess()" == repr(one)


def test_the_demo_s_key_opens_nothing_outside() -> None:
    """Without the demo nobody has heard of it."""
    assert load().clients().authenticate(DEMO_KEY, 0) is None


def test_the_demo_s_digest_is_refused_in_a_file() -> None:
    """Everybody knows that key."""
    assert ["clients.portal.keys[0].digest: this is the digest of the demo's key, which everybody knows"] == problems(
        portal(keys=[key(DEMO_KEY)]),
    )


def test_the_demo_s_webhooks_are_signed_with_what_is_published(tmp_path: Path) -> None:
    """Whoever tries the demo can check its webhooks: the secret is the same at every start."""
    client = demo_settings(load(), 8081, tmp_path).clients().get(DEMO_CLIENT)

    assert client is not None
    assert (DEMO_WEBHOOK_SECRET,) == checked_secrets(client.webhook_secrets)


@pytest.mark.parametrize("secret", [
    DEMO_WEBHOOK_SECRET, DEMO_WEBHOOK_SECRET.replace("Q=", "R="),
], ids=["as printed", "the same bytes in other letters"])
def test_the_demo_s_webhook_secret_is_refused_elsewhere(secret: str, tmp_path: Path) -> None:
    """Everybody could sign with it: no client may have it, in a list or in a file, with or without a webhook_url."""
    refusal = "this is the webhook secret of the demo, which everybody knows"
    (tmp_path / "secrets").write_text(f"{new_secret()}\n{secret}\n")

    assert [f"clients.portal.webhook_secrets: {refusal}"] == problems(portal(webhook_secrets=[secret]))
    for more in ({}, {"webhook_hosts": ["a.example.vn"], "webhook_url": "https://a.example.vn/"}):
        told = problems(portal(webhook_secrets_file=str(tmp_path / "secrets"), **more))
        assert [f"clients.portal: webhook_secrets_file: {refusal}"] == told


def test_whoever_looks_at_a_demo_knows_its_clients() -> None:
    """The demo's own client as it is, and the sample portal without key and secret: its process alone has them."""
    own, sample = demo_clients(load())

    assert (DEMO_CLIENT, (DEMO_WEBHOOK_SECRET,)) == (own.name, own.webhook_secrets)
    assert (PORTAL_CLIENT, (), ()) == (sample.name, sample.webhook_secrets, sample.keys)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_the_demo_takes_any_loopback_host(host: str, tmp_path: Path) -> None:
    """And listens on 127.0.0.1 all the same."""
    settings = load({"server": {"host": host, "private_host": host}})

    assert "127.0.0.1" == demo_settings(settings, 8080, tmp_path).server.host


@pytest.mark.parametrize("host", [
    "0.0.0.0", "::", "192.0.2.1", "otp.example.vn", "localhost.example.vn", "127.0.0.1.example.vn",
])
@pytest.mark.parametrize("where", ["host", "private_host"])
def test_the_demo_refuses_other_hosts(where: str, host: str, tmp_path: Path) -> None:
    """Nothing but loopback may reach a service whose key is published."""
    with pytest.raises(ConfigurationError, match=rf"server\.{where}: the demo listens on loopback alone"):
        demo_settings(load({"server": {where: host}}), 8080, tmp_path)


@pytest.mark.parametrize("tree", [
    {"sending": {"gateways": ["esms"]}},
    {"sending": {"gateways": ["fake", "console esms"]}},
    {"sending": {"gateways": ["mine"]}, "gateways": {"mine": {"adapter": "my.module:Gateway"}}},
    {"sending": {"gateways": ["mine"]}, "gateways": {"mine": {"adapter": "sms_adapters.fake:FakeGateway"}}},
    {"sending": {"gateways": ["fake"]}, "gateways": {"fake": {"adapter": "esms"}}},
    {"routes": [{"purposes": ["sign_in"], "gateways": ["esms"]}]},
], ids=str)
def test_the_demo_refuses_real_gateways(tree: dict[str, Any], tmp_path: Path) -> None:
    """Any adapter but the two that reach no phone may be real, wherever it is named and whatever its account's name."""
    with pytest.raises(ConfigurationError, match=r"sending\.gateways: the demo refuses real gateways"):
        demo_settings(load(tree), 8080, tmp_path)


def test_the_demo_takes_gateways_that_reach_no_phone(tmp_path: Path) -> None:
    """An account of another name at one of the two adapters is fine, and so is any that no route names."""
    settings = load({
        "sending": {"gateways": ["fake mine"]}, "gateways": {"mine": {"adapter": "console"}, "esms": {}},
    })

    assert {"fake"} == set(demo_settings(settings, 8080, tmp_path).gateways)


def test_the_demo_refuses_another_store(tmp_path: Path) -> None:
    """Its inbox shows every code that is sent."""
    settings = load({"store": {"url": "redis://:S3cret@store"}})

    with pytest.raises(ConfigurationError, match=r"store\.url: the demo has a store of its own") as refused:
        demo_settings(settings, 8080, tmp_path)
    assert "S3cret" not in str(refused.value)


def test_the_demo_tells_all_problems_at_once(tmp_path: Path) -> None:
    """Hosts, store, gateway and clients that have the names of the demo's own."""
    settings = load({
        "server": {"host": "0.0.0.0", "private_host": "0.0.0.0"}, "store": {"url": "redis://store"},
        "sending": {"gateways": "esms"},
        "clients": {DEMO_CLIENT: {"display_name": "x"}, PORTAL_CLIENT: {"display_name": "x"}},
    })

    with pytest.raises(ConfigurationError) as refused:
        demo_settings(settings, 8080, tmp_path)
    assert 7 == len(str(refused.value).splitlines())


def test_the_demo_sends_through_its_own_gateway_alone(tmp_path: Path) -> None:
    """Whatever the routes say, the fake gateway carries everything; its callback's secret is new for each start."""
    settings = load({
        "sending": {"gateways": ["console=3", "fake"], "attempts": 5},
        "routes": [{"carriers": ["viettel"], "gateways": ["console"]}],
    })
    demo, other = (demo_settings(settings, 8080, tmp_path) for _ in "12")

    assert ("fake",) == demo.route_book().gateways == demo.sending.gateways
    assert 5 == demo.sending.attempts
    assert "fake" == demo.gateways["fake"].adapter
    secrets = {one.gateways["fake"].report_secret for one in (demo, other)}
    assert 2 == len(secrets)
    assert {48} == {len(secret) for secret in secrets}


@pytest.mark.parametrize(("expected", "written"), [
    ({}, {}),
    ({"url": "http://127.0.0.1:1", "timeout_s": 2}, {"options": {"url": "http://127.0.0.1:1", "timeout_s": 2}}),
    ({}, {"options": {"report_key": "nobody signs"}}),
    ({}, {"adapter": "console", "options": {"stream": "x"}}),
], ids=["none", "its own", "the inbox does not sign", "another adapter's"])
def test_the_demo_s_gateway_has_its_own_options(
    expected: dict[str, Any], written: dict[str, Any], tmp_path: Path,
) -> None:
    """What was written for the fake gateway reaches it; what was written for another adapter does not."""
    demo = demo_settings(load({"gateways": {"fake": written}}), 8080, tmp_path)

    assert expected == demo.gateways["fake"].options


def test_the_demo_s_inbox_may_report(tmp_path: Path) -> None:
    """It calls from loopback, whatever networks were written."""
    fake = {"report_networks": ["203.0.113.0/24"], "rate": 5}
    demo = demo_settings(load({"gateways": {"fake": fake}}), 8080, tmp_path)

    assert () == demo.gateways["fake"].report_networks
    assert 5 == demo.gateways["fake"].rate
