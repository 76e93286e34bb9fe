"""
The contract of an SMS gateway as one test class: whoever writes an adapter subclasses it and runs pytest.

::

    from sms_adapters.contract import GatewayContract

    class TestContract(GatewayContract):
        secrets = ("s3cret",)                                  # constructor values that no repr may show
        accepted = HttpResponse(200, {}, b'{"id": "m-1"}')     # an answer that means accepted
        reports = (ReportRequest("POST", url, headers, {}, body),)   # good callbacks, signed where they are
        polled = HttpResponse(200, {}, b'[...]')               # an answer to a poll that has a report
        token_answer = HttpResponse(200, {}, b'{...}')         # a TokenGateway's answer that has a token

        def gateway(self) -> ExampleGateway:
            return ExampleGateway(url="https://sms.example.vn", token="s3cret")

It needs nothing but the standard library.  It does not replace the adapter's own tests: what a request must look
like byte by byte, and what each code of the provider means, only its author knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlsplit
from xml.parsers import expat

from otp_service.core.ports import (
    AccessToken,
    ConnectedGateway,
    DeliveryReport,
    DeliveryState,
    Gateway,
    HttpRequest,
    HttpResponse,
    PollingGateway,
    ReportForged,
    ReportingGateway,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsGateway,
    SmsMessage,
    Supports,
    TokenGateway,
)
from otp_service.core.sms_length import segments
from sms_adapters.contract_inputs import (
    GARBAGE,
    MARK,
    TEXTS,
    changed_reports,
    mutations,
    signature_parts,
    with_query,
    without,
    wrong_types,
)

_CODE: Final = "739105"

#: The message that the adapter under test must be able to carry.
PLAIN: Final = SmsMessage(
    to="+84900000001",
    text=f"Cong DVC: {_CODE} la ma dang ky tai khoan (lan 1), hieu luc 3 phut. Khong cung cap ma nay cho ai.",
    template_key="registration",
    params=(("brand", "Cong DVC"), ("code", _CODE), ("send_number", "1"), ("validity", "3 phut")),
    reference="5-k1-k3t3u3rmwygiymua4yg2vugqla-1",
    send_number=1,
    validity_s=180,
)

_TOKEN: Final = "t0ken-of-the-contract"  # noqa: S105 - no secret: it only must not be shown

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ID: Final = re.compile(r"[!-~]{1,64}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_URL: Final = re.compile(r"https?://[!-~]+")
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{4,}")


class GatewayContract:
    """
    What every adapter must do; see the top of this file.

    Attributes:
        secrets: constructor values that must appear in no ``repr``.
        accepted: an answer that means accepted; None for a gateway that makes no request.
        reports: well-formed callbacks with correct signatures; empty without ``supports.callback``.
        polled: a well-formed answer to a poll with at least one report; None without ``supports.polling``.
        token_answer: a well-formed answer to a token request; None for what is no TokenGateway.
    """

    secrets: Sequence[str] = ()
    accepted: HttpResponse | None = None
    reports: Sequence[ReportRequest] = ()
    polled: HttpResponse | None = None
    token_answer: HttpResponse | None = None

    def gateway(self) -> Gateway:
        """Return a fresh adapter that is able to carry ``PLAIN``."""
        raise NotImplementedError("write gateway(): it returns a fresh adapter that carries contract.PLAIN")

    # -- what it says of itself ------------------------------------------------------------------------------------

    def test_it_is_a_gateway(self) -> None:
        """The adapter has the members of one of the three protocols of ``core/ports.py``."""
        gateway = self.gateway()
        assert isinstance(gateway, SmsGateway | TokenGateway | ConnectedGateway), (
            "the adapter is none of SmsGateway (build_request, parse_response), TokenGateway (build_token_request, "
            "parse_token, build_authorised, parse_response) and ConnectedGateway (open, send, close); each also has "
            "name, real and timeout_s: compare with otp_service/core/ports.py"
        )

    def test_it_has_a_name(self) -> None:
        """The name is lower case and fits a metric label."""
        name: object = self.gateway().name
        assert isinstance(name, str) and _NAME.fullmatch(name), (  # noqa: PT018 - one rule
            f"name is {name!r}: write a lower-case letter and then at most 31 of a-z, 0-9, _ and -"
        )

    def test_it_says_whether_it_reaches_phones(self) -> None:
        """``real`` is a plain yes or no: test keys rest on it."""
        real: object = self.gateway().real
        assert isinstance(real, bool), f"real is {real!r}: write True if it reaches real phones, else False"

    def test_its_timeout_is_bounded(self) -> None:
        """An attempt takes at most a minute: a code lives for three."""
        timeout_s: object = self.gateway().timeout_s
        assert isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool) and 0 < timeout_s <= 60, (  # noqa: PT018 - one rule
            f"timeout_s is {timeout_s!r}: write a number of seconds above 0 and at most 60; an option that came as "
            "text must be converted in the constructor"
        )

    def test_it_says_what_it_supports(self) -> None:
        """``supports`` is what the adapter implements, so that nobody waits for reports that never come."""
        gateway = self.gateway()
        said: object = getattr(gateway, "supports", Supports())
        assert isinstance(said, Supports), f"supports is {said!r}: write a Supports of otp_service.core.ports"
        supports = _supports(gateway)
        assert isinstance(supports.parts, int), f"supports.parts is {supports.parts!r}: write a whole number"
        assert supports.parts >= 1, f"supports.parts is {supports.parts!r}: a message has at least one part"
        if isinstance(gateway, ConnectedGateway):
            return
        assert not supports.signed or supports.callback, "supports.signed without supports.callback: nothing is signed"
        # One that an instance sets for itself may say less than the class implements: its options decide.
        by_options = said is not getattr(type(gateway), "supports", said)
        reports = isinstance(gateway, ReportingGateway)
        assert supports.callback == reports or (by_options and reports), (
            f"supports.callback is {supports.callback}, but parse_report is {'there' if reports else 'missing'}: "
            "change one of them, or set self.supports in the constructor where an option decides"
        )
        members = ("build_poll", "parse_poll", "poll_batch")
        missing = [member for member in members if not hasattr(gateway, member)]
        polls = not missing
        assert polls or len(missing) == len(members), (
            f"an adapter that can be asked needs all of build_poll, parse_poll and poll_batch: {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
        assert supports.polling == polls or (by_options and polls), (
            f"supports.polling is {supports.polling}, but build_poll, parse_poll and poll_batch are "
            f"{'there' if polls else 'missing'}: change one of them, or set self.supports in the constructor where an "
            "option decides"
        )

    # -- what it sends ---------------------------------------------------------------------------------------------

    def test_the_request_is_well_formed(self) -> None:
        """A message becomes an HTTP request that the shared sender can send, or an outcome that takes it."""
        gateway = self.gateway()
        if isinstance(gateway, ConnectedGateway):
            return
        built = _build(gateway, PLAIN, "the plain message")
        if isinstance(built, HttpRequest):
            _check_request(built, "the plain message")
            return
        assert built.taken, (
            f"build_request refused the plain message as {built.result!r}: let gateway() return an adapter that "
            "carries it (register a template for its template_key 'registration', say)"
        )

    def test_every_text_is_carried_or_refused(self) -> None:
        """No text makes the adapter raise, or build what is not well-formed."""
        gateway = self.gateway()
        if isinstance(gateway, ConnectedGateway):
            return
        for what, text in TEXTS.items():
            message = replace(PLAIN, text=text, params=(("code", text),), segments=segments(text))
            for case in (message, replace(message, template_key="no_such_template"), replace(message, params=())):
                built = _build(gateway, case, f"a text with {what}")
                if isinstance(built, HttpRequest):
                    _check_request(built, f"a text with {what}")
                else:
                    _check_outcome(built, f"build_request for a text with {what}")

    def test_nothing_private_is_shown(self) -> None:
        """Neither text, code, number nor secret stands in the ``repr`` of gateway, request or outcome."""
        gateway = self.gateway()
        shown: list[object] = [gateway]
        if not isinstance(gateway, ConnectedGateway):
            shown.append(_build(gateway, PLAIN, "the plain message"))
            if isinstance(gateway, TokenGateway):
                shown += [gateway.build_token_request(None), gateway.build_token_request(_TOKEN)]
            if self.accepted is not None:
                shown.append(_read(gateway, self.accepted, "the accepted example"))
            shown.append(_read(gateway, HttpResponse(400, {}, PLAIN.text.encode()), "the message itself"))
        for one in shown:
            self._check_shown(repr(one), f"repr of {type(one).__name__}")

    def test_a_repeated_message_is_recognised(self) -> None:
        """Where the provider drops duplicates, a retry by another worker carries what it is recognised by."""
        gateway = self.gateway()
        if isinstance(gateway, ConnectedGateway) or not _supports(gateway).deduplicates:
            return
        one, other = PLAIN, replace(PLAIN, reference="6-k1-yl5q4zr7hx2m3vbw6ndtcegska-1")
        first_one, first_other = _marks(gateway, one), _marks(gateway, other)
        # Another worker, another order: a counter or the time must not be taken for the reference.
        again = cast("SmsGateway | TokenGateway", self.gateway())
        second_other, second_one = _marks(again, other), _marks(again, one)
        for said in ((first_one & second_one) - first_other - second_other,
                     (first_other & second_other) - first_one - second_one):
            assert said, (
                "supports.deduplicates is True, but two requests for one message have nothing in common that another "
                "message's do not have: send message.reference, or an id derived from it alone (no counter, clock or "
                "random number), as the provider's request id"
            )

    # -- what it reads ---------------------------------------------------------------------------------------------

    def test_the_accepted_example_is_accepted(self) -> None:
        """The provider's good answer is read as accepted, with the id that delivery reports will name."""
        gateway = self.gateway()
        if isinstance(gateway, ConnectedGateway):
            return
        if self.accepted is None:
            assert not isinstance(_build(gateway, PLAIN, "the plain message"), HttpRequest), (
                "set accepted = HttpResponse(...), an answer of the provider that means accepted"
            )
            return
        outcome = _read(gateway, self.accepted, "the accepted example")
        assert outcome.result is SendResult.ACCEPTED, f"the accepted example is read as {outcome.result!r}"
        supports = _supports(gateway)
        assert outcome.provider_id is not None or not (supports.callback or supports.polling), (
            "the accepted example gives no provider_id: delivery reports could not be matched with the message"
        )

    def test_garbage_is_never_accepted(self) -> None:
        """What is not the provider's success is not taken for one, and a success that cannot be read may be sent."""
        for gateway, accepted in self._readers():
            for what, body in GARBAGE.items():
                for status in (accepted.status, 200, 201, 202, 302, 400, 404, 500, 503):
                    if not accepted.body.strip() and status == accepted.status:
                        continue  # a provider that says so by the status alone
                    outcome = _read(gateway, replace(accepted, status=status, body=body), f"{what}, status {status}")
                    assert outcome.result is not SendResult.ACCEPTED, f"{what}, status {status} is read as accepted"
                    assert outcome.maybe_sent or outcome.result is not SendResult.UNKNOWN or not 200 <= status < 300, (
                        f"{what}, status {status} is unknown without maybe_sent: the provider may have the message"
                    )

    def test_a_status_alone_is_never_accepted(self) -> None:
        """No status makes an empty answer a success."""
        for gateway, accepted in self._readers():
            for status in range(100, 600):
                if not accepted.body.strip() and status == accepted.status:
                    continue  # a provider that says so by the status alone
                outcome = _read(gateway, HttpResponse(status), f"status {status} without a body")
                assert outcome.result is not SendResult.ACCEPTED, f"status {status} without a body is read as accepted"

    def test_the_accepted_body_needs_a_good_status(self) -> None:
        """A proxy's error or redirect is no success, whatever its body says."""
        for gateway, accepted in self._readers():
            for status in (301, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503):
                outcome = _read(gateway, replace(accepted, status=status), f"the accepted body, status {status}")
                assert outcome.result is not SendResult.ACCEPTED, (
                    f"the accepted body is accepted with status {status}: look at the status first"
                )

    def test_a_cut_off_answer_is_never_accepted(self) -> None:
        """JSON and XML that end too early are not read as far as they go."""
        for gateway, accepted in self._readers():
            body = accepted.body.strip()
            if not body.startswith((b"{", b"[", b"<")):
                continue
            for length in range(len(body)):
                outcome = _read(gateway, replace(accepted, body=body[:length]), f"the first {length} bytes of accepted")
                assert outcome.result is not SendResult.ACCEPTED, (
                    f"the first {length} bytes of the accepted body are read as accepted: parse it, do not search in it"
                )

    def test_changed_answers_are_read(self) -> None:
        """Whatever becomes of a good answer on its way, reading it gives an outcome; only a 2xx can accept."""
        for gateway, accepted in self._readers():
            for number, body in enumerate([*wrong_types(accepted.body), *mutations(accepted.body)]):
                status = (accepted.status, 302, 500, 404)[number % 4]
                outcome = _read(gateway, replace(accepted, status=status, body=body), f"{body[:200]!r}, {status}")
                assert outcome.result is not SendResult.ACCEPTED or 200 <= status < 300, (
                    f"{body[:200]!r} is accepted with status {status}: look at the status first"
                )

    # -- delivery reports ------------------------------------------------------------------------------------------

    def test_good_reports_are_read(self) -> None:
        """Each good callback gives reports that name their message, and the same ones when it comes again."""
        gateway = self.gateway()
        if not isinstance(gateway, ReportingGateway) or not _supports(gateway).callback:
            assert not self.reports, "reports are given, but the adapter has no parse_report, or supports no callback"
            return
        assert self.reports, "set reports = (ReportRequest(...), ...), good callbacks of the provider"
        for request in self.reports:
            try:
                found = gateway.parse_report(request)
                again = gateway.parse_report(request)
            except (ReportForged, ReportUnreadable) as error:
                raise AssertionError(f"a good callback is refused: {error!r}") from error
            assert found, "a good callback gives no report"
            assert found == again, "the same callback gives other reports the second time"
            _check_reports(found, "a good callback")

    def test_bad_reports_are_refused(self) -> None:
        """A callback that cannot be read is refused with one of the two errors, and its words are not repeated."""
        gateway = self.gateway()
        if not isinstance(gateway, ReportingGateway):
            return
        bodies = [*GARBAGE.values(), f'{{"{MARK}": "{MARK}"}}'.encode(), f"{MARK}={MARK}&{MARK}".encode()]
        queries: list[dict[str, str]] = [{}, {"id": MARK}, {MARK: "\x00ạ"}, {"": ""}]
        strange = ReportRequest("POST", "https://otp.example/v1/delivery-reports/x/y", {"content-type": MARK})
        for base in (strange, replace(strange, method="GET", headers={}), *self.reports):
            for body in bodies:
                self._report(gateway, replace(base, body=body))
            for query in queries:
                self._report(gateway, replace(base, query=query, body=b""))
            for name in base.headers:
                for value in ("", MARK, "\xff", "x" * 9_000, "Bearer a.b.c"):
                    self._report(gateway, replace(base, headers={**base.headers, name: value}))
            self._report(gateway, replace(base, headers={}))

    def test_changed_reports_are_read_or_refused(self) -> None:
        """Whatever becomes of a good callback on its way, it is reports or a refusal."""
        gateway = self.gateway()
        if not isinstance(gateway, ReportingGateway):
            return
        for base in self.reports:
            for body in (*wrong_types(base.body), *mutations(base.body)):
                self._report(gateway, replace(base, body=body))
            for name in base.query:
                for value in ("", "-1", "9" * 5_000, "no such word", "\x00", "ạ", "[]"):
                    self._report(gateway, with_query(base, {**base.query, name: value}))
                self._report(gateway, with_query(base, without(base.query, name)))

    def test_forged_reports_are_refused(self) -> None:
        """Where callbacks are signed, none without a signature and none that was changed is believed."""
        gateway = self.gateway()
        if not isinstance(gateway, ReportingGateway) or not _supports(gateway).signed:
            return
        for base in self.reports:
            good = self._report(gateway, base)
            assert good is not None, "a good callback is refused"
            for changed in changed_reports(base):
                said = self._report(gateway, changed)
                assert said is None or said == good, (
                    "a changed callback is believed: compute the signature over all that the report is read from, "
                    "compare it with hmac.compare_digest, and raise ReportForged before reading anything"
                )
            for what, changed, removed in signature_parts(base):
                # What is refused when it changes is signed, or is the signature.
                assert self._report(gateway, changed) is not None or self._report(gateway, removed) is None, (
                    f"a callback without its {what} is believed although one with another is not: a missing "
                    "signature must raise ReportForged"
                )
            assert any(_is_forged(gateway, removed) for _, _, removed in signature_parts(base)), (
                "a callback without its signature is not called forged: raise ReportForged"
            )

    # -- polling ---------------------------------------------------------------------------------------------------

    def test_the_poll_asks_for_all(self) -> None:
        """A poll is a good request that names every message, up to a full batch."""
        gateway = self.gateway()
        if not isinstance(gateway, PollingGateway) or not _supports(gateway).polling:
            return
        batch: object = gateway.poll_batch
        assert isinstance(batch, int) and batch >= 1, f"poll_batch is {batch!r}: write how many ids one poll takes"  # noqa: PT018 - one rule
        for count in {1, batch}:
            ids = [str(10_000_001 + number) for number in range(count)]
            request = gateway.build_poll(ids)
            _check_request(request, f"a poll for {count} messages")
            said = request.url.encode() + request.body
            assert all(one.encode() in said for one in ids), f"a poll for {count} messages does not name all of them"
            self._check_shown(repr(request), "repr of a poll")

    def test_the_polled_example_is_read(self) -> None:
        """The provider's good answer to a poll gives reports."""
        gateway = self.gateway()
        if not isinstance(gateway, PollingGateway) or not _supports(gateway).polling:
            assert self.polled is None, "polled is given, but the adapter has no parse_poll, or supports no polling"
            return
        assert self.polled is not None, "set polled = HttpResponse(...), an answer of the provider to a poll"
        assert _read_poll(gateway, self.polled, "the polled example"), "the polled example gives no report"

    def test_bad_answers_to_a_poll_say_nothing(self) -> None:
        """What cannot be read gives no report, and nothing makes parse_poll raise."""
        gateway = self.gateway()
        if not isinstance(gateway, PollingGateway):
            return
        base = self.polled or HttpResponse(200)
        for what, body in GARBAGE.items():
            for status in (base.status, 302, 401, 404, 429, 500):
                found = _read_poll(gateway, replace(base, status=status, body=body), f"{what}, status {status}")
                assert not found, f"{what}, status {status} gives reports: {found!r}"
        for body in (*wrong_types(base.body), *mutations(base.body)):
            _read_poll(gateway, replace(base, body=body), repr(body[:200]))

    # -- tokens ----------------------------------------------------------------------------------------------------

    def test_the_token_request_is_well_formed(self) -> None:
        """The first token and the next one can be asked for."""
        gateway = self.gateway()
        if isinstance(gateway, TokenGateway):
            _check_request(gateway.build_token_request(None), "the request for a first token")
            _check_request(gateway.build_token_request(_TOKEN), "the request for another token")

    def test_the_token_example_is_read(self) -> None:
        """The provider's good answer to a token request gives a token with its life."""
        gateway = self.gateway()
        if not isinstance(gateway, TokenGateway) or self.token_answer is None:
            return
        token = _read_token(gateway, self.token_answer, "the token example")
        assert token is not None, "the token example gives no token"

    def test_a_bad_answer_is_no_token(self) -> None:
        """What is not the provider's token is none, and nothing makes parse_token raise."""
        gateway = self.gateway()
        if not isinstance(gateway, TokenGateway):
            return
        base = self.token_answer or HttpResponse(200)
        for what, body in GARBAGE.items():
            for status in (base.status, 302, 401, 500):
                token = _read_token(gateway, replace(base, status=status, body=body), f"{what}, status {status}")
                assert token is None, f"{what}, status {status} is read as a token"
        for body in (*wrong_types(base.body), *mutations(base.body)):
            _read_token(gateway, replace(base, body=body), repr(body[:200]))

    # -- helpers ---------------------------------------------------------------------------------------------------

    def _readers(self) -> Iterator[tuple[SmsGateway | TokenGateway, HttpResponse]]:
        """Give the adapter and its accepted example; nothing for a gateway that reads no answers."""
        gateway = self.gateway()
        if isinstance(gateway, SmsGateway | TokenGateway):
            # One that makes no request must still survive being asked.
            yield gateway, self.accepted or HttpResponse(200, {}, b"{}")

    def _report(self, gateway: ReportingGateway, request: ReportRequest) -> list[DeliveryReport] | None:
        """Let the adapter read a bad callback; None when it refuses it in one of the two ways."""
        try:
            found = gateway.parse_report(request)
        except (ReportForged, ReportUnreadable) as error:
            self._check_shown(str(error), "the text of a refusal")
            return None
        except Exception as error:
            raise AssertionError(
                f"parse_report raised {error!r} for body {request.body[:200]!r}, query {dict(request.query)!r:.200}: "
                "raise ReportUnreadable, or ReportForged when the signature is missing or wrong"
            ) from error
        _check_reports(found, f"a callback with body {request.body[:200]!r}")
        return found

    def _check_shown(self, shown: str, where: str) -> None:
        private = {
            "the text": PLAIN.text, "the code": _CODE, "the number": PLAIN.to[3:], "the token": _TOKEN,
            "what was sent": MARK,
        }
        private |= {f"secret {number}": secret for number, secret in enumerate(self.secrets, 1)}
        for what, value in private.items():
            assert value not in shown, f"{where} shows {what}: leave it out (field(repr=False) in a dataclass)"


# -- reading what the adapter made -------------------------------------------------------------------------------------


def _supports(gateway: object) -> Supports:
    """Return what the adapter says it supports; nothing where it does not say so."""
    supports = getattr(gateway, "supports", None)
    return supports if isinstance(supports, Supports) else Supports()


def _build(gateway: SmsGateway | TokenGateway, message: SmsMessage, what: str) -> HttpRequest | SendOutcome:
    """Let the adapter build a request, with a token where it takes one."""
    try:
        built: object = (
            gateway.build_request(message) if isinstance(gateway, SmsGateway)
            else gateway.build_authorised(message, _TOKEN)
        )
    except Exception as error:
        raise AssertionError(
            f"building a request for {what} raised {error!r}: return SendOutcome(SendResult.TEMPLATE_REJECTED) or "
            "another refusal for a message that cannot be carried"
        ) from error
    assert isinstance(built, HttpRequest | SendOutcome), (
        f"building a request for {what} returned {type(built).__name__}: return an HttpRequest or a SendOutcome"
    )
    return built


def _read(gateway: SmsGateway | TokenGateway, response: HttpResponse, what: str) -> SendOutcome:
    try:
        outcome = gateway.parse_response(response)
    except Exception as error:
        raise AssertionError(
            f"parse_response raised {error!r} for {what}: return SendOutcome(SendResult.UNKNOWN, maybe_sent=True) for "
            "what cannot be read (otp_service/core/reading.py helps)"
        ) from error
    return _check_outcome(outcome, f"parse_response for {what}")


def _read_poll(gateway: PollingGateway, response: HttpResponse, what: str) -> list[DeliveryReport]:
    try:
        found = gateway.parse_poll(response)
    except Exception as error:
        raise AssertionError(f"parse_poll raised {error!r} for {what}: return [] for what cannot be read") from error
    _check_reports(found, f"parse_poll for {what}")
    return found


def _read_token(gateway: TokenGateway, response: HttpResponse, what: str) -> AccessToken | None:
    try:
        token: object = gateway.parse_token(response)
    except Exception as error:
        raise AssertionError(f"parse_token raised {error!r} for {what}: return None for what is no token") from error
    if token is None:
        return None
    assert isinstance(token, AccessToken), f"parse_token for {what} returned {type(token).__name__}"
    value, lives_s = cast("Any", token.value), cast("Any", token.lives_s)
    assert isinstance(value, str) and value.isascii() and value.isprintable() and value, (  # noqa: PT018 - one rule
        f"parse_token for {what}: the token must be printable ASCII, because it goes into a header"
    )
    assert type(lives_s) is int and lives_s > 0, f"parse_token for {what}: lives_s is {lives_s!r:.50}"  # noqa: PT018 - one rule
    return token


def _check_outcome(outcome: object, what: str) -> SendOutcome:
    assert isinstance(outcome, SendOutcome), f"{what} returned {type(outcome).__name__}: return a SendOutcome"
    assert isinstance(outcome.result, SendResult), f"{what}: result is {outcome.result!r}, no SendResult"
    _check_words(outcome.provider_id, outcome.provider_code, what)
    return outcome


def _check_reports(found: object, what: str) -> None:
    assert isinstance(found, list), f"{what} returned {type(found).__name__}: return a list of DeliveryReport"
    for report in found:
        assert isinstance(report, DeliveryReport), f"{what}: the list has a {type(report).__name__}"
        assert isinstance(report.state, DeliveryState), f"{what}: state is {report.state!r}, no DeliveryState"
        assert report.provider_id is not None or report.reference is not None, f"{what}: the report names no message"
        _check_words(report.provider_id, report.provider_code, what)
        _check_words(report.reference, None, what)


def _check_words(identifier: object, code: object, what: str) -> None:
    """Compare an id with what the store keeps, a code with what the log shows."""
    assert identifier is None or (isinstance(identifier, str) and _ID.fullmatch(identifier)), (
        f"{what}: the id {identifier!r:.100} is not 1 to 64 printable ASCII characters without blanks "
        "(reading.provider_id refuses others)"
    )
    assert code is None or (isinstance(code, str) and len(code) <= 64 and code.isprintable()), (
        f"{what}: provider_code {code!r:.100} is not at most 64 printable characters (reading.provider_code cuts it)"
    )


def _check_request(request: object, what: str) -> None:
    """Whether the shared sender could send it; a body must be what its content-type says."""
    assert isinstance(request, HttpRequest), f"the request for {what} is a {type(request).__name__}, no HttpRequest"
    assert request.method in {"GET", "POST", "PUT", "PATCH"}, f"method {request.method!r}: write POST or GET"
    assert _URL.fullmatch(request.url), f"the URL for {what} is no absolute http(s) URL in ASCII: {request.url!r:.200}"
    assert urlsplit(request.url).hostname, f"the URL for {what} names no host: {request.url!r:.200}"
    body: object = request.body
    assert isinstance(body, bytes), f"the body for {what} is {type(body).__name__}: encode it"
    for name, value in cast("Mapping[object, object]", request.headers).items():
        assert isinstance(name, str) and _HEADER_NAME.fullmatch(name), f"{what}: {name!r} is no header name"  # noqa: PT018 - one rule
        assert isinstance(value, str), f"{what}: header {name} is {type(value).__name__}: make it text"
        assert not set(value) & set("\r\n\x00"), f"{what}: header {name} has a line break: encode it or leave it out"
    content_type = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    try:
        if not body:
            return
        if "json" in content_type:
            json.loads(body)
        elif "xml" in content_type or body.lstrip().startswith(b"<"):
            expat.ParserCreate().Parse(body, True)  # noqa: FBT003 - expat takes no keywords
    except (ValueError, expat.ExpatError) as error:
        raise AssertionError(
            f"the body for {what} is not what its content-type says ({error}): escape the text, and leave out "
            "characters that the format cannot carry"
        ) from error


def _marks(gateway: SmsGateway | TokenGateway, message: SmsMessage) -> set[str]:
    """Return the words of what is built for a message: its request's, or the id of an outcome."""
    built = _build(gateway, message, "the plain message")
    if isinstance(built, SendOutcome):
        return {built.provider_id or ""} - {""}
    _check_request(built, "the plain message")
    said = "\n".join([built.url, *built.headers.values(), built.body.decode("latin-1")])
    return set(_WORD.findall(said))


def _is_forged(gateway: ReportingGateway, request: ReportRequest) -> bool:
    try:
        gateway.parse_report(request)
    except ReportForged:
        return True
    except ReportUnreadable:
        return False
    return False
