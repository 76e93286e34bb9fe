"""Webhooks at the sample portal: signed verdicts, each once, for the page that waits."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from portal.walk import FORM, PASSWORD, Person, Seen, Site
from standardwebhooks import Webhook

from otp_service.core.evidence import OwnershipOutcome


async def _tell(site: Site, verification_id: str, status: str, *, late_s: float = 0, **changes: Any) -> int:
    """Send a webhook signed by the reference library; returns the status of the answer."""
    at = datetime.fromtimestamp(site.stage.engine.clock.now_ms / 1000, UTC) - timedelta(seconds=late_s)
    body = json.dumps({
        "type": "verification.finished", "timestamp": at.isoformat(),
        "data": {"id": verification_id, "reference": None, "status": status},
    })
    webhook_id = f"msg_{verification_id}"
    headers = {
        "webhook-id": webhook_id, "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(site.secret).sign(webhook_id, at, body), "Content-Type": "application/json",
    }
    anybody = await site.person()
    sent = {"data": changes.get("body", body), "headers": headers | changes.get("headers", {})}
    async with anybody.http.post(f"{site.base}/webhooks/otp", **sent) as got:
        assert "" == await got.text()
        return got.status


async def _checking(site: Site, person: Person) -> tuple[Seen, str]:
    """Walk to the page that waits for the operator; returns it and the verification."""
    site.stage.engine.source.outcome = OwnershipOutcome.ERROR
    page = await person.submit(await person.get("/dang-ky"), **FORM)
    verification_id = await site.enter_code(page)
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Đang đối chiếu với nhà mạng" == page.heading
    return page, verification_id


async def test_the_services_own_webhook_is_taken(site: Site) -> None:
    """What the service's worker delivers is verified, kept once, and answered with 204 (Invariant 10)."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    verification_id = page.query["verification_id"]
    assert 1 == await site.tell()
    assert 0 == await site.tell()
    assert [(f"msg_{verification_id}", verification_id, "verified")] == [
        (one["webhook_id"], one["verification_id"], one["status"]) for one in site.rows("webhooks")
    ]


async def test_a_webhook_of_another_kind_is_no_verdict(site: Site) -> None:
    """What a later version of the service may tell is acknowledged and not taken for a verdict."""
    told = json.dumps({
        "type": "verification.started", "timestamp": "2026-01-31T08:00:00Z",
        "data": {"id": "d-1", "reference": None, "status": "pending"},
    })
    at = datetime.fromtimestamp(site.stage.engine.clock.now_ms / 1000, UTC)
    signature = Webhook(site.secret).sign("msg_d-1", at, told)
    assert 204 == await _tell(site, "d-1", "verified", body=told, headers={"webhook-signature": signature})
    assert [] == site.rows("webhooks")


async def test_a_webhook_that_comes_again_changes_nothing(site: Site) -> None:
    """Delivery is at least once: the same id, at once or later, with whatever status, is the same verdict."""
    assert [204] * 4 == await asyncio.gather(*(_tell(site, "d-1", "rejected") for _ in range(4)))
    assert 204 == await _tell(site, "d-1", "verified")
    assert [("msg_d-1", "rejected")] == [(one["webhook_id"], one["status"]) for one in site.rows("webhooks")]


async def test_what_the_service_did_not_sign_is_refused(site: Site) -> None:
    """A changed body, a wrong secret, an old recording and no signature at all: 400, and nothing is kept."""
    body = json.dumps({"type": "verification.finished", "timestamp": "2026-01-31T08:00:00Z", "data": {
        "id": "d-1", "reference": None, "status": "verified",
    }})
    assert 400 == await _tell(site, "d-1", "rejected", body=body)
    assert 400 == await _tell(site, "d-1", "verified", late_s=301)
    assert 400 == await _tell(site, "d-1", "verified", headers={"webhook-signature": "v1,AAAA"})
    assert 400 == await _tell(site, "d-1", "verified", headers={"webhook-id": "msg_d-2"})
    assert [] == site.rows("webhooks")


async def test_the_page_that_waits_shows_what_the_webhook_brought(site: Site) -> None:
    """While the operator is asked the page waits; the verdict by webhook ends it, even with the service away."""
    person = await site.person()
    page, verification_id = await _checking(site, person)
    flow = site.rows("flows")[0]["id"]
    assert f'data-wait="/xac-thuc/{flow}/trang-thai"' in page.html
    # Without JavaScript the page looks again by itself.
    assert '<noscript><meta http-equiv="refresh"' in page.html

    async def state() -> Any:
        return json.loads((await person.get(f"/xac-thuc/{flow}/trang-thai")).html)

    assert {"status": "checking_ownership", "final": False} == await state()
    site.network.refuse()
    assert 204 == await _tell(site, verification_id, "rejected")
    assert {"status": "rejected", "final": True} == await state()
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Chưa xác nhận được SIM chính chủ" == page.heading


async def test_a_webhook_alone_opens_nothing(site: Site) -> None:
    """A verdict "verified" that only the webhook claims shows the password form, and redeeming still refuses it."""
    person = await site.person()
    _, verification_id = await _checking(site, person)
    assert 204 == await _tell(site, verification_id, "verified")
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    refused = await person.submit(page, password=PASSWORD, password_again=PASSWORD)
    assert (409, []) == (refused.status, site.rows("accounts"))


async def test_a_word_from_a_later_version_is_no_yes(site: Site) -> None:
    """A status that this portal does not know is treated as not verified."""
    person = await site.person()
    _, verification_id = await _checking(site, person)
    assert 204 == await _tell(site, verification_id, "verified_by_post")
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Chưa rõ kết quả" == page.heading
