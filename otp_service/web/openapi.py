"""
The OpenAPI 3.1 document: the route table, the bodies' models and the refusals, put together.

Nothing is written twice: paths and statuses come from ``routes.py``, request schemas from ``requests.py``, answers
from ``answers.py``, examples of refusals from ``refusals.py`` in the words of the catalogue.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from otp_service.core.citizen_id import IdNumber
from otp_service.core.errors import RateLimited, Refusal, Unauthenticated
from otp_service.core.evidence import ASSURANCE_LEVELS
from otp_service.core.messages import Catalogue
from otp_service.core.verification import Delivery, Ownership, Status, Verification
from otp_service.web.answers import VerificationAnswer, for_portal, for_start
from otp_service.web.bodies import KEY_HEADER
from otp_service.web.exchange import JSON, PROBLEM
from otp_service.web.handlers import MAX_WAIT_S
from otp_service.web.problems import document
from otp_service.web.refusals import EXAMPLES, INVALID
from otp_service.web.routes import OPERATIONS, Operation

_SCHEMAS: Final = "#/components/schemas/"
#: Types of the core that pydantic describes on its way and nothing refers to.
_INTERNAL: Final = frozenset({IdNumber.__name__})
_ABOUT: Final = (
    "Proves that a citizen holds a phone, and that the SIM is registered under their document, and answers with one "
    "verdict that can be trusted.  Refusals are problem documents (RFC 9457) with a stable `code`; bad fields are all "
    "told at once.  Unknown members of a request are refused; ignore those of an answer."
)

#: Members that the refusals carry, beside those of RFC 9457.
_MEMBERS: Final[dict[str, Any]] = {
    "suggestion": {"type": "string", "description": "Today's form of a pre-2018 number."},
    "challenge": {
        "type": "object", "description": "What the browser must solve (ALTCHA); `/element.js` does.",
    },
    "attempts_left": {"type": "integer"},
    "send_number": {"type": "integer", "description": "Which SMS to read."},
    "resend_at": {"type": ["string", "null"], "format": "date-time"},
    "sends_left": {"type": "integer"},
    "expires_at": {"type": "string", "format": "date-time"},
    "verification_status": {"type": "string"},
    "retry_after": {"type": "integer", "description": "Seconds; as the header `Retry-After`."},
    "limit": {"type": "string", "description": "The limit's name, or `person` for those of a phone or ID number."},
    "claims": {"type": "object", "description": "The claims of the refusal."},
    "checks": {"type": "object", "description": "What the service needs, and what is wrong with it."},
    "draining": {"type": "boolean"},
    "errors": {"type": "array", "items": {
        "type": "object", "required": ["field", "code", "message"],
        "properties": {
            "field": {"type": "string"}, "code": {"type": "string"}, "message": {"type": "string"},
            "suggestion": {"type": "string"},
        },
    }},
}

_HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {"description": "Finds the call in the log.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
    "RateLimit": {
        "description": "What is left of the limit, for limits of address, client and service.",
        "schema": {"type": "string", "examples": ['"client_sends";r=0;t=12']},
    },
    "RateLimit-Policy": {
        "description": "The limit's numbers.", "schema": {"type": "string", "examples": ['"client_sends";q=600;w=60']},
    },
    "Location": {"description": "The verification.", "schema": {"type": "string", "format": "uri-reference"}},
    "WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}},
}

_PARAMETERS: Final[dict[str, Any]] = {
    "id": {
        "name": "id", "in": "path", "required": True, "description": "The verification's id.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,36}$"},
    },
    "gateway": {
        "name": "gateway", "in": "path", "required": True, "description": "The account's name in the settings.",
        "schema": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"},
    },
    "secret": {
        "name": "secret", "in": "path", "required": True, "description": "The account's `report_secret`.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{24,128}$"},
    },
    "wait": {
        "name": "wait", "in": "query", "description": "Seconds to wait for a final status.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
    },
    "language": {
        "name": "Accept-Language", "in": "header", "description": "`vi` (default) or `en`.",
        "schema": {"type": "string"},
    },
    "key": {
        "name": KEY_HEADER, "in": "header",
        "description": "Makes the call safe to repeat for 24 hours: the same key and body replay a success.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
    },
}


def build(catalogue: Catalogue, *, version: str, public_url: str) -> dict[str, Any]:
    """Return the document; its examples are in the catalogue's default locale."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, catalogue)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Phone and SIM verification", "version": version, "description": _ABOUT},
        "servers": [{"url": public_url or "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "A portal's key; never in a browser."},
                "clientToken": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "vt_…",
                    "description": "The `client_token` of one verification, for a browser.",
                },
            },
        },
    }


def _schemas() -> dict[str, Any]:
    bodies = {operation.body for operation in OPERATIONS if operation.body}
    answers = {operation.answer for operation in OPERATIONS if operation.answer}
    _, found = models_json_schema(
        [(model, "validation") for model in sorted(bodies | answers, key=lambda model: model.__name__)],
        ref_template=f"{_SCHEMAS}{{model}}",
    )
    problem = {
        "type": "object", "description": "A refusal (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened and what to do, for a person."},
            "code": {"type": "string", "enum": sorted({refusal.code for refusal in EXAMPLES})},
            **_MEMBERS,
        },
    }
    schemas = {**found["$defs"], "Problem": problem}
    return {name: _untitled(schema) for name, schema in schemas.items() if name not in _INTERNAL}


def _untitled(schema: Any) -> Any:
    """Leave out the titles that pydantic makes of names: they say nothing more."""
    if isinstance(schema, list):
        return [_untitled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _untitled(value) for name, value in schema.items() if name not in {"title", "properties"}}
    if "properties" in schema:  # a member may be called "title"
        told["properties"] = {name: _untitled(one) for name, one in schema["properties"].items()}
    return told


def _operation(operation: Operation, catalogue: Catalogue) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id, "summary": operation.summary, "description": operation.about,
    }
    names = [name for name in ("id", "gateway", "secret") if f"{{{name}}}" in operation.path]
    names += ("wait",) if operation.id == "get" else ()
    names += [*(("key",) if operation.replay else ()), *(("language",) if operation.scope else ())]
    described["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    if operation.body is not None:
        described["requestBody"] = {
            "required": not operation.body_optional, "content": {JSON: {"schema": _ref(operation.body)}},
        }
    if operation.accepts:
        described["requestBody"] = {"content": {media: {"schema": {}} for media in operation.accepts}}
    described["responses"] = {str(operation.success): _success(operation), **_refusals(operation, catalogue)}
    described["security"] = []
    if operation.scope is not None:
        described["description"] += f"  Scope `{operation.scope}`."
        described["security"].append({"apiKey": []})
    if operation.browser:
        described["security"].append({"clientToken": []})
    return described


def _success(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any]
    if operation.answer is not None:
        content = {JSON: {"schema": _ref(operation.answer)}}
        if operation.answer is VerificationAnswer:
            content[JSON]["example"] = _example(operation)
    elif operation.media == JSON:
        content = {JSON: {"schema": {"type": "object"}}}
    else:
        content = {operation.media: {"schema": {"type": "string"}}}
    answer: dict[str, Any] = {"description": operation.said, "headers": _headers("X-Request-Id"), "content": content}
    if operation.success == 201:
        answer["headers"] |= _headers("Location")
        answer["links"] = {
            other.id: {"operationId": other.id, "parameters": {"id": "$response.body#/id"}}
            for other in OPERATIONS if "{id}" in other.path
        }
    return answer


def _example(operation: Operation) -> dict[str, Any]:
    """Return an answer as the service renders it."""
    began_ms = 1_769_846_400_000  # 2026-01-31T08:00:00Z
    status = {"check": Status.VERIFIED, "cancel": Status.CANCELLED}.get(operation.id, Status.PENDING)
    pending = status is Status.PENDING
    finished_ms = None if pending else began_ms + 40_000
    sends = 2 if operation.id == "resend" else 1
    sent_ms = began_ms + (sends - 1) * 60_000
    ownership = Ownership("match", "tttb", ASSURANCE_LEVELS[1], finished_ms)
    verification = Verification(
        id="7-k1-abcdefghijklmnopqrstuvwxyz", client="tinh-portal", purpose="registration", status=status, reason=None,
        locale="vi", reference="hs-2026-000123", phone_number="+84900000001", test=False, code_length=6,
        send_number=sends, created_at_ms=began_ms, expires_at_ms=began_ms + 900_000,
        code_expires_at_ms=sent_ms + 180_000, resend_at_ms=sent_ms + 60_000 if pending else None,
        sends_left=4 - sends if pending else 0, attempts_left=5 if pending else 0, delivery=Delivery.QUEUED,
        ownership=ownership if status is Status.VERIFIED else Ownership(), finished_at_ms=finished_ms,
        now_ms=began_ms,
    )
    if operation.success == 201:
        rendered = for_start(
            verification, client_token="vt_…",  # noqa: S106 - no token
            page_url=f"https://otp.example.vn/v/{verification.id}", result_token=None, warnings=(),
        )
    else:
        rendered = for_portal(verification, "eyJhbGciOiJFUzI1NiIs…" if status is Status.VERIFIED else None)
    shown: dict[str, Any] = orjson.loads(rendered)
    return shown


def _refusals(operation: Operation, catalogue: Catalogue) -> dict[str, Any]:
    """Return a response per status, with an example of each code."""
    examples = [example for example in INVALID if example.http_status in operation.invalid]
    found = [*examples, *(example for example in EXAMPLES if isinstance(example, operation.refusals))]
    return {
        str(status): _refusal([one for one in found if one.http_status == status], catalogue)
        for status in sorted({one.http_status for one in found})
    }


def _refusal(examples: list[Refusal], catalogue: Catalogue) -> dict[str, Any]:
    codes = list(dict.fromkeys(example.code for example in examples))
    locale = catalogue.locales[0]
    names = ["X-Request-Id"]
    if any(example.retry_after_s is not None for example in examples):
        names.append("Retry-After")
    if RateLimited.code in codes:
        names += ["RateLimit", "RateLimit-Policy"]
    if Unauthenticated.code in codes:
        names.append("WWW-Authenticate")
    return {
        "description": " or ".join(f"`{code}`" for code in codes),
        "headers": _headers(*names),
        "content": {PROBLEM: {
            "schema": {"allOf": [{"$ref": f"{_SCHEMAS}Problem"}, {"properties": {"code": {"enum": codes}}}]},
            "examples": {
                example.code: {
                    "summary": catalogue.problem("en", example.code, {})[0],
                    "value": document(example, catalogue, locale),
                }
                for example in examples
            },
        }},
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"{_SCHEMAS}{model.__name__}"}
