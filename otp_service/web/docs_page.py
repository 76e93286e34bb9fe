"""
The documentation page: the OpenAPI document as HTML, rendered here, once.

It needs no script and no other host; its policy allows exactly its own style sheet, by digest.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from multidict import CIMultiDict

from otp_service.core.errors import InvalidRequest, Refusal
from otp_service.core.messages import Catalogue
from otp_service.web.exchange import JSON, answer_headers
from otp_service.web.problems import document
from otp_service.web.refusals import EXAMPLES

_TEMPLATE: Final = "docs.html"
_STANDARD: Final = frozenset({"type", "title", "status", "detail", "code"})
_LOCALES: Final = ("vi", "en")
_CALLERS: Final = {"apiKey": "an API key", "clientToken": "the verification's client token"}
_CODE: Final = re.compile("`([^`]+)`")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: str
    required: bool
    about: str


@dataclass(frozen=True, slots=True)
class _Call:
    """One operation as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    about: str
    callers: tuple[str, ...]
    parameters: tuple[_Field, ...]
    fields: tuple[_Field, ...]
    curl: str
    success: str
    said: str
    example: str
    problems: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Problem:
    """One code with its statuses, its members and its sentences: (locale, title, detail)."""

    code: str
    statuses: str
    members: tuple[str, ...]
    sentences: tuple[tuple[str, str, str], ...]


def render(openapi: Mapping[str, Any], catalogue: Catalogue) -> tuple[bytes, CIMultiDict[str]]:
    """Return the page and its headers."""
    environment = Environment(
        loader=PackageLoader("otp_service.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = _coded
    style = environment.get_template("docs.css").render()
    digest = b64encode(sha256(style.encode()).digest()).decode()
    page = environment.get_template(_TEMPLATE).render(
        info=openapi["info"], style=style, calls=list(_calls(openapi)), problems=list(_problems(catalogue)),
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = answer_headers(
        "text/html; charset=utf-8", Cache_Control="max-age=300", Content_Security_Policy=policy,
    )
    return page.encode(), headers


def _coded(text: str) -> Markup:
    """Escape a text, and show what stands between backticks as code."""
    # A plain str: Markup joins what re.sub cuts, and would escape the tags put in here.
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped on this line


def _calls(openapi: Mapping[str, Any]) -> Iterator[_Call]:
    server = openapi["servers"][0]["url"].rstrip("/")
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            responses = dict(operation["responses"])
            success = next(status for status in responses if status.startswith("2"))
            said = responses.pop(success)
            body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
            fields = tuple(_fields(openapi, body)) if body else ()
            content = next(iter(said["content"].values()))
            yield _Call(
                id=operation["operationId"], method=method.upper(), path=path, summary=operation["summary"],
                about=operation["description"],
                callers=tuple(_CALLERS[name] for one in operation["security"] for name in one),
                parameters=tuple(_parameters(openapi, operation)), fields=fields,
                curl=_curl(openapi, server, path, method, operation), success=success, said=said["description"],
                example=_pretty(content["example"]) if "example" in content else "",
                problems=tuple(
                    (status, tuple(_codes(response))) for status, response in responses.items()
                ),
            )


def _codes(response: Mapping[str, Any]) -> list[str]:
    (media,) = response["content"].values()
    codes: list[str] = media["schema"]["allOf"][1]["properties"]["code"]["enum"]
    return codes


def _parameters(openapi: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[_Field]:
    for parameter in (_resolve(openapi, found) for found in operation["parameters"]):
        yield _Field(
            parameter["name"], f"{parameter['schema']['type']} in {parameter['in']}",
            parameter.get("required", False), parameter["description"],
        )


def _fields(openapi: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterator[_Field]:
    """Give the members of a body, those of its objects behind a dot."""
    resolved = _resolve(openapi, schema)
    for name, found in resolved.get("properties", {}).items():
        inner = _resolve(openapi, _present(found))
        texts = dict.fromkeys((inner.get("description", ""), found.get("description", "")))
        about = "  ".join(filter(None, texts))
        required = name in resolved.get("required", ())
        yield _Field(f"{prefix}{name}", inner["type"], required, about)
        yield from _fields(openapi, inner, f"{prefix}{name}.")


def _present(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a member is when it is not null."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            found: Mapping[str, Any] = option
            return found
    return schema


def _resolve(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = openapi
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    resolved: Mapping[str, Any] = found
    return resolved


def _curl(openapi: Mapping[str, Any], server: str, path: str, method: str, operation: Mapping[str, Any]) -> str:
    """Write a call that can be pasted, with ``$KEY`` and ``$ID`` to be set before."""
    words = [f"curl {server}{path.replace('{id}', '$ID')}"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    if operation["security"]:
        words.append('-H "Authorization: Bearer $KEY"')
    body = operation.get("requestBody")
    if body and body.get("required"):
        example = _example(openapi, body["content"][JSON]["schema"])
        words += ['-H "Content-Type: application/json"', f"-d '{orjson.dumps(example).decode()}'"]
    return " \\\n  ".join(words)


def _example(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """Return an example of a body: what is required, and what registration needs beside it."""
    resolved = _resolve(openapi, _present(schema))
    if resolved.get("type") != "object":
        return resolved["examples"][0]
    wanted = {*resolved.get("required", ()), "id_number", "end_user_ip", "reference", "expect", "phone_number"}
    return {
        name: _example(openapi, found) for name, found in resolved.get("properties", {}).items() if name in wanted
    }


def _problems(catalogue: Catalogue) -> Iterator[_Problem]:
    by_code: dict[str, list[Refusal]] = {}
    for example in EXAMPLES:
        by_code.setdefault(example.code, []).append(example)
    for code, examples in by_code.items():
        documents = [document(example, catalogue, _LOCALES[0]) for example in examples]
        members = dict.fromkeys(name for one in documents for name in one if name not in _STANDARD)
        yield _Problem(
            code, ", ".join(str(example.http_status) for example in examples), tuple(members),
            tuple(
                (locale, *catalogue.problem(
                    locale, code, example.members, example.reason if isinstance(example, InvalidRequest) else None,
                ))
                for locale in _LOCALES for example in examples
            ),
        )


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
