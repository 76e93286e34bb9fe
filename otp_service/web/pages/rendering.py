"""The pages as HTML, with the policy that goes with each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from otp_service.core.client import Client
from otp_service.core.errors import Refusal
from otp_service.core.messages import Catalogue
from otp_service.core.verification import Status, Verification
from otp_service.web.exchange import answer_headers
from otp_service.web.pages.assets import Assets
from otp_service.web.pages.links import form_targets
from otp_service.web.pages.notices import Word, notice_of
from otp_service.web.pages.situation import code_is_over, resend_in_s, sms_failed, state_of
from otp_service.web.pages.words import Words, time_of_day, words_of

_NO_DIGIT: Final = re.compile(r"[^0-9+]")
_HTML: Final = "text/html; charset=utf-8"
#: Everything a page may do: load our style, script and icon, ask our state, and send our forms.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'{targets}; base-uri 'none'; frame-ancestors 'none'"
)


class Renderer:
    """
    Writes pages.

    Args:
        catalogue: every sentence.
        assets: what pages load.
    """

    def __init__(self, catalogue: Catalogue, assets: Assets) -> None:
        self._catalogue = catalogue
        self._environment = Environment(
            loader=PackageLoader("otp_service.web.pages"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )
        self._environment.globals["asset"] = assets.url

    def verification(
        self, verification: Verification, client: Client, *, path: str, locale: str, lang: str | None, word: Word,
        back: str | None,
    ) -> web.Response:
        """
        Show how a verification stands.

        Args:
            verification: it, as its browser may see it.
            client: whose it is.
            path: the page's own, to which the forms' names are added.
            locale: the page's language.
            lang: the language the address asks for, kept in every link and form.
            word: what the address says.
            back: the way back to the portal.
        """
        words = words_of(self._catalogue, locale, verification, client)
        pending = verification.status is Status.PENDING
        notice = notice_of(word, verification, words) if pending else None
        template, kind = _look(verification)
        heading = words[f"{kind}_heading"]
        resend_s = resend_in_s(verification)
        query = urlencode({"lang": lang}) if lang else ""
        page = self._environment.get_template(template).render(
            **self._frame(words, heading if notice is None or not notice.error else f"{words['error']}: {heading}"),
            heading=heading, notice=notice, verification=verification, state=state_of(verification, words),
            status_text=self._catalogue.text(locale, "statuses", verification.status), client=client,
            call=_NO_DIGIT.sub("", client.hotline or ""), back=back, path=path, query=f"?{query}" if query else "",
            languages=self._languages(locale, path, word.query()), keys=(token_urlsafe(12), token_urlsafe(12)),
            over=kind == "over", until=time_of_day(verification.code_expires_at_ms or 0),
            resend_wait=words.duration(resend_s) if resend_s else "", failed=sms_failed(verification),
            limited=notice is not None and notice.limited and not resend_s,
        )
        return _html(page, locale, targets=form_targets(client, back))

    def refusal(self, refusal: Refusal, locale: str, *, path: str, again: bool) -> web.Response:
        """
        Show that there is no page to show: one and the same for whatever is unknown, another's or without its token.

        ``again`` says whether it makes sense to come back to ``path``.
        """
        status = 404 if refusal.http_status == 401 else refusal.http_status
        kind = {404: "gone", 503: "unavailable"}.get(status, "trouble")
        words = Words(self._catalogue, locale, {})
        heading = words[f"{kind}_heading"]
        page = self._environment.get_template("trouble.html").render(
            **self._frame(words, heading), heading=heading, text=words[f"{kind}_text"], gone=kind == "gone",
            path=path if again and kind != "gone" else None,
            languages=self._languages(locale, path, {}) if kind == "gone" else (),
        )
        response = _html(page, locale, status)
        if refusal.retry_after_s is not None:
            response.headers["Retry-After"] = str(refusal.retry_after_s)
        response.headers.update(refusal.headers)
        return response

    def _frame(self, words: Words, title: str) -> dict[str, Any]:
        return {"t": words, "locale": words.locale, "title": title}

    def _languages(self, locale: str, path: str, query: Mapping[str, str]) -> list[tuple[str, str, str]]:
        """Return the other languages: (locale, its own name, address)."""
        return [
            (other, self._catalogue.page(other)["page.own_name"], f"{path}?{urlencode({'lang': other, **query})}")
            for other in self._catalogue.locales if other != locale
        ]


def _look(verification: Verification) -> tuple[str, str]:
    """Return a verification's template, and what its heading's name begins with."""
    match verification.status:
        case Status.PENDING:
            return "code.html", "over" if code_is_over(verification) else "code"
        case Status.CHECKING_OWNERSHIP:
            return "checking.html", "checking"
        case status:
            return "final.html", status.value


def _html(page: str, locale: str, status: int = 200, *, targets: str = "") -> web.Response:
    # A form's Origin is null under no-referrer, and Origin tells our forms from others'.
    headers = answer_headers(
        _HTML, Content_Security_Policy=_POLICY.format(targets=targets), Referrer_Policy="same-origin",
        Cross_Origin_Opener_Policy="same-origin", Content_Language=locale,
    )
    return web.Response(body=page.encode(), status=status, headers=headers)
