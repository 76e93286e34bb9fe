"""``otp-service webhooks`` on a real installation: see what was given up, tell it again, try a receiver."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from support.http import Api
from support.processes import Installation, eventually
from support.sms_gateway import ScriptedGateway

from otp_service.cli.webhooks import ADVICE
from otp_service.core.webhook_secrets import new_secret

pytestmark = pytest.mark.slow

#: Registered, https, and on this machine, where no webhook goes.
INSIDE = "https://localhost:9443/otp?secret=in-the-query"


async def test_operating_webhooks(tmp_path: Path) -> None:
    """What was given up is listed with its last word, told again by id or all at once, and never shows an address."""
    secret = new_secret()
    with ScriptedGateway() as gateway:
        async with Installation(tmp_path / "site", gateway_url=gateway.url) as site:
            (tmp_path / "secrets").write_text(secret)
            site.settings |= {
                "CLIENTS__PORTAL__WEBHOOK_HOSTS": "localhost",
                "CLIENTS__PORTAL__WEBHOOK_SECRETS_FILE": str(tmp_path / "secrets"),
            }
            serve = await site.serve()
            async with Api(serve.base) as api:
                ids = []
                for at in range(3):
                    started = await api.start(f"070000000{at}", end_user_ip=f"203.0.113.{at}", callback_url=INSIDE)
                    assert (201, "pending") == started.said
                    await api.call("DELETE", f"/v1/verifications/{started['id']}")
                    ids.append(started["id"])
            listed = await site.command("webhooks", "list", "portal")
            assert re.search(r"portal +│ 3 +│ +(-|\d+ s) +│ 0 ", listed.stdout)
            assert re.search(r"portal, test keys +│ 0 ", listed.stdout)
            for one in ids:
                assert re.search(rf"{one} +│ cancelled │ \S+Z │ now +│ 0 +│ - ", listed.stdout)
            worker = await site.worker(CLIENTS__PORTAL__WEBHOOK_HOSTS="elsewhere.example.vn")
            await eventually(lambda: len(worker.events("webhook given up")) == 3, "all given up")
            await worker.stop()
            listed = await site.command("webhooks", "list")
            assert 0 == listed.returncode
            for one in ids:
                assert re.search(rf"{one} +│ cancelled │ \S+Z │ 1 +│ host_not_registered", listed.stdout)
            assert [] == re.findall("secret=|in-the-query|0700000000", listed.stdout + worker.stdout)

            again = await site.command("webhooks", "replay", "portal", ids[0])
            assert (0, "1 queued again.\n") == (again.returncode, again.stdout)
            twice = await site.command("webhooks", "replay", "portal", ids[0], ids[1], "no-such-id")
            assert (2, "1 queued again.\n") == (twice.returncode, twice.stdout)
            assert f"not among those given up: {ids[0]}, no-such-id;" in twice.stderr
            everything = await site.command("webhooks", "replay", "portal", "--all")
            assert (0, "1 queued again.\n") == (everything.returncode, everything.stdout)
            worker = await site.worker()
            await eventually(lambda: len(worker.events("webhook not delivered")) == 3, "all tried")
            assert {"address_refused"} == {event["result"] for event in worker.events("webhook not delivered")}
            await worker.stop()
            waiting = await site.command("webhooks", "list", "portal", "--most", "2")
            row = r"│ cancelled │ \S+Z │ (?:now|in \d+ (?:s|min)) +│ [1-9] +│ address_refused"
            assert (0, 2) == (waiting.returncode, len(re.findall(row, waiting.stdout)))
            assert "portal: waiting, 2 of 3, the next first; --most shows more" in waiting.stdout
            misused = await asyncio.gather(*(
                site.command("webhooks", *words)
                for words in (["replay", "portal"], ["replay", "portal", "x", "--all"], ["enable", "nobody"])
            ))
            assert {2} == {one.returncode for one in misused}
            enabled = await site.command("webhooks", "enable", "portal")
            assert (0, True) == (enabled.returncode, enabled.stdout.startswith("0 in use again."))


async def test_trying_a_receiver(tmp_path: Path) -> None:
    """``try`` goes the way of a verdict, guard included, and says in a word what came back."""
    async with Installation(tmp_path / "site") as site:
        site.settings |= {
            "CLIENTS__PORTAL__WEBHOOK_HOSTS": "localhost", "CLIENTS__PORTAL__WEBHOOK_SECRETS": new_secret(),
        }
        for url, said in ((INSIDE, "address_refused"), ("https://other.example.vn/", "host_not_registered"),
                          ("http://localhost:9/", "host_not_registered")):
            tried = await site.command("webhooks", "try", "portal", url)
            assert (1, f"{said}\n  {ADVICE[said]}\n") == (tried.returncode, tried.stdout)
        tried = await site.command("webhooks", "try", "other", INSIDE)
        assert (1, "host_not_registered") == (tried.returncode, tried.stdout.splitlines()[0])
        for words in (["nobody", INSIDE], ["portal", "-"]):
            assert 2 == (await site.command("webhooks", "try", *words)).returncode


async def test_a_new_secret_is_one(tmp_path: Path) -> None:
    """The secret that the command prints signs what the reference library believes; of a key pair the halves fit."""
    async with Installation(tmp_path / "site") as site:
        made = await site.command("webhooks", "secret")
        (secret,) = set(re.findall(r"whsec_[A-Za-z0-9+/=]+", made.stdout))
        assert 32 == len(Webhook(secret)._whsecret)
        pair = await site.command("webhooks", "secret", "--key-pair")
        assert 1 == len(set(re.findall(r"whsk_[A-Za-z0-9+/=]+", pair.stdout)))
        assert 1 == len(set(re.findall(r"whpk_[A-Za-z0-9+/=]+", pair.stdout)))
