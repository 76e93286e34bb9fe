"""The OpenAPI document, whether the answers keep to it, and the page made from it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from web_harness import ID_NUMBER, KEY, PUBLIC_URL, SIMPLE, START, Web, catalogue, serve

from otp_service.web import openapi
from otp_service.web.refusals import EXAMPLES
from otp_service.web.requests import CheckBody, RedeemBody, StartBody
from otp_service.web.routes import ASSETS, ELEMENT_PATHS, OPERATIONS, PAGE_PATHS, templates

DOCUMENT = openapi.build(catalogue(), version="0.1.0", public_url=PUBLIC_URL)


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


def conforms(method: str, path: str, status: int, media: str, body: Any) -> None:
    """Hold an answer against the document."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    schema = responses[str(status)]["content"][media]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(body)


def test_valid() -> None:
    """The document is OpenAPI 3.1."""
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)


def test_everything_served_is_described() -> None:
    """The metrics' routes, the router and the document know the same paths, beside those that are for people."""
    assert {*DOCUMENT["paths"], *PAGE_PATHS, ASSETS, *ELEMENT_PATHS} == set(templates())
    assert {operation.id for operation in OPERATIONS} == {
        operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()
    }


def test_requests_are_closed() -> None:
    """Every object of a request refuses unknown members, as the service does."""
    for name in ("StartBody", "ResendBody", "CheckBody", "RedeemBody", "Expect", "ConsentBody", "EvidenceBody"):
        assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize(("model", "body"), [
    (StartBody, START), (StartBody, SIMPLE), (CheckBody, {"code": "123 456"}),
    (RedeemBody, {"token": "x", "expect": {"id_number": ID_NUMBER, "phone_number": None}}),
])
def test_good_requests_conform(model: type, body: dict[str, Any]) -> None:
    """What the service takes, the document allows."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}", "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(body)


def test_examples_conform() -> None:
    """Every example is an instance of its schema, and every refusal has one."""
    seen = set()
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                for media, content in response["content"].items():
                    found = [one["value"] for one in content.get("examples", {}).values()]
                    for example in [*found, *([content["example"]] if "example" in content else [])]:
                        conforms(method, path, int(status), media, example)
                        seen.add(example.get("code"))
    assert {example.code for example in EXAMPLES} - {"method_not_allowed"} <= seen


async def test_answers_conform(service: Web) -> None:
    """What the service answers over a verification's life keeps to the document, members and media types."""
    started = await service.start()
    path = f"/v1/verifications/{started['id']}"
    template = "/v1/verifications/{id}"
    calls: list[tuple[str, str, str, Any, str | None]] = [
        ("POST", "/v1/verifications", "/v1/verifications", START, KEY),
        ("POST", "/v1/verifications", "/v1/verifications", {"purpose": 1}, KEY),
        ("POST", "/v1/verifications", "/v1/verifications", {"purpose": 1}, None),
        ("POST", f"{path}/resend", f"{template}/resend", None, KEY),
        ("POST", f"{path}/check", f"{template}/check", {"code": service.wrong_code(started["id"])}, KEY),
        ("GET", path, template, None, started["client_token"]),
        ("POST", f"{path}/check", f"{template}/check", {"code": service.code(started["id"])}, KEY),
        ("POST", f"{path}/check", f"{template}/check", {"code": "123456"}, KEY),
        ("GET", path, template, None, KEY),
        ("GET", f"{path}?wait=x", template, None, KEY),
        ("DELETE", path, template, None, KEY),
        ("POST", "/v1/result-tokens/redeem", "/v1/result-tokens/redeem", {"token": "x"}, KEY),
        ("GET", "/.well-known/jwks.json", "/.well-known/jwks.json", None, None),
        ("GET", "/openapi.json", "/openapi.json", None, None),
        ("GET", "/livez", "/livez", None, None),
        ("GET", "/readyz", "/readyz", None, None),
    ]
    statuses = []
    for method, url, route, body, key in calls:
        response = await service.call(method, url, body, key=key)
        statuses.append(response.status)
        conforms(method, route, response.status, response.content_type, await response.json(content_type=None))
    token = (await (await service.call("GET", path)).json())["result_token"]
    body = {"token": token, "expect": {"id_number": ID_NUMBER}}
    for _ in "12":
        response = await service.call("POST", "/v1/result-tokens/redeem", body)
        statuses.append(response.status)
        conforms(
            "POST", "/v1/result-tokens/redeem", response.status, response.content_type,
            await response.json(content_type=None),
        )

    assert [429, 422, 401, 429, 422, 200, 200, 409, 200, 422, 409, 422, 200, 200, 200, 200, 200, 409] == statuses


async def test_served(service: Web) -> None:
    """``/openapi.json`` is the document, for everybody, and may be kept for five minutes."""
    response = await service.call("GET", "/openapi.json", key=None)

    assert DOCUMENT == await response.json()
    assert "max-age=300" == response.headers["Cache-Control"]


class _Page(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of one element."""
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if name in {"href", "src", "action", "srcset", "data"} and value:
                self.links.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(name)


async def test_docs_page(service: Web) -> None:
    """The page needs no script and no other host, its anchors exist, and its policy allows its style alone."""
    response = await service.call("GET", "/docs", key=None)
    text = await response.text()
    page = _Page(text)
    policy = response.headers["Content-Security-Policy"]

    assert "text/html; charset=utf-8" == response.headers["Content-Type"]
    assert not {"script", "iframe", "img", "link", "form", "object"} & page.tags
    assert [] == page.inline
    assert "-H &#34;Authorization: Bearer $KEY&#34;" in text  # everything is escaped
    assert all(link == "/openapi.json" or link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert {f"problem-{example.code}" for example in EXAMPLES} <= page.ids
    assert {f"call-{operation.id}" for operation in OPERATIONS} <= page.ids
    assert [] == [url for url in re.findall(r"https?://[^\s\"'<]+", text) if not url.startswith(PUBLIC_URL)]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'; "
        r"frame-ancestors 'none'", policy,
    )


async def test_docs_page_marks_code_up(service: Web) -> None:
    """What stands between backticks is shown as code, not as escaped tags."""
    page = await (await service.call("GET", "/docs", key=None)).text()
    assert "<code>verify</code>" in page
    assert "&lt;code" not in page
    assert "`" not in page


async def test_docs_page_speaks_both_languages(service: Web) -> None:
    """The table of problem codes has each sentence in Vietnamese and in English."""
    text = await (await service.call("GET", "/docs", key=None)).text()

    for locale in ("vi", "en"):
        title, detail = catalogue().problem(locale, "sends_exhausted", {})
        assert f'<p lang="{locale}"><strong>{title}.</strong> {detail}</p>' in text
