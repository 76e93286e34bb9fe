"""The published OpenAPI document against the running service: what it promises is what is answered, to any input."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.http import OWNER_ID, OWNER_PHONE, Api
from support.processes import PORTAL_KEY, Installation
from support.sms_gateway import ScriptedGateway

pytestmark = pytest.mark.slow

#: So wide that what is tried meets the calls themselves and not only their limits; and no long poll is held.
WIDE = {
    f"LIMITS__{name}__{part}": "100000"
    for name in ("ADDRESS_SENDS", "ADDRESS_GUESSES", "CLIENT_SENDS") for part in ("COUNT", "BURST")
} | {
    "LIMITS__PHONE_COOLDOWN__MODE": "record_only", "SERVER__MAX_WAITERS": "0",
    "GATEWAYS__FAKE__REPORT_SECRET": "report-secret-of-the-contract",
}


async def test_document_is_kept(tmp_path: Path) -> None:
    """A thousand calls, valid and not, get the statuses, types and shapes that the document names, and no 5xx."""
    with ScriptedGateway() as gateway:
        async with Installation(tmp_path / "site", gateway_url=gateway.url, **WIDE) as site:
            worker = site.launch("worker", settings={"SERVER__PRIVATE_PORT": "0"})
            serve = await site.serve()
            await worker.ready()
            async with Api(serve.base) as api:
                document = (await api.get("/openapi.json")).body
                await _known_to_the_generator(tmp_path, api, gateway)
            assert "3.1" == document["openapi"][:3]
            assert [] == list(OpenAPIV31SpecValidator(document).iter_errors())
            tried = await asyncio.to_thread(
                subprocess.run,
                [
                    sys.executable, "-m", "schemathesis.cli", "run", f"{serve.base}/openapi.json",
                    "--header", f"Authorization: Bearer {PORTAL_KEY}", "--max-examples", "40", "--seed", "1",
                    # Left out: valid data is accepted, because whether a code is right no schema can say;
                    # what was deleted is gone, because DELETE cancels and the verdict stays readable.
                    "--checks", "all", "--exclude-checks", "positive_data_acceptance,use_after_free",
                    "--continue-on-failure", "--no-color",
                ],
                capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
            )
            assert 0 == tried.returncode, tried.stdout + tried.stderr
            # It got through to the calls themselves, and was not turned away at the door.
            seen = Counter((event["route"], event["status"]) for event in serve.events("request"))
            assert [] == [(route, status) for route, status in seen if status >= 500]
            path, reports = "/v1/verifications/{id}", "/v1/delivery-reports/{gateway}/{secret}"
            assert {
                ("/v1/verifications", 201), (path, 200), (f"{path}/resend", 202), (f"{path}/check", 422),
                (f"{path}/check", 409), ("/v1/result-tokens/redeem", 422),
                (reports, 200), (reports, 400), (reports, 404),
            } <= set(seen)


async def _known_to_the_generator(folder: Path, api: Api, gateway: ScriptedGateway) -> None:
    """Let it choose among ids that exist, of live, ended and verified ones, and codes: it would never guess one."""
    ids = [(await api.start(f"07000007{at:02d}", end_user_ip=f"203.0.{at}.7"))["id"] for at in range(40)]
    for one in ids[:20]:
        await api.cancel(one)
    verified = await api.start(OWNER_PHONE, "registration", id_number=OWNER_ID)
    assert (200, "verified") == (await api.check(verified["id"], await gateway.code(verified["id"]))).said
    secret = WIDE["GATEWAYS__FAKE__REPORT_SECRET"]
    reported = await api.call("POST", f"/v1/delivery-reports/fake/{secret}", {"id": "m-1", "state": "delivered"})
    assert (200, {"reports": 1}) == (reported.status, reported.body)
    (folder / "schemathesis.toml").write_text(f"""
[dictionaries]
ids = {{ values = {json.dumps([*ids, verified["id"]])} }}
gateways = {{ values = ["fake"] }}
secrets = {{ values = ["{secret}"] }}
codes = {{ values = ["123456"] }}

[parameters]
"path.id" = {{ dictionary = "ids", probability = 0.8 }}
"path.gateway" = {{ dictionary = "gateways", probability = 0.8 }}
"path.secret" = {{ dictionary = "secrets", probability = 0.8 }}
"body.code" = {{ dictionary = "codes", probability = 0.5 }}

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]
""")
