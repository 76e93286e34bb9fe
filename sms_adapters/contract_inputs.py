"""
The odd things that :mod:`sms_adapters.contract` feeds an adapter: texts, nonsense, good answers and callbacks spoilt.

The same ones in every run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from otp_service.core.ports import ReportRequest
from otp_service.core.sms_length import GSM7_BASIC, GSM7_EXTENSION

#: Texts that have broken adapters: each is carried, or refused with an outcome.
TEXTS: Final = {
    "the GSM-7 alphabet": GSM7_BASIC + GSM7_EXTENSION,
    "accented Vietnamese": "Mã xác nhận của bạn là 739105. Không cung cấp mã này cho bất kỳ ai, kể cả cán bộ.",
    "quotes, ampersands and angle brackets": "\"739105\" & '739105' <b>739105</b> ]]> &amp; %41 {{code}} {0} %s \\n",
    "newlines": "739105\r\nla ma\n\n@portal.example #739105",
    "an emoji": "739105 \N{GRINNING FACE}",
    "480 characters": "739105 " + "a" * 473,
    "480 accented characters": "739105 " + "ạ" * 473,
    "nothing": "",
}

_ENTITIES: Final = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">'
    b'<!ENTITY d SYSTEM "file:///etc/hostname">]><a>&c;&c;&d;</a>'
)

#: Bodies that are nobody's answer.
GARBAGE: Final = {
    "an empty body": b"",
    "blanks": b" \r\n\t ",
    "an HTML page": b"<!DOCTYPE html>\n<html><head><title>OK</title></head><body><h1>Success</h1>&nbsp;</body></html>",
    "a word": b"OK",
    "cut-off JSON": b'{"status": "success", "data": {"id": "m-',
    "cut-off XML": b"<?xml version='1.0'?><Envelope><Body><return>",
    "XML with entities": _ENTITIES,
    "JSON null": b"null", "JSON true": b"true", "a JSON number": b"1", "a JSON text": b'"x"',
    "an empty list": b"[]", "a list in a list": b"[[]]", "a list of numbers": b"[0, 1]",
    "an empty object": b"{}", "a list of an empty object": b"[{}]", "an object of null": b'{"": null}',
    "invalid UTF-8": b"\xff\xfe\x00\x80{}", "UTF-16": '{"id": "m-1"}'.encode("utf-16"),
    "zero bytes": b"\x00" * 64,
    "lists nested deeply": b"[" * 30_000 + b"]" * 30_000,
    "objects nested deeply": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "elements nested deeply": b"<a>" * 8_000 + b"</a>" * 8_000,
    "a number of 5000 digits": b"9" * 5_000,
    "an infinite number": b'{"id": 1e999, "code": -1e999, "status": NaN}',
    "64 KiB of text": b'"' + b"x" * 65_534 + b'"',
}

#: What stands in place of each value of a good JSON answer.
_WRONG_VALUES: Final = (
    b"null", b"true", b"false", b"0", b"-1", b"1e999", b"1.5", b"9" * 5_000, b'""', b'"no such word"',
    b'"' + b"x" * 300 + b'"', b'"\\ud800"', b'"\\u0000\\n"', b"[]", b"{}", b"[null]", b'{"a": 1}',
    b"[" * 5_000 + b"]" * 5_000,
)

_SEED: Final = 20260131
_MUTATIONS: Final = 300
#: A word of ours that no refusal may repeat.
MARK: Final = "Zq7Nonsense"


def mutations(body: bytes) -> Iterator[bytes]:
    """Give random changes of a body, the same ones in every run."""
    random = Random(_SEED)  # noqa: S311 - spoils test data, guards nothing
    changes: tuple[Callable[[bytes, int], bytes], ...] = (
        lambda old, at: old[:at] + random.randbytes(1) + old[at + 1:],
        lambda old, at: old[:at] + b"%d" % random.randrange(10) + old[at + 1:],
        lambda old, at: old[:at] + old[at + random.randrange(1, 9):],
        lambda old, at: old[:at] + random.randbytes(random.randrange(1, 5)) + old[at:],
        lambda old, at: old[:at] + old[max(0, at - random.randrange(1, 30)):],
        lambda old, at: old[:at],
    )
    for _ in range(_MUTATIONS):
        changed = body
        for _ in range(random.randrange(1, 4)):
            changed = random.choice(changes)(changed, random.randrange(len(changed) + 1))
        yield changed


def wrong_types(body: bytes) -> Iterator[bytes]:
    """Give a JSON body with each of its values replaced by each wrong one; nothing when it is no JSON."""
    try:
        good = json.loads(body)
    except ValueError:
        return  # XML, a form, a line of text: random changes must do
    for path in _paths(good):
        for wrong in _WRONG_VALUES:
            yield json.dumps(_put(good, path, MARK)).encode().replace(b'"%s"' % MARK.encode(), wrong)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from _paths(below, (*path, key))


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a JSON value with another one at ``path``."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _put(value[path[0]], path[1:], new)
    return copy


def without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a table without one of its members."""
    return {key: value for key, value in values.items() if key != name}


def with_query(request: ReportRequest, query: Mapping[str, str]) -> ReportRequest:
    """Return a callback with another query, in its URL too."""
    url = urlsplit(request.url)._replace(query=urlencode(query)).geturl()
    return replace(request, query=query, url=url)


def changed_reports(request: ReportRequest) -> Iterator[ReportRequest]:
    """Give a callback with one byte of its body or one value of its query changed."""
    body = request.body
    for at in range(0, len(body), max(1, len(body) // 200)):
        yield replace(request, body=body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
    for name, value in request.query.items():
        last = chr(ord(value[-1]) ^ 1) if value else "1"
        yield with_query(request, {**request.query, name: value[:-1] + last})


def signature_parts(request: ReportRequest) -> Iterator[tuple[str, ReportRequest, ReportRequest]]:
    """Give each part that may be a signature: its name, the callback with another one, the callback without it."""
    headers, query, body = request.headers, request.query, request.body
    for name in headers:
        if name not in {"content-type", "content-length"}:
            yield (
                f"header {name}", replace(request, headers={**headers, name: "0" + headers[name]}),
                replace(request, headers=without(headers, name)),
            )
    for name in query:
        yield (
            f"query {name}", with_query(request, {**query, name: "0" + query[name]}),
            with_query(request, without(query, name)),
        )
    try:
        members = json.loads(body)
    except ValueError:
        members = None  # a form, perhaps
    for name in members if isinstance(members, dict) else ():
        yield (
            f"member {name}", replace(request, body=json.dumps({**members, name: MARK}).encode()),
            replace(request, body=json.dumps(without(members, name)).encode()),
        )
    fields = body.split(b"&") if members is None and b"=" in body else []
    for number, field in enumerate(fields):
        before, after = fields[:number], fields[number + 1:]
        yield (
            f"field {field.partition(b'=')[0]!r}", replace(request, body=b"&".join([*before, field + b"0", *after])),
            replace(request, body=b"&".join(before + after)),
        )
