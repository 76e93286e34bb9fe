"""
The script of the drop-in element, put together from ``source/`` with the texts of the catalogue.

One file without a build step: the sources stand in the order of :data:`SOURCES` inside one function, so that they see
each other and the portal's page sees none of them.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

import orjson

from otp_service.core.messages import Catalogue

#: ``element.js`` is last: its last line makes the elements that are in the page already.
SOURCES: Final = ("words.js", "view.js", "proof.js", "api.js", "flow.js", "element.js")
STYLE: Final = "style.css"
TYPES: Final = "element.d.ts"

#: The texts that the sources say, of ``Catalogue.page``; what the API says for itself is told in its own words.
TEXTS: Final = (
    "page.attempts_left", "page.cancelled_heading", "page.checking_before", "page.checking_heading",
    "page.checking_wait", "page.code_failed", "page.code_heading", "page.code_label", "page.code_left",
    "page.code_sent", "page.code_which", "page.delivery_delivered", "page.delivery_failed", "page.delivery_failed_last",
    "page.delivery_queued", "page.delivery_sent", "page.element_code_over", "page.element_press_again",
    "page.element_proving", "page.entering", "page.expired_heading", "page.gone_heading", "page.gone_text",
    "page.hotline", "page.keep_secret", "page.locked_heading", "page.offline", "page.rejected_heading",
    "page.rejected_text", "page.resend", "page.resend_advice", "page.resend_heading", "page.resend_in",
    "page.resend_now", "page.resends_left", "page.resends_none", "page.said_resent", "page.said_wrong_code",
    "page.sending", "page.sms_mark", "page.step_again", "page.step_carrier", "page.step_tttb", "page.step_vneid",
    "page.submit", "page.trouble_heading", "page.undeliverable_advice", "page.undeliverable_heading",
    "page.verified_heading", "page.what_to_do", "statuses.cancelled", "statuses.checking_ownership", "statuses.default",
    "statuses.expired", "statuses.locked", "statuses.undeliverable",
)

_COMMENT: Final = re.compile(r"^\s*//.*\n", re.MULTILINE)
_INDENT: Final = re.compile(r"^\s+", re.MULTILINE)


def render(catalogue: Catalogue, public_url: str) -> bytes:
    """
    Return the script.

    ``public_url`` is what the element calls unless its attribute ``base`` says otherwise.
    """
    texts = {}
    for locale in catalogue.locales:
        told = catalogue.page(locale)
        texts[locale] = {name: told[name] for name in TEXTS}
    values = (("HOME", public_url), ("TEXTS", texts), ("STYLE", _squeezed(source(STYLE))))
    head = "".join(f"const {name} = {orjson.dumps(value).decode()};\n" for name, value in values)
    body = "".join(_squeezed(source(name)) for name in SOURCES)
    about = f"// <otp-verification>: its types are beside it, in {TYPES}."
    return f'{about}\n(() => {{\n"use strict";\n{head}{body}}})();\n'.encode()


@cache
def source(name: str) -> str:
    """Return a source as it stands."""
    return (files(__package__) / "source" / name).read_text("utf-8")


def _squeezed(text: str) -> str:
    """Leave out what only readers of the sources need: comments that stand alone, and indentation."""
    return _INDENT.sub("", _COMMENT.sub("", text))
