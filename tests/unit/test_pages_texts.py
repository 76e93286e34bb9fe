"""What pages say and where they lead: the texts of [page], and ways back."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from web_harness import CONFIG, NOW_MS, catalogue

from otp_service.core.client import Client
from otp_service.core.errors import ConfigurationError
from otp_service.core.messages import Catalogue
from otp_service.core.page_texts import PAGE_TEXTS
from otp_service.core.verification import Delivery, Links, Ownership, Status, Verification
from otp_service.web.pages.assets import Assets
from otp_service.web.pages.links import form_targets, origin_of, way_back
from otp_service.web.pages.notices import Said, Word
from otp_service.web.pages.rendering import Renderer

WEB = Path(__file__).parents[2] / "otp_service" / "web"
ID = "2-k1-aaaaaaaaaaaaaaaaaaaaaaaaaa"
CLIENT = Client("portal", return_hosts=frozenset({"portal.example", "www.portal.example"}))


def vietnamese() -> dict[str, dict[str, Any]]:
    """Read the Vietnamese catalogue, to be changed."""
    return {"vi": tomllib.loads((CONFIG / "messages" / "vi.toml").read_text("utf-8"))}


class TestTexts:
    def test_page_texts(self) -> None:
        """Pages and element get the same raw texts, placeholders unfilled, under dotted names."""
        texts = catalogue().page("vi")

        assert "Có thể gửi lại sau {time}." == texts["page.resend_in"]
        assert "ownership_not_confirmed" in {name.partition(".")[2] for name in texts}
        assert {"page", "statuses", "reasons"} == {name.partition(".")[0] for name in texts}

    def test_unknown_locale_reads_the_default(self) -> None:
        """A page in a language that is not there is Vietnamese."""
        assert catalogue().page("vi") is catalogue().page("fr")

    @pytest.mark.parametrize(("seconds", "phrase"), [
        (1, "1 giây"), (119, "119 giây"), (121, "3 phút"), (7201, "3 giờ"),
    ])
    def test_duration(self, seconds: int, phrase: str) -> None:
        """A wait is rounded up."""
        assert phrase == catalogue().duration("vi", seconds)

    def test_every_text_is_shown(self) -> None:
        """Each name of [page] is read by a template, the pages' code or the element: none is translated in vain."""
        sources = [
            path.read_text("utf-8") for folder in ("pages", "element") for path in (WEB / folder).rglob("*.*")
            if path.suffix in {".py", ".html", ".js"}
        ]
        composed = {"heading", "text"}
        unread = {
            key for key in PAGE_TEXTS
            if not any(re.search(rf"\b{key}\b", source) for source in sources)
            and key.rpartition("_")[2] not in composed and not key.startswith(("delivery_", "action_"))
        }

        assert set() == unread

    def test_a_missing_text_refuses_to_start(self) -> None:
        """A page never finds out at run time that a sentence is missing."""
        texts = vietnamese()
        del texts["vi"]["page"]["submit"]

        with pytest.raises(ConfigurationError, match=r"messages vi: page\.submit: missing"):
            Catalogue(texts)

    @pytest.mark.parametrize(("name", "text", "said"), [
        ("submit", "Xác nhận {code}", r"page\.submit: cannot be filled: \{code\}"),
        ("sumbit", "Xác nhận", r"page\.sumbit: no text of that name is ever read"),
    ])
    def test_a_wrong_text_refuses_to_start(self, name: str, text: str, said: str) -> None:
        """A placeholder that no page fills, or a misspelt name, is found at start-up."""
        texts = vietnamese()
        texts["vi"]["page"][name] = text

        with pytest.raises(ConfigurationError, match=said):
            Catalogue(texts)


def test_asked_before_the_code() -> None:
    """Where ownership is asked first, nothing is said of a code that nobody has sent."""
    verification = Verification(
        id=ID, client="portal", purpose="careful", status=Status.CHECKING_OWNERSHIP, reason=None, locale="vi",
        reference=None, phone_number="+84900000001", test=False, code_length=6, send_number=0, created_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 900_000, code_expires_at_ms=None, resend_at_ms=None, sends_left=4, attempts_left=5,
        delivery=Delivery.QUEUED, ownership=Ownership(), finished_at_ms=None, now_ms=NOW_MS, asked_before=True,
    )
    page = Renderer(catalogue(), Assets("")).verification(
        verification, CLIENT, path=f"/v/{ID}", locale="vi", lang=None, word=Word(Said.WRONG_CODE), back=None,
    )
    text = page.body.decode() if isinstance(page.body, bytes) else ""

    assert "Trước khi gửi mã" in text
    assert "Mã đúng" not in text
    assert "Mã vừa nhập" not in text
    assert "<title>Đang hỏi nhà mạng" in text
    assert 'data-mark="checking_ownership.0.0"' in text
    assert "Cần giúp đỡ" not in text, "this client has no hotline"


class TestWayBack:
    @pytest.mark.parametrize(("given", "made"), [
        ("https://portal.example/ve", f"https://portal.example/ve?verification_id={ID}"),
        ("https://portal.example", f"https://portal.example?verification_id={ID}"),
        ("https://portal.example/?a=%C3%A1&b", f"https://portal.example/?a=%C3%A1&b&verification_id={ID}"),
        ("https://portal.example/?verification_id=x&a=1&verification%5Fid=y",
         f"https://portal.example/?a=1&verification_id={ID}"),
    ])
    def test_id_is_added(self, given: str, made: str) -> None:
        """The way back has the id once, and otherwise what the portal wrote, byte for byte."""
        assert made == way_back(CLIENT, Links(None, given), ID)

    def test_no_way_back(self) -> None:
        """Without a ``return_url``, or when the client has lost its host since, there is none."""
        lost = replace(CLIENT, return_hosts=frozenset())

        assert way_back(CLIENT, Links(), ID) is None
        assert way_back(lost, Links(None, "https://portal.example/ve"), ID) is None

    def test_forms_may_lead_to_every_registered_host(self) -> None:
        """The policy names the way back and the hosts the portal may send on to, and nothing where there is none."""
        assert " https://portal.example https://www.portal.example" == form_targets(CLIENT, "https://portal.example/ve")
        assert " http://127.0.0.1:8081" == form_targets(
            replace(CLIENT, return_hosts=frozenset({"loopback"})), "http://127.0.0.1:8081/ve",
        )
        assert not form_targets(CLIENT, None)

    @pytest.mark.parametrize(("url", "origin"), [
        ("https://OTP.example:443/x", "https://otp.example"), ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:80/", "http://localhost"), ("https://otp.example:8443/otp", "https://otp.example:8443"),
    ])
    def test_origin(self, url: str, origin: str) -> None:
        """An origin is written as browsers write it."""
        assert origin == origin_of(url)
