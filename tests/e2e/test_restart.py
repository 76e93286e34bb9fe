"""The demo stopped and started again, and killed and started again: it goes on with what was there."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.demo import Demo
from support.http import OWNER_ID, OWNER_PHONE, wrong
from support.processes import Installation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL of everything"])
async def test_goes_on(tmp_path: Path, end: str) -> None:
    """Codes, attempts, verdicts and tokens outlive the end of the demo, however it ends (Invariants 1, 2 and 6)."""
    async with Installation(tmp_path / "site") as site:
        demo = Demo(site, await site.demo())
        async with demo.api() as api:
            live = await api.start("0700000001")
            code = await demo.code(api, "+84700000001")
            assert 4 == (await api.check(live["id"], wrong(code)))["attempts_left"]
            used = await api.start(OWNER_PHONE, "registration", id_number=OWNER_ID)
            owners = await demo.code(api, "+84900000001")
            verdict = await api.check(used["id"], owners)
            assert (200, "verified") == verdict.said
            keys = (await api.get("/.well-known/jwks.json")).body
        if end == "SIGTERM":
            assert 0 == await demo.run.stop()
            assert [] == demo.run.complaints()
            assert None is site._store_pid(), "the last one out stops the store"
        else:
            site.kill_everything()
        demo = Demo(site, await site.demo())
        async with demo.api() as api:
            assert keys == (await api.get("/.well-known/jwks.json")).body
            soon = await api.resend(live["id"])
            assert (429, "resend_too_soon") == soon.said
            assert 3 == (await api.check(live["id"], wrong(code)))["attempts_left"]
            async with demo.api(live["client_token"]) as browser:
                assert (200, "verified") == (await browser.check(live["id"], code)).said
            assert (409, "already_final") == (await api.check(used["id"], owners)).said
            # A demo has another port each time here, and the token names its issuer: it is read anew.
            token = (await api.read(used["id"]))["result_token"]
            assert 200 == (await api.redeem(token, id_number=OWNER_ID)).status
            assert (409, "already_redeemed") == (await api.redeem(verdict["result_token"], id_number=OWNER_ID)).said
            again = await api.start("0700000002")
            assert (200, "verified") == (await api.check(again["id"], await demo.code(api, "+84700000002"))).said


async def test_second_demo_on_the_same_port(tmp_path: Path) -> None:
    """A demo whose port is taken says so and ends at once; one on the same data shares the store and its SMS go on."""
    async with Installation(tmp_path / "site") as site:
        first = Demo(site, await site.demo())
        port = first.base.rpartition(":")[2]
        taken = site.launch("demo", environ={"PORT": port, "DATA_DIR": str(site.data_dir)})
        assert 2 == await taken.ended()
        assert f"cannot listen on 127.0.0.1:{port}" in taken.stderr
        second = Demo(site, await site.demo())
        async with first.api() as one, second.api() as two:
            started = await one.start("0700000001")
            # Either demo's worker may have sent it: it is in one of the two inboxes.
            assert (200, "pending") == (await two.read(started["id"])).said
            assert 0 == await first.run.stop()
            assert (200, "pending") == (await two.read(started["id"])).said
            assert (200, "cancelled") == (await two.cancel(started["id"])).said
