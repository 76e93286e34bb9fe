"""The fields of the portal's forms, as a screen reader finds them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from portal.walk import FORM, PASSWORD, Seen, Site


class _Fields(HTMLParser):
    """Collects ids, and the attributes of everything that is typed into."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fields: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids.add(attributes.get("id") or "")
        if tag == "input" and attributes.get("type") != "hidden":
            self.fields.append(attributes)


def held(page: Seen) -> list[str]:
    """Return the names of a page's fields, each of which must be required and tied to texts that are there."""
    found = _Fields(page.html)
    for field in found.fields:
        assert not {name for name in field if "required" in name} - {"required"}, field
        for one in (field.get("aria-describedby") or "").split():
            assert one in found.ids, field
    return [str(field["name"]) for field in found.fields if "required" in field and field.get("aria-describedby")]


@pytest.mark.parametrize("wrong", [False, True])
async def test_fields_of_the_registration(site: Site, *, wrong: bool) -> None:
    """Each field is required and tied to its hint, and to its error where there is one."""
    person = await site.person()
    page = await person.get("/dang-ky")
    if wrong:
        page = await person.submit(page, "/dang-ky", **dict.fromkeys(FORM, "x"))

    assert list(FORM) == held(page)


async def test_fields_of_the_password(site: Site) -> None:
    """The new password is tied to the rule it must follow."""
    page = await site.verified(await site.person(), **FORM)

    assert "password" in held(page)
    assert PASSWORD not in page.html
