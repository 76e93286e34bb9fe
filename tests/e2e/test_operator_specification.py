"""The made-up operator against CAMARA's own documents: what they publish is what it answers, to any input."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator
from support.operator import BLOCKED, CHECK, DATE, MATCH, OWNER, STRANGER, Caller, Said, operating
from support.processes import Installation, eventually

SPECIFICATIONS = Path(__file__).parents[1] / "specifications"
KYC_MATCH = json.loads((SPECIFICATIONS / "camara-kyc-match-0.4.0.json").read_text())
SIM_SWAP = json.loads((SPECIFICATIONS / "camara-sim-swap-2.1.0.json").read_text())

PATHS = {MATCH: (KYC_MATCH, "/match"), CHECK: (SIM_SWAP, "/check"), DATE: (SIM_SWAP, "/retrieve-date")}
#: What the schemas can judge.  Left out: whether a missing Authorization is refused, which the documents leave to a
#: discovery document; and whether good data are accepted, because {} is good to the schema and refused by the text.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection"
)
#: The documents name no 405, 406, 415: "the list of error codes is not exhaustive" and those are Commonalities'.  So
#: neither other methods nor other media types are tried here; tests/unit/test_operator_http.py does.
UNNAMED = """
[generation]
max-examples = 30
[phases.coverage]
unexpected-methods = []
"""


@pytest.mark.parametrize("document", [KYC_MATCH, SIM_SWAP], ids=["kyc-match", "sim-swap"])
def test_documents_are_documents(document: dict[str, Any]) -> None:
    """Reduced to their structure they are good OpenAPI 3.0 still."""
    assert [] == list(OpenAPIV30SpecValidator(document).iter_errors())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "document"), [
    ("kyc-match/v0.4", KYC_MATCH), ("sim-swap/v2", SIM_SWAP),
], ids=["kyc-match", "sim-swap"])
async def test_any_input(tmp_path: Path, name: str, document: dict[str, Any]) -> None:
    """Hundreds of calls, valid and not, get the statuses, types, headers and shapes that the document names."""
    (tmp_path / "spec.json").write_text(json.dumps(_meeting_a_subscriber(document)))
    (tmp_path / "schemathesis.toml").write_text(UNNAMED)
    async with Installation(tmp_path / "site") as site, aiohttp.ClientSession() as http:
        run = site.launch("simulate-operator", "--port", "0")
        line = await eventually(lambda: run.stdout if "API root " in run.stdout else None, "the simulator is ready")
        base = line.split("API root ")[1].split(",")[0]
        tried = await asyncio.to_thread(
            subprocess.run,
            [
                sys.executable, "-m", "schemathesis.cli", "run", "spec.json", "--url", f"{base}/{name}",
                "--header", f"Authorization: Bearer {await Caller(base, http).token()}",
                "--checks", CHECKS, "--seed", "1", "--generation-database", "none", "--continue-on-failure",
                "--no-color", "--report", "har", "--report-har-path", "calls.har",
            ],
            capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        )
    assert 0 == tried.returncode, tried.stdout + tried.stderr
    calls = json.loads((tmp_path / "calls.har").read_text())["log"]["entries"]
    seen = Counter(call["response"]["status"] for call in calls)
    # It got through to the subscribers, and was not turned away at the door.
    assert {200, 400, 422} <= set(seen), seen
    assert seen[200] >= 10, seen


@pytest.mark.parametrize(("path", "body", "expected"), [
    (MATCH, {"phoneNumber": OWNER, "name": "Nguyễn Văn A", "gender": "MALE"}, (200, None)),
    (MATCH, {"phoneNumber": OWNER, "birthdate": "1990-02-31"}, (400, "INVALID_ARGUMENT")),
    (MATCH, {}, (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")),
    (MATCH, {"phoneNumber": STRANGER, "name": "A"}, (404, "IDENTIFIER_NOT_FOUND")),
    (MATCH, {"phoneNumber": BLOCKED, "name": "A"}, (422, "SERVICE_NOT_APPLICABLE")),
    (MATCH, {"name": "A"}, (422, "MISSING_IDENTIFIER")),
    (CHECK, {"phoneNumber": OWNER}, (200, None)),
    (CHECK, {"phoneNumber": OWNER, "maxAge": 100_000}, (400, "OUT_OF_RANGE")),
    (CHECK, {"phoneNumber": OWNER, "maxAge": "240"}, (400, "INVALID_ARGUMENT")),
    (CHECK, {"phoneNumber": STRANGER}, (404, "IDENTIFIER_NOT_FOUND")),
    (CHECK, {}, (422, "MISSING_IDENTIFIER")),
    (DATE, {"phoneNumber": OWNER}, (200, None)),
    (DATE, {"phoneNumber": "0900000001"}, (400, "INVALID_ARGUMENT")),
    (DATE, {"phoneNumber": BLOCKED}, (422, "SERVICE_NOT_APPLICABLE")),
])
async def test_each_answer(path: str, body: dict[str, Any], expected: tuple[int, str | None]) -> None:
    """Each answer has the status and code that the text of the specification asks for, in the documented shape."""
    async with operating() as operator:
        said = await operator.post(path, body)

    assert expected == said.told
    assert [] == _errors(path, said)


@pytest.mark.parametrize("path", PATHS)
async def test_refusals_before_the_body(path: str) -> None:
    """A bad token, a token without the scope and a bad correlator are refused as documented."""
    async with operating() as operator:
        other = await operator.token(scope="sim-swap" if path == MATCH else "kyc-match:match")
        answers = [
            await operator.post(path, {}, "unknown"), await operator.post(path, {}, other),
            await operator.post(path, {}, **{"x-correlator": "a b"}),
        ]

    assert [(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (400, "INVALID_ARGUMENT")] == [
        said.told for said in answers
    ]
    assert [] == [error for said in answers for error in _errors(path, said)]


async def test_swaps_and_throttling_keep_the_shape() -> None:
    """What a script asks for is documented too: a SIM that was changed, and 429."""
    async with operating() as operator:
        await operator.play(swaps={"0900000001": 2})
        swapped = await operator.post(DATE, {"phoneNumber": OWNER})
        await operator.play(answer={"status": 429})
        throttled = await operator.post(DATE, {"phoneNumber": OWNER})

    assert [(200, None), (429, "TOO_MANY_REQUESTS")] == [swapped.told, throttled.told]
    assert isinstance(swapped["latestSimChange"], str)
    assert [] == [*_errors(DATE, swapped), *_errors(DATE, throttled)]


def test_the_judge_sees_mistakes() -> None:
    """The schemas refuse what the documents do not name: a boolean for a word, a code that is not listed."""
    refused = [
        Said(200, CIMultiDictProxy(CIMultiDict()), {"nameMatch": True}),
        Said(404, CIMultiDictProxy(CIMultiDict()), {"status": 404, "code": "GONE", "message": ""}),
    ]

    assert all(_errors(MATCH, said) for said in refused)


def _meeting_a_subscriber(document: dict[str, Any]) -> dict[str, Any]:
    """Give the generator a number that somebody has: it would never guess one.  Only requests are narrowed."""
    copied: dict[str, Any] = json.loads(json.dumps(document))
    for name in ("KYC_MatchRequestBody", "CreateCheckSimSwap", "CreateSimSwapDate"):
        if schema := copied["components"]["schemas"].get(name):
            schema["required"] = ["phoneNumber"]
            schema["properties"]["phoneNumber"] = {"type": "string", "enum": [OWNER]}
    return copied


def _errors(path: str, said: Said) -> list[str]:
    """Say where an answer differs from the schema that the document has for its status."""
    document, own_path = PATHS[path]
    response = document["paths"][own_path]["post"]["responses"][str(said.status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    schema = response["content"]["application/json"]["schema"]
    resolved = {**document, **schema}
    return [error.message for error in OAS30Validator(resolved).iter_errors(said.body)]
