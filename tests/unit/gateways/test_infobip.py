"""Infobip: exact requests, every status of an SMS, reports by POST and by polling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from sms_adapters.contract import GatewayContract
from sms_adapters.infobip import InfobipGateway

KEY = "s3cret-key"
REFERENCE = "5-k1-abcdefghijklmnopqrstuvwxyz-1"
CALLBACK = "https://otp.example/v1/delivery-reports/infobip/p4th"

MESSAGE = SmsMessage(
    to="+84900000001", text='Cong DVC: "123456" mã', template_key="registration", params=(),
    reference=REFERENCE, send_number=1, validity_s=180,
)

#: Every status that an SMS can have: group, id, name, what a send means by it, what a report means by it.
STATUSES = [
    (1, 3, "PENDING_WAITING_DELIVERY", "accepted", "sent"),
    (1, 7, "PENDING_ENROUTE", "accepted", "sent"),
    (1, 26, "PENDING_ACCEPTED", "accepted", "sent"),
    (2, 4, "UNDELIVERABLE_REJECTED_OPERATOR", "blocked", "failed"),
    (2, 9, "UNDELIVERABLE_NOT_DELIVERED", "temporary", "failed"),
    (2, 31, "UNDELIVERABLE_NOT_SENT", "temporary", "failed"),
    (3, 2, "DELIVERED_TO_OPERATOR", "accepted", "sent"),
    (3, 5, "DELIVERED_TO_HANDSET", "accepted", "delivered"),
    (4, 15, "EXPIRED_EXPIRED", "temporary", "failed"),
    (4, 29, "EXPIRED_DLR_UNKNOWN", "unknown", "sent"),
    (4, 87, "SIGNALS_BLOCKED", "blocked", "failed"),
    (5, 6, "REJECTED_NETWORK", "wrong_network", "failed"),
    (5, 8, "REJECTED_PREFIX_MISSING", "invalid_number", "failed"),
    (5, 10, "REJECTED_DND", "blocked", "failed"),
    (5, 11, "REJECTED_SOURCE", "sender_rejected", "failed"),
    (5, 12, "REJECTED_NOT_ENOUGH_CREDITS", "balance", "failed"),
    (5, 13, "REJECTED_SENDER", "sender_rejected", "failed"),
    (5, 14, "REJECTED_DESTINATION_BLOCKLISTED", "blocked", "failed"),
    (5, 17, "REJECTED_PREPAID_PACKAGE_EXPIRED", "balance", "failed"),
    (5, 18, "REJECTED_DESTINATION_NOT_REGISTERED", "blocked", "failed"),
    (5, 19, "REJECTED_ROUTE_NOT_AVAILABLE", "wrong_network", "failed"),
    (5, 20, "REJECTED_FLOODING_FILTER", "blocked", "failed"),
    (5, 21, "REJECTED_SYSTEM_ERROR", "temporary", "failed"),
    (5, 23, "REJECTED_DUPLICATE_MESSAGE_ID", "duplicate", "failed"),
    (5, 24, "REJECTED_INVALID_UDH", "template_rejected", "failed"),
    (5, 25, "REJECTED_MESSAGE_TOO_LONG", "template_rejected", "failed"),
    (5, 51, "MISSING_TO", "invalid_number", "failed"),
    (5, 52, "REJECTED_DESTINATION", "invalid_number", "failed"),
    (5, 87, "SIGNALS_BLOCKED", "blocked", "failed"),
    (5, 100, "UNDELIVERABLE_REJECTED_PLATFORM", "temporary", "failed"),
]


def infobip(**options: Any) -> InfobipGateway:
    """Return an adapter with these options changed."""
    return InfobipGateway(**{"api_key": KEY, "sender": "Cong DVC", **options})


def status(group: object, number: object, name: object = "NAME") -> dict[str, object]:
    """Return a status object of theirs."""
    return {"groupId": group, "groupName": "GROUP", "id": number, "name": name, "description": "Words."}


def sent(group: object, number: object, name: object = "NAME", message_id: object = REFERENCE) -> dict[str, object]:
    """Return the answer to a send."""
    message = {"messageId": message_id, "status": status(group, number, name), "destination": "84900000001"}
    return {"messages": [message]}


def result(group: object, number: object, name: object = "NAME", **more: object) -> dict[str, object]:
    """Return one delivery report."""
    error = {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False}
    return {
        "bulkId": "b-1", "messageId": REFERENCE, "to": "84900000001", "sentAt": "2026-01-31T12:00:00.000+0700",
        "status": status(group, number, name), "error": error, "messageCount": 1, **more,
    }


def answer(http_status: int, body: object) -> SendOutcome:
    """Return what the adapter makes of an answer."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return infobip().parse_response(HttpResponse(http_status, {"content-type": "application/json"}, raw))


def callback(*results: object, method: str = "POST") -> ReportRequest:
    """Return a callback with these reports."""
    return ReportRequest(
        method, CALLBACK, {"content-type": "application/json"}, {}, orjson.dumps({"results": results}),
    )


class TestContract(GatewayContract):
    secrets = (KEY, "p4th")
    accepted = HttpResponse(
        200, {"content-type": "application/json"}, orjson.dumps(sent(1, 26, "PENDING_ACCEPTED")),
    )
    reports = (callback(result(3, 5)), callback(result(1, 7), result(5, 6, messageId="another")))
    polled = HttpResponse(200, {}, orjson.dumps({"results": [result(3, 5)]}))

    def gateway(self) -> InfobipGateway:
        """Return an adapter that asks for callbacks."""
        return infobip(callback_url=CALLBACK)


class TestRequest:
    def test_the_request_is_what_the_manual_says(self) -> None:
        """The message goes out as JSON with our reference as its id, and valid as long as its code."""
        assert HttpRequest(
            "POST", "https://api.infobip.com/sms/3/messages",
            {
                "authorization": "App s3cret-key", "accept": "application/json", "content-type": "application/json",
            },
            '{"messages":[{"sender":"Cong DVC",'
            '"destinations":[{"to":"84900000001","messageId":"5-k1-abcdefghijklmnopqrstuvwxyz-1"}],'
            '"content":{"text":"Cong DVC: \\"123456\\" mã"},'
            '"options":{"validityPeriod":{"amount":180,"timeUnit":"SECONDS"}},'
            '"webhooks":{"delivery":{"url":"https://otp.example/v1/delivery-reports/infobip/p4th"},'
            '"contentType":"application/json"}}]}'.encode(),
        ) == infobip(callback_url=CALLBACK).build_request(MESSAGE)

    def test_without_a_callback_none_is_asked_for(self) -> None:
        """No callback, no webhooks; each account has an address of its own."""
        request = infobip(url="https://abc12.api.infobip.com/").build_request(MESSAGE)

        assert "https://abc12.api.infobip.com/sms/3/messages" == request.url
        assert "http://127.0.0.1:8080/sms/3/messages" == infobip(url="http://127.0.0.1:8080").build_request(MESSAGE).url
        assert "webhooks" not in orjson.loads(request.body)["messages"][0]

    @pytest.mark.parametrize(("validity_s", "amount"), [(0, 1), (1, 1), (172_800, 172_800), (200_000, 172_800)])
    def test_the_validity_stays_in_their_range(self, validity_s: int, amount: int) -> None:
        """Infobip takes at most 48 hours."""
        request = infobip().build_request(replace(MESSAGE, validity_s=validity_s))

        assert {"amount": amount, "timeUnit": "SECONDS"} == (
            orjson.loads(request.body)["messages"][0]["options"]["validityPeriod"]
        )


class TestAnswer:
    @pytest.mark.parametrize(("group", "number", "name", "meaning", "_state"), STATUSES)
    def test_every_status(self, group: int, number: int, name: str, meaning: str, _state: str) -> None:
        """Each status of a message is one result; the id is kept where they have the message."""
        taken = REFERENCE if meaning in {"accepted", "duplicate"} else None

        assert SendOutcome(SendResult(meaning), taken, name, maybe_sent=meaning == "unknown") == (
            answer(200, sent(group, number, name))
        )

    def test_a_pending_status_that_is_new_is_accepted(self) -> None:
        """The group says that they have the message, whichever status they add to it."""
        assert SendOutcome(SendResult.ACCEPTED, REFERENCE, "PENDING_NEW") == answer(200, sent(1, 999, "PENDING_NEW"))

    @pytest.mark.parametrize(("group", "number"), [
        (2, 999), (5, 999), (5, None), (5, "6"), (5, True), (0, 0), (6, 6),
        (None, 26), ("1", 26), (True, 26), (1.5, 26),
    ], ids=repr)
    def test_a_status_that_is_not_documented_is_unknown(self, group: object, number: object) -> None:
        """Infobip said something that we do not understand."""
        assert SendOutcome(SendResult.UNKNOWN, None, "NAME", maybe_sent=True) == answer(200, sent(group, number))

    @pytest.mark.parametrize("body", [
        b"", b"<html>", b"[]", {}, {"messages": []}, {"messages": {}}, {"messages": [[]]}, {"messages": None},
        {"messages": [{"messageId": REFERENCE}]}, {"messages": [{"messageId": REFERENCE, "status": "PENDING"}]},
    ])
    def test_a_success_that_cannot_be_read_is_unknown(self, body: object) -> None:
        """Nobody knows what became of the message."""
        assert SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True) == answer(200, body)

    @pytest.mark.parametrize("message_id", [None, "", "a b", 1.5, "x" * 65], ids=repr)
    def test_a_success_without_an_id_is_unknown(self, message_id: object) -> None:
        """What they accept has an id."""
        assert SendOutcome(SendResult.UNKNOWN, None, "NAME", maybe_sent=True) == (
            answer(200, sent(1, 26, message_id=message_id))
        )

    @pytest.mark.parametrize(("http_status", "meaning", "maybe_sent"), [
        (400, "unknown", False), (401, "authentication", False), (403, "authentication", False),
        (404, "unknown", False), (429, "throttled", False), (500, "temporary", True), (503, "temporary", True),
    ])
    def test_a_refused_request_counts_by_its_status(self, http_status: int, meaning: str, maybe_sent: bool) -> None:
        """Both forms of an error give their code to the log; one without gives its status."""
        for code, body in (
            (f"E{http_status}", {"errorCode": f"E{http_status}", "description": "Words.", "violations": []}),
            ("BAD_REQUEST", {"requestError": {"serviceException": {"messageId": "BAD_REQUEST", "text": "Words."}}}),
            (str(http_status), {"requestError": []}),
            (str(http_status), b"<html>"),
        ):
            assert SendOutcome(SendResult(meaning), None, code, maybe_sent=maybe_sent) == answer(http_status, body)

    @pytest.mark.parametrize("http_status", [201, 202, 204, 301, 302, 303, 307, 308])
    def test_other_successes_and_redirects_are_unknown(self, http_status: int) -> None:
        """Only 200 is documented; what came otherwise may have been sent."""
        assert SendOutcome(SendResult.UNKNOWN, None, str(http_status), maybe_sent=True) == (
            answer(http_status, {**sent(1, 26), "errorCode": "E400"})
        )


class TestReport:
    @pytest.mark.parametrize(("group", "number", "name", "_meaning", "state"), STATUSES)
    def test_every_status(self, group: int, number: int, name: str, _meaning: str, state: str) -> None:
        """Each status is one state, by callback and by poll; what reached the operator is still on its way."""
        expected = [DeliveryReport(DeliveryState(state), REFERENCE, REFERENCE, name)]
        polled = orjson.dumps({"results": [result(group, number, name)]})

        assert expected == infobip().parse_report(callback(result(group, number, name)))
        assert expected == infobip().parse_poll(HttpResponse(200, {}, polled))

    @pytest.mark.parametrize(("number", "name"), [
        (1, "EC_UNKNOWN_SUBSCRIBER"), (4101, "EC_VALIDITY_EXPIRED"), (4103, "EC_DESTINATION_FLOODING"),
    ])
    def test_the_error_goes_to_the_log(self, number: int, name: str) -> None:
        """A failure is told with Infobip's error."""
        failed = result(2, 9, error={"groupId": 1, "id": number, "name": name, "permanent": True})

        assert [DeliveryReport(DeliveryState.FAILED, REFERENCE, REFERENCE, name)] == (
            infobip().parse_report(callback(failed))
        )

    def test_many_reports_in_one_callback(self) -> None:
        """Each result is one report; another system's id is no reference of ours, and a strange one is left out."""
        reports = infobip().parse_report(callback(
            result(3, 5), {"messageId": "x"}, result(9, 9), [], result(2, 9, messageId="order_7", error=None),
        ))

        assert [
            DeliveryReport(DeliveryState.DELIVERED, REFERENCE, REFERENCE, "NAME"),
            DeliveryReport(DeliveryState.FAILED, "order_7", None, "NAME"),
        ] == reports

    def test_an_incoming_sms_is_no_report(self) -> None:
        """An SMS to us, or nothing at all, is well-formed and says nothing of ours."""
        incoming = {"messageId": "m-1", "from": "84900000001", "text": "STOP", "receivedAt": "2026-01-31T12:00:00.000"}

        assert [] == infobip().parse_report(callback(incoming))
        assert [] == infobip().parse_report(callback())

    @pytest.mark.parametrize("one", [
        {}, [], None, "x", {"messageId": REFERENCE}, {"status": status(3, 5)}, result(None, 5), result("3", 5),
        result(group=True, number=7), result(0, 0), result(6, 6), result(3, 5, messageId="a b"),
        result(3, 5, status="DELIVERED"),
    ])
    def test_what_is_no_report_is_unreadable(self, one: object) -> None:
        """Without an id and a group that is theirs there is nothing to report."""
        with pytest.raises(ReportUnreadable):
            infobip().parse_report(callback(one))

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"results": {}}', b'{"results": null}', b"\xff"])
    def test_garbage_is_unreadable(self, body: bytes) -> None:
        """Only a JSON object with a list of results is read."""
        with pytest.raises(ReportUnreadable):
            infobip().parse_report(replace(callback(), body=body))

    def test_only_a_post_is_read(self) -> None:
        """Infobip posts its reports."""
        with pytest.raises(ReportUnreadable):
            infobip().parse_report(callback(result(3, 5), method="GET"))


class TestPoll:
    def test_the_poll_asks_for_one_message(self) -> None:
        """A GET with the message's id alone: reports are given once, and others' are left where they are."""
        assert HttpRequest(
            "GET", "https://api.infobip.com/sms/3/reports?messageId=a%26b%2B1",
            {"authorization": "App s3cret-key", "accept": "application/json"},
        ) == infobip().build_poll(["a&b+1"])
        assert 1 == infobip().poll_batch

    @pytest.mark.parametrize(("http_status", "body"), [
        (200, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"results": []}'), (200, b'{"results": [{}, null]}'),
        (302, orjson.dumps({"results": [result(3, 5)]})), (401, b"{}"), (429, b"{}"), (500, b""),
    ])
    def test_what_cannot_be_read_says_nothing(self, http_status: int, body: bytes) -> None:
        """Garbage, errors and redirects are no report."""
        assert [] == infobip().parse_poll(HttpResponse(http_status, {}, body))


class TestOptions:
    def test_it_says_what_it_is(self) -> None:
        """It reaches real phones, calls back unsigned, can be asked, and drops duplicates."""
        assert ("infobip", True, False) == (InfobipGateway.name, InfobipGateway.real, InfobipGateway.experimental)
        assert Supports(callback=True, polling=True, deduplicates=True, unicode=True, parts=25) == (
            InfobipGateway.supports
        )
        assert 10.0 == InfobipGateway.timeout_s
        assert InfobipGateway.contract.startswith("Infobip documentation")

    def test_numbers_may_come_as_text(self) -> None:
        """An environment variable is text."""
        assert 5.0 == infobip(timeout_s="5").timeout_s
        assert 0.5 == infobip(timeout_s=0.5).timeout_s
        assert 60.0 == infobip(timeout_s=60).timeout_s
        assert 10.0 == infobip().timeout_s

    @pytest.mark.parametrize(("options", "named"), [
        ({"api_key": ""}, "api_key"), ({"api_key": 1}, "api_key"), ({"api_key": "s3cret\n1"}, "api_key"),
        ({"api_key": "s3cret-é"}, "api_key"), ({"sender": " "}, "sender"),
        ({"callback_url": "s3cret"}, "callback_url"), ({"callback_url": f"{CALLBACK}#s3cret"}, "callback_url"),
        ({"url": "ftp://s3cret.example"}, "url"), ({"url": "https://"}, "url"), ({"url": "https://[s3cret"}, "url"),
        ({"url": "https://x.example:s3cret"}, "url"), ({"url": "https://s3cret é.example"}, "url"), ({"url": 1}, "url"),
        ({"url": "https://x.example:0"}, "url"), ({"url": "https://x.example/s3cret x"}, "url"),
        ({"timeout_s": "s3cret"}, "timeout_s"), ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": "nan"}, "timeout_s"),
        ({"timeout_s": 61}, "timeout_s"), ({"timeout_s": True}, "timeout_s"), ({"timeout_s": None}, "timeout_s"),
    ])
    def test_bad_options_are_named_and_not_repeated(self, options: dict[str, Any], named: str) -> None:
        """An option that cannot be used is named; its value, perhaps a secret, is not shown."""
        with pytest.raises(ConfigurationError, match=named) as caught:
            infobip(**options)
        assert "s3cret" not in str(caught.value)
