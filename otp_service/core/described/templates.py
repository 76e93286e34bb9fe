"""
HTTP requests that are described in the settings: texts with placeholders, and how they are filled in.

::

    url = "https://api.example.vn/{account}/send"    # with placeholders after the host
    method = "POST"                                  # GET, POST, PUT
    headers.authorization = "Bearer {secret}"
    query.v = "1"                                    # appended to the URL
    json = {to = "{to}", options = {ttl = "{ttl}"}}  # or form = {...}

``{{`` and ``}}`` stand for braces.  What is filled in is data: it is escaped for where it stands and is not searched
for placeholders again.  A JSON value that is one placeholder and no more becomes a number when its value is one.
A member of query, form or JSON with a placeholder that has no value is left out.
A value that would make a segment of the URL's path ``.`` or ``..`` leads elsewhere: no request is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

import orjson

from otp_service.core.described.check import Check, listed, shown
from otp_service.core.ports import HttpRequest

_METHODS: Final = ("GET", "POST", "PUT")
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_OWN_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

#: What placeholders stand for.
Values = Mapping[str, str | int]


# -- what a description becomes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Template:
    """A text with placeholders: pieces, each with whether it is a placeholder's name."""

    pieces: tuple[tuple[bool, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of its placeholders."""
        return frozenset(piece for is_name, piece in self.pieces if is_name)

    def fill(self, values: Values, escape: Callable[[str], str] = str) -> str:
        """Fill in the values, each escaped; every placeholder must have one."""
        return "".join(escape(str(values[piece])) if is_name else piece for is_name, piece in self.pieces)


@dataclass(frozen=True, slots=True, repr=False)
class RequestTemplate:
    """
    A described request.

    Attributes:
        method: in capitals.
        url: with a host that is fixed.
        headers: by their names in small letters.
        query: what is appended to the URL.
        form: the body as a form, None when it is none.
        json: the body as JSON with a Template for each text, None when it is not JSON.
    """

    method: str
    url: Template
    headers: Mapping[str, Template]
    query: Mapping[str, Template]
    form: Mapping[str, Template] | None
    json: object

    def fill(self, values: Values) -> HttpRequest | None:
        """
        Fill everything in; None when a value would lead to another path than the described one.

        The URL's and the headers' placeholders must all have values.
        """
        url = _fill_url(self.url, values)
        if url is None:
            return None
        if query := _fill_all(self.query, values):
            url += ("&" if "?" in url else "?") + urlencode(query, quote_via=quote)
        body = b""
        if self.form is not None:
            body = urlencode(_fill_all(self.form, values)).encode()
        elif self.json is not None:
            body = orjson.dumps(_fill_json(self.json, values))
        return HttpRequest(self.method, url, _fill_all(self.headers, values), body)


# -- filling in ----------------------------------------------------------------------------------------------------


def _fill_url(template: Template, values: Values) -> str | None:
    """
    Fill the URL in; None when a value makes ``.`` or ``..`` of a segment of its path.

    Such a segment leads to another path than the described one.  To escape the dots would not help: a client or
    server that keeps to the rules for URLs takes ``%2E`` for a dot.
    """
    url = template.fill(values, lambda value: quote(value, safe=""))
    as_described = template.fill(values, lambda _: "x")
    return url if _dot_segments(url) == _dot_segments(as_described) else None


def _dot_segments(url: str) -> int:
    return sum(unquote(segment) in {".", ".."} for segment in urlsplit(url).path.split("/"))


def _fill_all(templates: Mapping[str, Template], values: Values) -> dict[str, str]:
    return {name: template.fill(values) for name, template in templates.items() if not _lacks(template, values)}


def _fill_json(node: object, values: Values) -> object:
    if isinstance(node, Template):
        return values[node.pieces[0][1]] if len(node.pieces) == 1 and node.pieces[0][0] else node.fill(values)
    if isinstance(node, dict):
        return {name: _fill_json(below, values) for name, below in node.items() if not _lacks(below, values)}
    return [_fill_json(below, values) for below in node] if isinstance(node, list) else node


def _lacks(node: object, values: Values) -> bool:
    """Whether a text has a placeholder without a value."""
    return isinstance(node, Template) and not node.names <= values.keys()


# -- reading a description -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placeholders:
    """What may stand in braces: names, and ``prefix`` followed by any name of small letters, digits and ``_``."""

    names: frozenset[str]
    prefix: str = ""

    def __contains__(self, name: str) -> bool:
        own = name.removeprefix(self.prefix) if self.prefix and name.startswith(self.prefix) else ""
        return name in self.names or bool(_OWN_NAME.fullmatch(own))

    def __str__(self) -> str:
        names = [*sorted(self.names), *([f"{self.prefix}<name>"] if self.prefix else [])]
        return listed([f"{{{one}}}" for one in names])


class RequestReader:
    """
    Reads a described request; every mistake goes to ``check``.

    Args:
        check: told the mistakes.
        url, query, headers, body: what may stand in braces there.

    Attributes:
        used: the placeholders met so far.
    """

    def __init__(
        self, check: Check, *, url: Placeholders, query: Placeholders, headers: Placeholders, body: Placeholders,
    ) -> None:
        self.used: set[str] = set()
        self._check = check
        self._in_url, self._in_query, self._in_headers, self._in_body = url, query, headers, body

    def read(
        self, *, method: object, url: object, headers: object, query: object, form: object, json: object,
    ) -> RequestTemplate:
        """Read the options of these names; None stands for one that is not written."""
        check = self._check
        method_read = check.choice("method", method.upper() if isinstance(method, str) else method, _METHODS)
        url_read = self._url(url)
        query_read = self._templates("query", {} if query is None else query, self._in_query)
        form_read = None if form is None else self._templates("form", form, self._in_body)
        json_read = None if json is None else self._json("json", json)
        headers_read = self._headers({} if headers is None else headers)
        kind = "application/json" if json is not None else "application/x-www-form-urlencoded"
        if json is not None or form is not None:
            headers_read.setdefault("content-type", Template(((False, kind),)))
        headers_read.setdefault("accept", Template(((False, "application/json"),)))
        if json is not None and form is not None:
            check.tell("form", "write either form or json")
        if method_read == "GET" and (json is not None or form is not None):
            check.tell("method", "a GET has no body: write POST, or query in place of form and json")
        return RequestTemplate(method_read, url_read, headers_read, query_read, form_read, json_read)

    def check_use(self, option: str, *, given: bool, needed: bool = True) -> None:
        """Compare what is given with what is used; ``needed`` says whether the placeholder needs the option."""
        placeholder = option.removesuffix("s")
        if given and placeholder not in self.used:
            self._check.tell(option, f"nothing uses {{{placeholder}}}")
        if not given and placeholder in self.used and needed:
            self._check.tell(option, f"something uses {{{placeholder}}}, so write it")

    def _url(self, value: object) -> Template:
        check, told = self._check, self._check.told
        template = self._template("url", value, self._in_url)
        literal = "".join("x" if is_name else piece for is_name, piece in template.pieces)
        begins = template.pieces[0][1] if template.pieces and not template.pieces[0][0] else ""
        try:
            parts, host = urlsplit(literal), urlsplit(begins).netloc
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            good = good and parts.netloc == host
        except ValueError:
            # An unclosed bracket of an IPv6 address, or a port that is none: as bad as no host.
            good = False
        bad = not good or not re.fullmatch(r"[!-~]+", literal) or "#" in literal or "@" in urlsplit(begins).netloc
        if bad and check.told == told:
            check.tell(
                "url", "write an address that begins with http:// or https:// and has placeholders after its host",
            )
        return template

    def _headers(self, value: object) -> dict[str, Template]:
        check = self._check
        headers: dict[str, Template] = {}
        for name, text in check.table("headers", value).items():
            if not _HEADER_NAME.fullmatch(name):
                check.tell("headers", "a name that is no header's")
            template = self._template(f"headers.{name}", text, self._in_headers)
            if not all(re.fullmatch(r"[ -~]*", piece) for _, piece in template.pieces):
                check.tell(f"headers.{name}", "write one line of ASCII")
            if name.lower() in headers:
                check.tell(f"headers.{name}", "the same header is there in other letters")
            headers[name.lower()] = template
        return headers

    def _templates(self, name: str, value: object, allowed: Placeholders) -> dict[str, Template]:
        """Read a table of texts with placeholders."""
        table = self._check.table(name, value)
        return {key: self._template(self._plain(f"{name}.{key}"), below, allowed) for key, below in table.items()}

    def _json(self, name: str, value: object) -> object:
        """Read a JSON value whose texts have placeholders."""
        if isinstance(value, Mapping):
            below = self._check.table(name, value)
            return {key: self._json(self._plain(f"{name}.{key}"), inner) for key, inner in below.items()}
        if isinstance(value, list | tuple):
            return [self._json(f"{name}.{number}", inner) for number, inner in enumerate(value)]
        if isinstance(value, str):
            return self._template(name, value, self._in_body)
        if value is not None and not isinstance(value, bool | int | float):
            self._check.tell(name, "write a text, a number, true or false, a list or a table")
        if isinstance(value, float) and not isfinite(value):
            self._check.tell(name, "JSON has no such number")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            self._check.tell(name, "a number too large for JSON: write a text")
        return value

    def _plain(self, name: str) -> str:
        """Refuse placeholders in a name, where they would go out as they stand."""
        if "{" in name or "}" in name:
            self._check.tell(name, "names have no placeholders")
        return name

    def _template(self, name: str, value: object, allowed: Placeholders) -> Template:
        """Read a text with placeholders; a number or boolean is taken as its text."""
        text = shown(value)
        if text is None:
            self._check.tell(name, "write a text")
            return Template(())
        pieces: list[tuple[bool, str]] = []
        end = 0
        for match in _TOKEN.finditer(text):
            pieces += [(False, text[end:match.start()])] if match.start() > end else []
            pieces.append(self._piece(name, match, allowed))
            end = match.end()
        pieces += [(False, text[end:])] if end < len(text) else []
        return Template(tuple(pieces))

    def _piece(self, name: str, match: re.Match[str], allowed: Placeholders) -> tuple[bool, str]:
        inner = match[1]
        if inner is None:
            if len(match[0]) == 1:
                self._check.tell(name, "a brace that stands alone: write {{ or }} for the character itself")
            return False, match[0][0]
        if inner not in allowed:
            self._check.tell(name, f"a placeholder that cannot stand here: write {allowed}")
            return False, ""
        self.used.add(inner)
        return True, inner
