"""The drop-in element's files: served as they should be, small, and saying the same in script, types and document."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis
from support.element import EVENTS
from web_harness import NOW_MS, ORIGIN, PUBLIC_URL, Web, catalogue, serve

from otp_service.core.verification import Delivery, Status
from otp_service.web.element import script

GUIDE = (Path(__file__).parents[2] / "docs" / "drop-in-element.md").read_text("utf-8")
TYPES = script.source(script.TYPES)
CODE = {name: script.source(name) for name in script.SOURCES}
ALL = "\n".join(CODE.values())


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


# -- serving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "media"), [
    ("/element.js", "text/javascript; charset=utf-8"), ("/element.d.ts", "text/plain; charset=utf-8"),
])
async def test_served_to_every_origin(service: Web, path: str, media: str) -> None:
    """Any page may load the files, browsers keep them five minutes, and nobody needs a key."""
    response = await service.call("GET", path, key=None, headers={"Origin": "https://anybody.example"})
    expected = {
        "Content-Type": media, "Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding",
    }

    assert (200, expected) == (response.status, {name: response.headers[name] for name in expected})


async def test_not_sent_twice(service: Web) -> None:
    """Whoever has the file is told so without a body, packed or not; another version is sent."""
    first = await service.call("GET", "/element.js")
    tag = first.headers["ETag"]
    again = [
        await service.call("GET", "/element.js", headers={"If-None-Match": one})
        for one in (tag, tag.removeprefix("W/"), f'"other", {tag}', '"other"')
    ]

    assert [304, 304, 304, 200] == [response.status for response in again]
    assert b"" == await again[0].read()
    assert tag == again[0].headers["ETag"]


@pytest.mark.parametrize(("accepted", "encoding"), [
    ("gzip, deflate, br", "gzip"), ("br;q=1.0, GZIP;q=0.5", "gzip"), ("identity", None), ("gzip;q=0", None),
    ("gzip; q=0.00", None), ("br", None),
])
async def test_packed(service: Web, accepted: str, encoding: str | None) -> None:
    """The script is packed for those who take it so, and is the same script."""
    url = service.http.make_url("/element.js")
    async with service.http.session.get(url, headers={"Accept-Encoding": accepted}) as response:
        assert encoding == response.headers.get("Content-Encoding")
        assert script.render(catalogue(), PUBLIC_URL) == await response.read()


async def test_its_requests_are_counted(service: Web) -> None:
    """The files are routes of their own in the metrics."""
    await service.call("HEAD", "/element.js")
    rendered = service.deps.metrics.render()[0].decode()

    assert 'otp_http_requests_total{method="HEAD",route="/element.js",status="200"} 1.0' in rendered


async def test_browsers_are_told_the_time(service: Web) -> None:
    """Invariant 4: a browser's answers carry the store's clock, by which it counts down, and it may read it."""
    started = await service.start()
    response = await service.call(
        "GET", f"/v1/verifications/{started['id']}", key=started["client_token"], headers={"Origin": ORIGIN},
    )

    assert formatdate(NOW_MS // 1000, usegmt=True) == response.headers["Date"]
    assert "Date" in response.headers["Access-Control-Expose-Headers"].split(", ")


# -- the script --------------------------------------------------------------------------------------------------------


def test_size() -> None:
    """Over the wire it is under 12 kB, so that it is there at once on a cheap phone's connection."""
    assert len(gzip.compress(script.render(catalogue(), PUBLIC_URL))) < 12_000


def test_it_speaks_every_language() -> None:
    """It carries the texts it says in each language, and the service's address."""
    rendered = script.render(catalogue(), PUBLIC_URL).decode()
    for locale in catalogue().locales:
        assert catalogue().page(locale)["page.submit"] in rendered
    assert f'const HOME = "{PUBLIC_URL}";' in rendered


def test_it_knows_no_other_host() -> None:
    """No address stands in it but the service's own."""
    rendered = script.render(catalogue(), PUBLIC_URL).decode()
    assert [PUBLIC_URL] == re.findall(r"https?://[^\"'` ]*", rendered)


def test_its_texts_are_those_it_says() -> None:
    """Each text that the sources name is carried, and each that is carried is named."""
    named = {name.replace("${", "{") for name in re.findall(r"(?:page|statuses)\.[a-z_]*(?:\$\{[^}]*\}[a-z_]*)*", ALL)}
    named |= {f"page.{step}" for step in re.findall(r'"(step_[a-z]+)"', ALL)} | {"page.said_resent"}
    patterns = [re.compile(re.sub(r"\{[^}]*\}", "[a-z_]*", name.replace(".", r"\."))) for name in named]

    assert set() == {text for text in script.TEXTS if not any(one.fullmatch(text) for one in patterns)}
    assert set() == {name for name in named if "{" not in name} - set(script.TEXTS)
    assert sorted(set(script.TEXTS)) == list(script.TEXTS)


def test_squeezing_leaves_texts_alone() -> None:
    """No text of a source runs over a line's end, where leaving out indentation would change it."""
    odd = [line for line in f"{ALL}\n{script.source(script.STYLE)}".splitlines() if line.count("`") % 2]
    assert [] == odd


def test_it_makes_no_markup_from_strings() -> None:
    """Nothing is parsed or evaluated, so that a portal's policy may forbid both."""
    assert [] == re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|\.style\b", ALL)


# -- script, types and document ----------------------------------------------------------------------------------------


def union(name: str) -> set[str]:
    """Return the strings of a union type."""
    found = re.search(rf"^type {name} =(.*?);", TYPES, re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(re.findall(r'"([a-z_]+)"', found[1]))


def table(title: str) -> dict[str, str]:
    """Return a table of the document: the name in its first column → the rest of the row."""
    lines = iter(GUIDE.splitlines())
    next(line for line in lines if line.startswith(f"| {title} |"))
    rows = [line for line in iter(lambda: next(lines, ""), "") if not line.startswith("|--")]
    return {name.strip("`"): rest for name, rest in (row.strip("| ").split(" | ", 1) for row in rows)}


def test_the_types_know_the_states() -> None:
    """The types name each status and each state of an SMS that the service knows."""
    assert set(Status) == union("OtpStatus")
    assert set(Delivery) == union("OtpDelivery")


async def test_the_types_know_the_answer(service: Web) -> None:
    """What the types say of a verification is what a browser is answered."""
    started = await service.start()
    response = await service.call("GET", f"/v1/verifications/{started['id']}", key=started["client_token"])
    body = re.search(r"interface OtpSnapshot \{(.*?)^\}", TYPES, re.MULTILINE | re.DOTALL)
    assert body is not None
    assert list(await response.json()) == re.findall(r"readonly ([a-z_]+):", body[1])


def test_the_same_events_everywhere() -> None:
    """The events that the script fires are those of the types and of the document."""
    ends = re.search(r"const ENDS = (\[.*?\]);", CODE["flow.js"])
    assert ends is not None
    fired = set(re.findall(r'mit\("(otp-[a-z]+)"', ALL)) | {f"otp-{end}" for end in re.findall(r'"([a-z]+)"', ends[1])}
    typed = re.findall(r'^  "(otp-[a-z]+)": CustomEvent<', TYPES, re.MULTILINE)

    assert set(EVENTS) == fired == set(typed) == set(table("Event"))
    assert {status.value for status in Status if status.final} == set(re.findall(r'"([a-z]+)"', ends[1]))


def test_the_same_members_of_events_everywhere() -> None:
    """The details of each event in the types are those of the document."""
    refusal = re.search(r"interface OtpRefusal \{(.*?)^\}", TYPES, re.MULTILINE | re.DOTALL)
    assert refusal is not None
    spelt: Mapping[str, str] = {"OtpRefusal": refusal[1], "OtpTrouble": "readonly code:"}
    typed = {
        name: re.findall(r"readonly ([a-z_]+):", spelt.get(detail, detail))
        for name, detail in re.findall(r'^  "(otp-[a-z]+)": CustomEvent<(.*)>;', TYPES, re.MULTILINE)
    }

    assert typed == {name: re.findall("`([a-z_]+)`", rest.split(" | ")[0]) for name, rest in table("Event").items()}


def test_the_same_attributes_everywhere() -> None:
    """Attributes and properties of the script are those of the types and of the document."""
    attributes, properties = (
        re.findall(r'"([a-zA-Z-]+)"', re.search(rf"const {name} = (\[.*?\]);", CODE["element.js"])[1])  # type: ignore[index]
        for name in ("ATTRIBUTES", "PROPERTIES")
    )
    setters = re.findall(r"^  set ([a-zA-Z]+)\(", CODE["element.js"], re.MULTILINE)

    assert properties == [re.sub("-([a-z])", lambda found: found[1].upper(), name) for name in attributes]
    assert set(properties) == set(setters) == set(re.findall(r"^  set ([a-zA-Z]+)\(", TYPES, re.MULTILINE))
    assert set(attributes) == set(table("Attribute"))


def test_the_same_methods_everywhere() -> None:
    """What a page can call on the element is in the types and in the document."""
    called = set(re.findall(r"^  ([a-z]+)\(", CODE["element.js"], re.MULTILINE))

    assert {"focus"} == called
    assert called == set(re.findall(r"^  ([a-z]+)\(", TYPES, re.MULTILINE))
    assert called == set(re.findall(r"`([a-z]+)\(\)`", GUIDE))


def test_the_document_knows_how_to_dress_it() -> None:
    """The parts and the custom properties that a style sheet can use are those of the document."""
    parts = set(re.findall(r'part: "([a-z]+)"', ALL))
    colours = set(re.findall(r"var\((--otp-[a-z-]+)", script.source(script.STYLE)))

    assert parts == set(re.findall("`([a-z]+)`", table("Part")["otp-verification::part(…)"]))
    assert colours == set(table("Custom property"))
