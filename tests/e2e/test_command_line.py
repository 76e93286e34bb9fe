"""The command line on real processes: clients, keys, limits, doctor."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from support.http import OWNER_ID, OWNER_PHONE, Api, Reply, wrong
from support.processes import ORIGIN, Installation, eventually
from support.sms_gateway import ScriptedGateway

pytestmark = pytest.mark.slow


async def test_new_client(tmp_path: Path) -> None:
    """The block that `clients new` prints makes its key good for `serve`; the key is shown once and kept nowhere."""
    with ScriptedGateway() as gateway:
        async with Installation(tmp_path / "site", gateway_url=gateway.url) as site:
            made = await site.command("clients", "new", "tinh-portal")
            assert (0, "") == (made.returncode, made.stderr)
            (key,) = re.findall(r"^ +(otp_live_\S+)$", made.stdout, re.MULTILINE)
            block = made.stdout[made.stdout.index("[clients."):]
            assert key not in block
            with (site.config_dir / "clients.toml").open("a") as clients:
                clients.write("\n" + block)
            listed = await site.command("clients", "list")
            assert (0, True) == (listed.returncode, "tinh-portal" in listed.stdout)
            serve = await site.serve()
            async with Api(serve.base, key) as api, Api(serve.base, "demo-portal-key") as demo:
                started = await api.start(OWNER_PHONE, "registration", id_number=OWNER_ID)
                assert (201, "pending") == started.said
                assert (403, "forbidden") == (await api.start("0700000001")).said, "a purpose it was not given"
                assert (403, "forbidden") == (await api.get("/metrics")).said, "a scope it was not given"
                assert (401, "unauthenticated") == (await demo.start()).said
            refused = await asyncio.gather(
                *(site.command("clients", "new", name) for name in ("Tinh Portal", "1tinh", "x" * 25)),
            )
            assert {(2, "")} == {(one.returncode, one.stdout) for one in refused}
            # The same block twice is told, before anything starts.
            with (site.config_dir / "clients.toml").open("a") as clients:
                clients.write(block[block.index("[[clients"):])
            twice = await site.command("clients", "list")
            assert (2, True) == (twice.returncode, "once" in twice.stderr)
            assert key not in twice.stderr


async def test_test_key(tmp_path: Path) -> None:
    """A test key signs as its own issuer, and its verdicts are no live key's."""
    with ScriptedGateway() as gateway:
        async with Installation(tmp_path / "site", gateway_url=gateway.url) as site:
            made = await site.command("clients", "new", "portal", "--test")
            (key,) = re.findall(r"^ +(otp_test_\S+)$", made.stdout, re.MULTILINE)
            block = made.stdout[made.stdout.index("[[clients."):]
            # A table of keys belongs behind its client's other keys.
            path = site.config_dir / "clients.toml"
            path.write_text(path.read_text().replace("[clients.other]", f"{block}\n[clients.other]"))
            serve = await site.serve()
            await site.worker()
            async with Api(serve.base, key) as test, Api(serve.base) as live:
                started = await test.start(OWNER_PHONE, "registration", id_number=OWNER_ID)
                checked = await test.check(started["id"], await gateway.code(started["id"]))
                claims = _claims(checked["result_token"])
                assert claims["iss"].endswith("/test")
                assert (404, "not_found") == (await live.read(started["id"])).said
                assert (422, "invalid_request") == (await live.redeem(checked["result_token"], id_number=OWNER_ID)).said
                assert 200 == (await test.redeem(checked["result_token"], id_number=OWNER_ID)).status


async def test_operating_a_running_service(tmp_path: Path) -> None:
    """Keys rotate under live codes and limits; limits are shown and reset; the doctor finds what is wrong."""
    with ScriptedGateway() as gateway:
        async with Installation(
            tmp_path / "site", gateway_url=gateway.url, LIMITS__PHONE_COOLDOWN__PERIOD="1s",
            LIMITS__PHONE_SENDS__COUNT="99", LIMITS__PHONE_BLOCK_SENDS__COUNT="99",
            LIMITS__PHONE_SENDS_TOTAL__COUNT="99",
        ) as site:
            worker = site.launch("worker", settings={"SERVER__PRIVATE_PORT": "0"})
            serve = await site.serve()
            await worker.ready()
            async with Api(serve.base) as api:
                rotation = Rotation(api, gateway)
                await rotation.begin(site)
                # A rotation takes effect after ten seconds: meanwhile everything else.
                await _limits(site, api, gateway)
                await _read_only(site)
                await rotation.go_on(site)
                await _evicting_store(site, api)


class Rotation:
    """A rotation of the keys while verifications are live, which go on under the new key."""

    def __init__(self, api: Api, gateway: ScriptedGateway) -> None:
        self._api, self._gateway = api, gateway
        self._waiting: list[Reply] = []
        self._codes: list[str] = []
        self._token = ""

    async def begin(self, site: Installation) -> None:
        """Leave live codes, a used attempt and a verdict behind, and rotate."""
        api, gateway = self._api, self._gateway
        self._waiting = [await api.start(f"070000010{at}", end_user_ip=f"203.0.{at}.7") for at in range(3)]
        verdict = await api.start(OWNER_PHONE, "registration", id_number=OWNER_ID)
        self._codes = [await gateway.code(one["id"]) for one in self._waiting]
        checked = await api.check(verdict["id"], await gateway.code(verdict["id"]))
        self._token = checked["result_token"]
        assert 4 == (await api.check(self._waiting[1]["id"], wrong(self._codes[1])))["attempts_left"]
        before = await self._published()
        rotated = await site.command("keys", "rotate", "--activate-in", "10")
        assert (0, True) == (rotated.returncode, "k2" in rotated.stdout)

        # Published before it signs, so that portals can fetch it in time.
        async def both() -> bool:
            return 2 * len(before) == len(await self._published())

        await eventually(both, "the running process reads the new keys")

    async def go_on(self, site: Installation) -> None:
        """Wait until the new key is used, then use everything the old one made."""
        api, gateway = self._api, self._gateway

        async def in_use() -> bool:
            reply = await api.start("0700000109", end_user_ip="203.0.9.7")
            return reply.status == 201 and "-k2-" in reply["id"]

        await eventually(in_use, "the new key is used")
        listed = await site.command("keys", "list")
        assert re.search(r"k2 .*current", listed.stdout)
        assert re.search(r"k1 .*readable", listed.stdout)
        one, two, three = self._waiting
        assert 3 == (await api.check(two["id"], wrong(self._codes[1])))["attempts_left"]
        answers = [await api.check(live["id"], code) for live, code in zip((one, two), self._codes, strict=False)]
        assert {(200, "verified")} == {answer.said for answer in answers}
        async with Api(api.base, three["client_token"]) as browser:
            resent = await browser.call("POST", f"/v1/verifications/{three['id']}/resend", Origin=ORIGIN)
            assert (202, "pending") == resent.said
            newer = await gateway.code(three["id"], 2)
            assert (200, "verified") == (await browser.check(three["id"], newer)).said
        keys = KeySet.import_key_set({"keys": await self._published()})
        assert b"verified" in jws.deserialize_compact(self._token, keys, algorithms=["ES256"]).payload
        assert 200 == (await api.redeem(self._token, id_number=OWNER_ID)).status

    async def _published(self) -> list[dict[str, str]]:
        keys: list[dict[str, str]] = (await self._api.get("/.well-known/jwks.json"))["keys"]
        return keys


async def _read_only(site: Installation) -> None:
    """Run what only looks, well and badly configured."""
    healthy, listed, landline, broken, soon = await asyncio.gather(
        site.command("doctor"), site.command("limits", "list"), site.command("limits", "show", "02838000000"),
        site.command("doctor", STORE__TYPO="1", SERVER__PORT="0.5"),
        site.command("keys", "rotate", "--activate-in", "9"),
    )
    assert (0, "") == (healthy.returncode, healthy.stderr)
    assert {"ok", "warn"} == {line.split()[0] for line in healthy.stdout.splitlines()}
    assert re.search(r"phone_cooldown .* 1 s .*enforce", listed.stdout)
    assert (2, "") == (landline.returncode, landline.stdout)
    assert (2, "") == (broken.returncode, broken.stdout)
    assert all(name in broken.stderr for name in ("store.typo", "server.port")), "every problem at once"
    assert (2, "") == (soon.returncode, soon.stdout)


async def _evicting_store(site: Installation, api: Api) -> None:
    """Let the store evict: the doctor and the readiness say so."""
    async with site.store() as store:
        await store.config_set("maxmemory-policy", "allkeys-lru")
    ill = await site.command("doctor")
    assert (1, True) == (ill.returncode, "noeviction" in ill.stdout)
    evicting = await api.get("/readyz")
    assert (503, "unavailable") == evicting.said
    assert "evicts" in evicting["checks"]["store"]


async def _limits(site: Installation, api: Api, gateway: ScriptedGateway) -> None:
    """Lock a phone out, look at it, and let its owner in again."""
    phone = "0700000201"
    for at in range(2):
        started = await api.start(phone, end_user_ip=f"203.0.{50 + at}.7")
        code = await gateway.code(started["id"])
        for guess in range(1, 6):
            await api.check(started["id"], wrong(code, guess))

        async def cooled(one: str = started["id"]) -> bool:
            async with site.store() as store:
                sent_ms = int((await site.record(one))["b"])
                return (await store.time())[0] * 1000 > sent_ms + 1000

        await eventually(cooled, "the cooldown is over")
    waiting = await api.start(phone, end_user_ip="203.0.60.7")
    code = await gateway.code(waiting["id"])
    refused = await api.check(waiting["id"], code)
    assert (429, "guess_too_soon") == refused.said
    shown = await site.command("limits", "show", "-", stdin=f"{phone}\n")
    assert 0 == shown.returncode
    assert re.search(r"failures in a row +10, the next guess waits 1 min", shown.stdout)
    assert re.search(r"SMS in 24 hours +3", shown.stdout)
    assert re.search(r"live verifications +1", shown.stdout)
    reset = await site.command("limits", "reset", phone)
    assert (0, True) == (reset.returncode, "reset" in reset.stdout)
    assert (200, "verified") == (await api.check(waiting["id"], code)).said
    assert re.search(r"failures in a row +0", (await site.command("limits", "show", phone)).stdout)


async def test_the_gateways_fit_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns both tables keep every word; an account in use that cannot start ends the command with 1."""
    async with Installation(tmp_path / "site") as site:
        wide = await site.command("gateways", SENDING__GATEWAYS="console, esms")
        monkeypatch.setenv("COLUMNS", "80")
        well, ill = await asyncio.gather(
            site.command("gateways", GATEWAYS__SPARE__ADAPTER="nowhere"),
            site.command("gateways", SENDING__GATEWAYS="console, esms"),
        )
    assert (0, "", 1, "", 1, "") == (
        well.returncode, well.stderr, ill.returncode, ill.stderr, wide.returncode, wide.stderr,
    )
    drawn = [line for line in (well.stdout + ill.stdout).splitlines() if line and line[0] in "┏┃┡│└"]
    assert 80 == max(map(len, drawn))
    assert "…" not in well.stdout + ill.stdout
    assert re.search(r"│ viettel +│ yes +│ no +│ dropped +│ Unicode, 3 SMS +│\n│ \(experimental\) ", well.stdout)
    assert "\n  smpp      SMPP Protocol Specification v3.4, issue 1.2\n" in well.stdout
    assert re.search(r"│ console +│ console +│ all: tier 1, weight 1 +│ no +│ ok +│", well.stdout)
    assert re.search(r"│ spare +│ nowhere +│ +│ no +│ not used +│", well.stdout)
    assert re.search(r"│ esms +│ .*│ esms needs api_key, secret_key and sender +│", wide.stdout), "a page is wider"


@pytest.mark.parametrize(("code", "last", "phone"), [
    (0, "result    taken", "0900000900"),
    (1, "result    taken, delivery failed", "0900000912"),
    (1, "result    not taken: blocked", "0900000902"),
])
async def test_a_send_is_tried_to_its_end(tmp_path: Path, code: int, last: str, phone: str) -> None:
    """What is taken and not delivered is no success: the last line says so, and so does the exit code."""
    async with Installation(tmp_path / "site", SENDING__GATEWAYS="fake") as site:
        tried = await site.command("send-test", "-", "--wait", "5", stdin=f"{phone}\n")

    assert (code, last) == (tried.returncode, tried.stdout.splitlines()[-1])


async def test_a_send_that_is_reported_failed_later(tmp_path: Path) -> None:
    """News that polling brings counts as much as the answer's."""
    async with Installation(tmp_path / "site") as site:
        provider = site.launch("fake-gateway", "--port", "0")
        await eventually(lambda: "Ctrl-C" in provider.stdout, "the fake provider stands")
        url = re.findall(r"http://\S+/gateway", provider.stdout)[0]
        tried = await site.command(
            "send-test", "-", "--wait", "20", stdin="0900000912\n", SENDING__GATEWAYS="fake",
            GATEWAYS__FAKE__OPTIONS__URL=url,
        )
        await provider.stop()

    assert (1, ["delivery  failed, code failed", "result    taken, delivery failed"]) == (
        tried.returncode, tried.stdout.splitlines()[-2:],
    )


def _claims(token: str) -> dict[str, str]:
    claims: dict[str, str] = json.loads(jws.extract_compact(token.encode()).payload)
    return claims
