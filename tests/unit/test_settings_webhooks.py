"""The settings of a client's webhooks: what signs them, where they go, and how what is wrong with either is told."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from settings_harness import load, portal, problems

from otp_service.core.client import Client, ProofMode
from otp_service.core.webhook_secrets import new_secret

FIRST, SECOND = new_secret(), new_secret()
KEY_PAIR = "whsk_" + b64encode(b"s" * 32).decode()


def only(**members: object) -> Client:
    """Return the one client of settings that are good."""
    (client,) = load(portal(**members)).clients()
    return client


def refused(**members: object) -> str:
    """Return what is said of settings that are refused; it never repeats a secret."""
    (told,) = problems(portal(**members))
    assert FIRST not in told
    return told


def test_secrets_in_the_settings() -> None:
    """Two secrets of a kind sign while one replaces the other, an Ed25519 key beside them."""
    assert (FIRST, SECOND, KEY_PAIR) == only(webhook_secrets=[FIRST, SECOND, KEY_PAIR]).webhook_secrets
    assert () == only().webhook_secrets


def test_secrets_in_a_file(tmp_path: Path) -> None:
    """One secret a line; a byte order mark, empty lines and comments are passed over."""
    path = tmp_path / "secrets"
    path.write_text(f"\ufeff# since May\n{FIRST}\n\n  {SECOND}  \n", encoding="utf-8")
    assert (FIRST, SECOND) == only(webhook_secrets_file=str(path)).webhook_secrets


@pytest.mark.parametrize(("content", "said"), [
    (None, "cannot be read (FileNotFoundError)"), (b"\xff\xfe", "cannot be read (UnicodeDecodeError)"),
    (b"", "holds no secret"), (b"# none yet\n", "holds no secret"), (b"hunter2", "a webhook secret is"),
    (FIRST.encode() + b"\n" + FIRST.encode(), "the same secret twice"),
])
def test_a_bad_file_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Whatever is wrong with the file is one sentence that names it, also without a webhook_url."""
    path = tmp_path / "secrets"
    if content is not None:
        path.write_bytes(content)

    told = refused(webhook_secrets_file=str(path))

    assert "clients.portal: webhook_secrets_file: " in told
    assert said in told
    assert "hunter2" not in told


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A mounted secret that is a folder is told like a missing one."""
    assert "cannot be read (IsADirectoryError)" in refused(webhook_secrets_file=str(tmp_path))


@pytest.mark.parametrize("secret", [
    "hunter2", "whsec_", "whsec_!!!!", "whsec_" + b64encode(b"x" * 23).decode(),
    "whsec_" + b64encode(b"x" * 65).decode(), "whsk_" + b64encode(b"x" * 31).decode(),
    "WHSEC_" + b64encode(b"x" * 32).decode(),
])
def test_a_bad_secret_is_refused(secret: str) -> None:
    """A secret has its prefix and its length."""
    assert "webhook secret" in refused(webhook_secrets=[secret])


def test_three_of_a_kind_are_refused() -> None:
    """Two replace each other; a third is one that was forgotten."""
    assert "at most 2 secrets of a kind" in refused(webhook_secrets=[FIRST, SECOND, new_secret()])


def test_where_every_verdict_goes() -> None:
    """A client's own address is one of its hosts, and there is something to sign with."""
    url = "https://api.example.vn/otp?portal=1"
    client = only(webhook_url=url, webhook_hosts=["api.example.vn"], webhook_secrets=[FIRST])
    assert (url, ProofMode.ABUSE) == (client.webhook_url, client.proof)


@pytest.mark.parametrize(("url", "secrets", "said"), [
    ("https://other.example.vn/otp", [FIRST], "at one of webhook_hosts"),
    ("http://api.example.vn/otp", [FIRST], "https"),
    ("https://api.example.vn/#otp", [FIRST], "without blank, quote or #"),
    ("https://api.example.vn/<otp>", [FIRST], "without blank, quote or #"),
    ("https://api.example.vn:22/otp", [FIRST], "port 443, or one from 1024 up"),
    ("https://api.example.vn/otp", [], "nothing to sign with"),
])
def test_a_bad_address_is_refused(url: str, secrets: list[str], said: str) -> None:
    """What could never be delivered or believed refuses to start."""
    assert said in refused(webhook_url=url, webhook_hosts=["api.example.vn"], webhook_secrets=secrets)


@pytest.mark.parametrize("name", ["return_hosts", "webhook_hosts"])
def test_loopback_is_the_demos_own(name: str) -> None:
    """No client of the settings leads browsers or webhooks to this machine."""
    assert "no host is called loopback" in refused(**{name: ["loopback"]})


def test_when_a_proof_is_needed() -> None:
    """A client says when a start needs a proof of work."""
    assert ProofMode.ALWAYS is only(proof="always").proof
    assert "proof" in refused(proof="sometimes")
