from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core import errors
from otp_service.core.errors import ConfigurationError
from otp_service.core.locales import _negotiate, negotiate_locale
from otp_service.core.messages import Catalogue, RenderedSms
from otp_service.core.sms_length import GSM7_BASIC, GSM7_EXTENSION, is_gsm7, segments
from otp_service.core.verification import Reason, Status

FOLDER = Path(__file__).parents[2] / "config" / "messages"
TEXTS = {locale: tomllib.loads((FOLDER / f"{locale}.toml").read_text("utf-8")) for locale in ("vi", "en")}
CATALOGUE = Catalogue(TEXTS)

SMS_KEYS = {
    "default", "registration", "account_link", "sign_in", "password_reset", "assisted_registration", "phone_only",
}
PURPOSE_WORDS = {
    ("vi", "default"): "ma xac nhan", ("en", "default"): "confirmation code",
    ("vi", "registration"): "dang ky tai khoan", ("en", "registration"): "registration code",
    ("vi", "account_link"): "lien ket tai khoan", ("en", "account_link"): "account linking",
    ("vi", "sign_in"): "dang nhap", ("en", "sign_in"): "sign-in",
    ("vi", "password_reset"): "dat lai mat khau", ("en", "password_reset"): "password reset",
    ("vi", "assisted_registration"): "dang ky tai quay", ("en", "assisted_registration"): "counter",
    ("vi", "phone_only"): "xac minh so dien thoai", ("en", "phone_only"): "phone verification",
}
WARNINGS = {"vi": ("Khong cung cap ma", "khong dua cho ai"), "en": ("Do not share", "do not share")}

FIELD_CODES = {
    "missing", "unknown_field", "wrong_type", "too_long", "malformed", "phone_not_mobile",
    "phone_not_mobile_suggestion", "id_number_malformed", "code_malformed", "address_malformed", "address_required",
    "id_number_required", "consent_required", "birth_date_malformed", "host_not_registered", "purpose_unknown",
    "locale_unknown", "not_allowed", "not_supported", "too_short", "timestamp_malformed", "token_invalid",
    "token_expired",
}

REFUSALS = [
    errors.InvalidRequest(errors.FieldError("code", "missing")), errors.Unauthenticated(), errors.Forbidden(),
    errors.NotFound(), errors.MethodNotAllowed(), errors.PhoneNotMobile("0362345678"),
    errors.ProofRequired({"parameters": {}}), errors.WrongCode(attempts_left=4, send_number=2),
    errors.CodeExpired(resend_at="2026-01-31T08:00:00Z", sends_left=2), errors.Locked(),
    errors.GuessTooSoon(retry_after_s=60), errors.ResendTooSoon(retry_after_s=60),
    errors.SendsExhausted(expires_at="2026-01-31T08:00:00Z"), errors.AlreadyFinal("expired"),
    errors.RateLimited(limit="person", retry_after_s=3600), errors.AlreadyRedeemed(),
    errors.NotVerified({"status": "rejected"}), errors.ClaimsMismatch(), errors.IdempotencyKeyReused(),
    errors.IdempotencyInProgress(), errors.Unavailable(), errors.Internal(),
]


def refusal_classes(root: type[errors.Refusal] = errors.Refusal) -> Iterator[type[errors.Refusal]]:
    """Walk the tree of refusals, those that other tests define left out."""
    for cls in root.__subclasses__():
        if cls.__module__ == errors.__name__:
            yield cls
        yield from refusal_classes(cls)


def render(template_key: str = "registration", *, locale: str = "vi", **changes: Any) -> RenderedSms:
    """Render with the shipped texts and ordinary values."""
    values: dict[str, Any] = {
        "code": "123456", "validity_s": 180, "send_number": 2, "brand": "Dich vu cong", "host": None,
    }
    return CATALOGUE.sms(locale, template_key, **(values | changes))


def changed(locale: str, path: str, value: Any) -> dict[str, Any]:
    """Return the shipped texts with one entry set, or removed when the value is None."""
    texts = copy.deepcopy(TEXTS)
    *folders, key = path.split(".")
    node = texts[locale]
    for folder in folders:
        node = node.setdefault(folder, {})
    if value is None:
        del node[key]
    else:
        node[key] = value
    return texts


class TestSms:
    def test_text_states_purpose_send_validity_and_warning(self) -> None:
        """An SMS says who sends it, the code, what it is for, which send it is, how long it is valid."""
        assert (
            "Dich vu cong: 123456 la ma dang ky tai khoan (lan 2), hieu luc 3 phut. Khong cung cap ma nay cho ai."
        ) == render().text

    def test_webotp_line_is_last(self) -> None:
        """With a host, ``@host #code`` is the whole last line and nothing follows it."""
        sms = render(host="portal.example")

        assert "@portal.example #123456" == sms.text.rpartition("\n")[2]
        assert render().text + "\n@portal.example #123456" == sms.text

    def test_first_send_is_named_too(self) -> None:
        """The first SMS says ``lan 1``, so that a later one is told apart."""
        assert "(lan 1)" in render(send_number=1).text

    def test_params_follow_the_template(self) -> None:
        """Gateways get name and value of each placeholder in the template's order, the host line left out."""
        assert (
            ("brand", "Dich vu cong"), ("code", "123456"), ("send_number", "2"), ("validity", "3 phut"),
        ) == render(host="portal.example").params

    def test_unknown_template_uses_default_and_says_so(self) -> None:
        """A purpose without a text of its own gets the default one, under the key a carrier knows."""
        sms = render("school_enrolment")

        assert "default" == sms.template_key
        assert "la ma xac nhan" in sms.text

    def test_unknown_locale_reads_the_default_one(self) -> None:
        """A locale without a catalogue is served in Vietnamese."""
        assert render().text == render(locale="fr").text

    @pytest.mark.parametrize(("validity_s", "phrase"), [
        (180, "3 phut"), (60, "1 phut"), (600, "10 phut"), (59, "59 giay"), (90, "90 giay"), (1, "1 giay"),
    ])
    def test_validity_is_never_overstated(self, validity_s: int, phrase: str) -> None:
        """Validity is told in minutes where that is exact, in seconds otherwise."""
        assert f"hieu luc {phrase}." in render(validity_s=validity_s).text

    @pytest.mark.parametrize("brand", ["{code}", "{nothing}", "100% %s %(code)s", "a\\1b", "}{"])
    def test_values_are_never_read_as_placeholders(self, brand: str) -> None:
        """Braces and percent signs in a value come out as they went in."""
        assert render(brand=brand).text.startswith(f"{brand}: 123456 la ma")

    def test_text_is_nfc(self) -> None:
        """A decomposed brand is composed: three UTF-16 units per letter become one."""
        sms = render(brand=normalize("NFD", "Việt"))

        assert sms.text.startswith("Việt: ")
        assert ("brand", "Việt") == sms.params[0]

    def test_percent_sign_in_a_text(self) -> None:
        """A percent sign in the catalogue is only a percent sign."""
        texts = changed("vi", "sms.default.text", "100% {code} %s")
        texts["en"]["sms"]["default"]["text"] = "{code}"
        sms = Catalogue(texts).sms("vi", "default", code="123456", validity_s=180, send_number=1, brand="B")

        assert "100% 123456 %s" == sms.text

    @pytest.mark.parametrize("host", [
        "a b", "a\nb", "portal.example\n", "https://portal.example", "portal.example:8080", "portal.example/x",
        "@x", "-a",
    ])
    def test_host_must_be_bare(self, host: str) -> None:
        """A host that would break the last line is a configuration error, at start-up and when rendering."""
        with pytest.raises(ConfigurationError, match="bare host name"):
            render(host=host)
        with pytest.raises(ConfigurationError, match="bare host name"):
            CATALOGUE.check_sms(brand="Dich vu cong", hosts=[host])

    def test_code_is_not_in_repr(self) -> None:
        """A rendered SMS that reaches a log shows neither text nor values (Invariant 5)."""
        assert "123456" not in repr(render(host="portal.example"))

    @pytest.mark.parametrize(("locale", "key"), sorted(PURPOSE_WORDS))
    def test_shipped_texts(self, locale: str, key: str) -> None:
        """Every shipped text fits one SMS at its longest, unaccented, and says all a person must know."""
        sms = render(key, locale=locale, code="88888888", validity_s=599, send_number=99, brand="B" * 20,
                     host="h" * 30)

        assert key == sms.template_key
        assert 1 == sms.segments
        assert len(sms.text) <= 160
        assert sms.text.isascii()
        assert PURPOSE_WORDS[locale, key] in sms.text
        assert any(warning in sms.text for warning in WARNINGS[locale])
        assert {"brand", "code", "send_number", "validity"} == {name for name, _ in sms.params}
        assert not any(sign in sms.text for sign in ("http", "www.", "/"))

    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_every_purpose_family_has_a_text(self, locale: str) -> None:
        """Each purpose family has its own text in each locale."""
        assert set(TEXTS[locale]["sms"]) == SMS_KEYS
        assert {(locale, key) for key in SMS_KEYS} == {pair for pair in PURPOSE_WORDS if pair[0] == locale}


class TestCheckSms:
    def test_shipped_texts_pass(self) -> None:
        """The longest brand, host, code and send number allowed still fit one SMS."""
        CATALOGUE.check_sms(brand="B" * 20, hosts=["h" * 30], code_length=8, max_sends=99)

    @pytest.mark.parametrize("changes", [{"brand": "B" * 90}, {"hosts": ["h" * 80]}, {"brand": "Dịch vụ công"}])
    def test_too_long_refuses_to_start(self, changes: dict[str, Any]) -> None:
        """A brand or host that makes a second SMS is refused, naming locale and template."""
        with pytest.raises(ConfigurationError, match=r"messages vi: \[sms\.\w+\] takes [23] SMS"):
            CATALOGUE.check_sms(**({"brand": "Dich vu cong"} | changes))

    def test_more_segments_can_be_allowed(self) -> None:
        """An operator may pay for accents by allowing more SMS."""
        CATALOGUE.check_sms(brand="Dịch vụ công", max_segments=3)

    def test_counts_the_longest_validity(self) -> None:
        """A text that fits with ``3 phut`` but not with ``599 giay`` is refused."""
        text = "{code} {send_number} {validity} " + "x" * (160 - len("888888 4 599 giay "))
        texts = changed("vi", "sms.default.text", text)
        texts["en"]["sms"]["default"]["text"] = "{code} {send_number} {validity}"
        Catalogue(texts).check_sms(brand="B", code_length=6, max_sends=4)
        texts["vi"]["sms"]["default"]["text"] = text + "x"

        with pytest.raises(ConfigurationError, match=r"messages vi: \[sms\.default\] takes 2 SMS"):
            Catalogue(texts).check_sms(brand="B", code_length=6, max_sends=4)

    @pytest.mark.parametrize("brand", ["a\nb", "a\x00b", "a\x1bb"])
    def test_brand_must_be_printable(self, brand: str) -> None:
        """A line break in the brand could forge lines of the SMS."""
        with pytest.raises(ConfigurationError, match="line break"):
            CATALOGUE.check_sms(brand=brand)


class TestSegments:
    @pytest.mark.parametrize(("text", "count"), [
        ("", 1), ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3),
        ("€" * 80, 1), ("€" * 81, 2), ("a" * 159 + "{", 2), ("a" * 158 + "{", 1),
        ("đ" * 70, 1), ("đ" * 71, 2), ("đ" * 134, 2), ("đ" * 135, 3), ("a" * 70 + "đ", 2), ("a" * 69 + "đ", 1),
        ("😀" * 35, 1), ("😀" * 36, 2), ("a" * 160 + "`", 3),
        (normalize("NFC", "ế" * 70), 1), (normalize("NFD", "ế" * 70), 4),
    ])
    def test_counts(self, text: str, count: int) -> None:
        """160 septets or 70 UTF-16 units in one SMS, 153 or 67 in each part of several."""
        assert count == segments(text)

    @pytest.mark.parametrize("text", ["a" * 152 + "€" + "a" * 152, "đ" * 66 + "😀" + "đ" * 66])
    def test_pairs_are_not_cut(self, text: str) -> None:
        """306 septets or 134 units would fill two parts, but a pair across the cut moves on and makes a third."""
        assert 3 == segments(text)

    def test_alphabet_has_127_characters(self) -> None:
        """The default alphabet is 128 positions less the escape; the extension table has ten characters."""
        assert 127 == len(set(GSM7_BASIC)) == len(GSM7_BASIC)
        assert 10 == len(set(GSM7_EXTENSION)) == len(GSM7_EXTENSION)
        assert not set(GSM7_BASIC) & set(GSM7_EXTENSION)

    @pytest.mark.parametrize(("character", "inside"), [
        *((character, True) for character in "éèàìòùÅåØøñÑüÜßÄäÖöÆæÇÉ@£$¥§¿¡¤_ΔΦΓΛΩΠΨΣΘΞ\n\r09azAZ€^{}\\[~]|\f"),
        *((character, False) for character in "áđăâêôơưạảãÀÈçíóúý`\t\x1b\x00’“”–…😀０"),
    ])
    def test_membership(self, character: str, inside: bool) -> None:
        """Of Vietnamese letters only à é è ì ò ù are in GSM-7."""
        assert inside is is_gsm7(character)

    @given(st.text(alphabet=GSM7_BASIC + GSM7_EXTENSION + "đế😀", max_size=400))
    def test_bounds(self, text: str) -> None:
        """The count lies between what the units need at best and, with pairs moved on, at worst."""
        if is_gsm7(text):
            units, single, part = sum(2 if c in GSM7_EXTENSION else 1 for c in text), 160, 153
        else:
            units, single, part = len(text.encode("utf-16-le")) // 2, 70, 67

        assert (units <= single) is (segments(text) == 1)
        if units > single:
            assert -(-units // part) <= segments(text) <= -(-units // (part - 1))


class TestLocale:
    @pytest.mark.parametrize(("header", "explicit", "expected"), [
        (None, None, "vi"), ("", None, "vi"), ("en", None, "en"), ("en-GB,en;q=0.9", None, "en"),
        ("fr, en;q=0.5", None, "en"), ("vi;q=0.4, en;q=0.5", None, "en"), ("en, vi", None, "en"),
        ("vi-VN,vi;q=0.9,en;q=0.8", None, "vi"), ("EN", None, "en"), ("de", None, "vi"), ("*", None, "vi"),
        ("*;q=0.1, en;q=0.5", None, "en"), ("vi;q=0, *", None, "en"), ("en;q=0", None, "vi"),
        ("en;q=0.0, *;q=0.5", None, "vi"), ("en;q=2, vi", None, "vi"), ("en;q=abc", None, "vi"),
        ("en;q=-1", None, "vi"), ("en;q=nan", None, "vi"), ("en;q=1e3", None, "vi"), ("en;q=0.1234", None, "vi"),
        ("en ; q=0.5", None, "en"), ("english", None, "vi"), ("e\x00n", None, "vi"), ("en\n", None, "vi"),
        ("en", "vi", "vi"), ("vi", "en", "en"), ("vi", "EN-us", "en"), ("en", "xx", "en"), (None, "xx", "vi"),
        ("vi", "", "vi"),
    ])
    def test_choice(self, header: str | None, explicit: str | None, expected: str) -> None:
        """The explicit locale wins, then the best weight of Accept-Language, then Vietnamese."""
        assert expected == negotiate_locale(header, explicit, CATALOGUE.locales)

    @pytest.mark.parametrize("header", [
        "x," * 5000, "en;q=" + "9" * 10_000, "," * 10_000, "-" * 10_000, "a-" * 5000, "fr," * 40 + "en",
        " " * 10_000 + "en",
    ])
    def test_hostile_headers_are_bounded(self, header: str) -> None:
        """Only the beginning of a long header counts, and no header makes the cache grow (Invariant 14)."""
        assert "vi" == negotiate_locale(header, None, CATALOGUE.locales)
        assert 256 == _negotiate.cache_info().maxsize

    @given(st.text(max_size=60), st.none() | st.text(max_size=10))
    def test_always_answers_a_locale(self, header: str, explicit: str | None) -> None:
        """Whatever comes in, one of the locales comes out."""
        assert negotiate_locale(header, explicit, CATALOGUE.locales) in CATALOGUE.locales


class TestProblems:
    def test_every_refusal_is_sampled(self) -> None:
        """The samples below cover the whole tree of refusals, so that a new one is noticed here."""
        assert set(refusal_classes()) == {type(refusal) for refusal in REFUSALS}

    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_one_entry_per_refusal(self, locale: str) -> None:
        """Every refusal has texts in every locale, and no text is left over (Invariant 13)."""
        assert {cls.code for cls in refusal_classes()} == set(TEXTS[locale]["problems"])

    @pytest.mark.parametrize("locale", ["vi", "en"])
    @pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
    def test_members_fill_every_variant(self, refusal: errors.Refusal, locale: str) -> None:
        """A variant needs only members that its refusal has."""
        for template in CATALOGUE._compiled[locale].problems[refusal.code].variants.values():
            assert set(template.names) <= set(refusal.members)

    @pytest.mark.parametrize("locale", ["vi", "en"])
    @pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
    def test_sentences_help(self, refusal: errors.Refusal, locale: str) -> None:
        """With or without members there is a title and a filled sentence that ends (Invariant 13)."""
        for members in (refusal.members, {}, dict.fromkeys(refusal.members)):
            title, detail = CATALOGUE.problem(locale, refusal.code, members)
            assert TEXTS[locale]["problems"][refusal.code]["title"] == title
            assert detail.endswith(".")
            assert not {"{", "}"} & set(detail)

    @pytest.mark.parametrize(("code", "members", "words"), [
        ("wrong_code", {"attempts_left": 3, "send_number": 2}, ["“lan 2”", "còn lại: 3"]),
        ("phone_not_mobile", {"suggestion": "0362345678"}, ["nay là 0362345678"]),
        ("phone_not_mobile", {"suggestion": ""}, ["bắt đầu bằng 0"]),
        ("code_expired", {"resend_at": "2026-01-31T08:00:00Z", "sends_left": 2}, ["Gửi lại OTP", "còn lại: 2"]),
        ("code_expired", {"resend_at": None, "sends_left": 0}, ["bắt đầu xác thực lại"]),
        ("resend_too_soon", {"retry_after": 42}, ["chờ 42 giây"]),
        ("rate_limited", {"limit": "address", "retry_after": 90}, ["thử lại sau 90 giây"]),
        ("rate_limited", {"limit": "person", "retry_after": 86_400}, ["Vừa có tin nhắn", "này", "sau 24 giờ"]),
        ("rate_limited", {"limit": "person"}, ["chờ một lúc"]),
        ("already_final", {"verification_status": "verified"}, ["đã được xác thực xong"]),
        ("already_final", {"verification_status": "pending"}, ["không nhận thêm thao tác"]),
        ("already_final", {"verification_status": ["verified"]}, ["không nhận thêm thao tác"]),
    ])
    def test_details_in_vietnamese(self, code: str, members: dict[str, Any], words: list[str]) -> None:
        """Members choose and fill the sentence a citizen reads."""
        _, detail = CATALOGUE.problem("vi", code, members)

        assert [word for word in words if word in detail] == words

    @pytest.mark.parametrize("reason", ["fields", "malformed", "too_large", "not_json"])
    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_invalid_request_says_what_is_invalid(self, locale: str, reason: str) -> None:
        """Each reason of an invalid request has its own sentence."""
        assert (
            TEXTS[locale]["problems"]["invalid_request"][f"detail_{reason}"]
            == CATALOGUE.problem(locale, "invalid_request", {}, reason)[1]
        )

    @pytest.mark.parametrize("status", [status.value for status in Status if status is not Status.PENDING])
    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_already_final_explains_each_status(self, locale: str, status: str) -> None:
        """Whoever comes too late reads how that verification ended and what to do."""
        general = TEXTS[locale]["problems"]["already_final"]["detail"]

        assert general != CATALOGUE.problem(locale, "already_final", {"verification_status": status})[1]

    @pytest.mark.parametrize(("retry_after", "phrase"), [
        (1, "1 second"), (2, "2 seconds"), (119, "119 seconds"), (120, "2 minutes"), (121, "3 minutes"),
        (7199, "120 minutes"), (7200, "2 hours"), (7201, "3 hours"), (0, "0 seconds"),
    ])
    def test_waits_are_rounded_up(self, retry_after: int, phrase: str) -> None:
        """Whoever waits as long as the sentence says is not refused again."""
        _, detail = CATALOGUE.problem("en", "rate_limited", {"limit": "client", "retry_after": retry_after})

        assert f"Try again in {phrase}." in detail

    def test_unknown_code_reads_internal(self) -> None:
        """A code without texts never breaks an answer."""
        assert CATALOGUE.problem("vi", "internal", {}) == CATALOGUE.problem("vi", "no_such_code", {})

    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_no_sentence_says_which_datum(self, locale: str) -> None:
        """Person limits and differing claims name neither phone nor document (Invariant 9)."""
        person = CATALOGUE.problem(locale, "rate_limited", {"limit": "person", "retry_after": 60})
        mismatch = CATALOGUE.problem(locale, "claims_mismatch", {})

        for word in ("điện thoại", "phone", "CCCD", "CMND", "giấy tờ", "document", "ID number", "thuê bao"):
            assert not any(word in sentence for sentence in (*person, *mismatch))

    @given(
        st.sampled_from([refusal.code for refusal in REFUSALS]),
        st.dictionaries(
            st.sampled_from(["limit", "retry_after", "suggestion", "attempts_left", "verification_status", "x"]),
            st.none() | st.text(max_size=9) | st.integers(-9, 10**9) | st.lists(st.integers(), max_size=1),
        ),
        st.none() | st.text(max_size=9),
    )
    def test_never_raises(self, code: str, members: dict[str, Any], reason: str | None) -> None:
        """Whatever the members are, a sentence comes out."""
        assert all(CATALOGUE.problem("vi", code, members, reason))


class TestFields:
    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_every_code_has_a_sentence(self, locale: str) -> None:
        """Each code of a bad field reads its own sentence, not the general one."""
        sentences = {CATALOGUE.field(locale, code, {"suggestion": "0362345678"}) for code in FIELD_CODES}

        assert TEXTS[locale]["fields"]["default"] not in sentences
        # phone_not_mobile with a suggestion reads as phone_not_mobile_suggestion does: one fewer.
        assert len(FIELD_CODES) - 1 == len(sentences)

    def test_parameter_chooses_the_variant(self) -> None:
        """A parameter makes the sentence precise; without it the plain one stands in."""
        suggestion = (("suggestion", "0362345678"),)

        assert "0362345678" in CATALOGUE.field("vi", "phone_not_mobile", suggestion)
        assert "0362345678" in CATALOGUE.field("vi", "phone_not_mobile_suggestion", suggestion)
        assert (
            TEXTS["vi"]["fields"]["phone_not_mobile"]
            == CATALOGUE.field("vi", "phone_not_mobile", ())
            == CATALOGUE.field("vi", "phone_not_mobile_suggestion", ())
        )
        assert "The value is too long. The longest allowed is 64." == CATALOGUE.field("en", "too_long", {"max": "64"})

    def test_unknown_code_reads_default(self) -> None:
        """A code without a sentence reads the general one."""
        assert TEXTS["vi"]["fields"]["default"] == CATALOGUE.field("vi", "no_such_code", ())


class TestStatusesAndReasons:
    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_every_value_has_a_sentence(self, locale: str) -> None:
        """Every status and reason, and what a browser sees instead of a reason, can be told to a person."""
        assert {"default", *Status} == set(TEXTS[locale]["statuses"])
        assert {"default", "ownership_not_confirmed", *Reason} == set(TEXTS[locale]["reasons"])

    @pytest.mark.parametrize("locale", ["vi", "en"])
    def test_ownership_not_confirmed_tells_the_way_out(self, locale: str) -> None:
        """The person learns how to check (TTTB to 1414) and what to take to the carrier (CCCD)."""
        sentence = CATALOGUE.text(locale, "reasons", "ownership_not_confirmed")

        assert all(word in sentence for word in ("TTTB", "1414", "VNeID", "CCCD"))

    def test_unknown_values_read_default(self) -> None:
        """An unknown status reads as not verified."""
        assert TEXTS["en"]["statuses"]["default"] == CATALOGUE.text("en", "statuses", "sideways")
        assert CATALOGUE.text("vi", "statuses", "verified") == CATALOGUE.text("fr", "statuses", "verified")

    def test_unknown_section_is_a_defect(self) -> None:
        """Asking for another section is a mistake of the caller."""
        with pytest.raises(ValueError, match="no section"):
            CATALOGUE.text("vi", "sms", "default")


class TestConstruction:
    def test_default_locale_comes_first(self) -> None:
        """Locales are listed with the default first, the others in order."""
        assert ("vi", "en") == CATALOGUE.locales
        assert ("en", "vi") == Catalogue(TEXTS, default_locale="en").locales

    def test_default_locale_must_exist(self) -> None:
        """Without the default locale nothing starts."""
        with pytest.raises(ConfigurationError, match="'fr'"):
            Catalogue(TEXTS, default_locale="fr")

    @pytest.mark.parametrize(("locale", "path", "value", "message"), [
        ("en", "sms.sign_in", None, "messages en: sms.sign_in.text: missing, vi has it"),
        ("en", "sms.extra.text", "{code}", "messages vi: sms.extra.text: missing, en has it"),
        ("vi", "sms.sign_in.text", "no code", "messages vi: sms.sign_in.text: must contain {code}"),
        ("vi", "sms.sign_in.text", "{code} {colour}", "messages vi: sms.sign_in.text: cannot be filled: {colour}"),
        ("en", "sms.sign_in.text", "{code}", "messages en: sms.sign_in.text: has {code}, vi has {brand}, {code}"),
        ("vi", "sms.sign_in.text", "{code} {", "messages vi: sms.sign_in.text: a brace"),
        ("vi", "sms.sign_in.text", "{code} {Brand}", "messages vi: sms.sign_in.text: a brace"),
        ("vi", "sms.sign_in.text", 7, "messages vi: sms.sign_in.text: write a sentence"),
        ("vi", "sms.sign_in.text", " ", "messages vi: sms.sign_in.text: write a sentence"),
        ("vi", "sms.sign_in.txt", "{code}", "messages vi: sms.sign_in.txt: no text of that name"),
        ("vi", "sms.default", None, "messages vi: sms.default.text: missing"),
        ("vi", "greetings.hello", "hello", "messages vi: greetings.hello: no text of that name"),
        ("vi", "problems.internal.title", None, "messages vi: problems.internal.title: missing"),
        ("vi", "problems.locked.detail", None, "messages vi: problems.locked.detail: missing"),
        ("vi", "problems.locked.detail", "{x}", "messages vi: problems.locked.detail: cannot be filled: {x}"),
        ("vi", "problems.locked.title", "{x}", "messages vi: problems.locked.title: cannot be filled: {x}"),
        ("en", "problems.wrong_code.detail_attempts_left", "{attempts_left}", "messages en: problems.wrong_code"),
        ("vi", "fields.missing", "{x}", "messages vi: fields.missing: cannot be filled: {x}"),
        ("vi", "fields.orphan_max", "{max}", "messages vi: fields.orphan_max: cannot be filled: {max}"),
        ("vi", "fields.too_long_max", "{max}{min}", "messages vi: fields.too_long_max: cannot be filled"),
        ("vi", "fields.default", None, "messages vi: fields.default: missing"),
        ("vi", "units.hours", None, "messages vi: units.hours: missing"),
        ("vi", "units.hours", "hours", "messages vi: units.hours: must contain {count}"),
        ("vi", "statuses.verified", "{x}", "messages vi: statuses.verified: cannot be filled: {x}"),
    ])
    def test_bad_catalogues_refuse_to_start(self, locale: str, path: str, value: Any, message: str) -> None:
        """A catalogue that could fail at run time is refused, naming locale and key."""
        with pytest.raises(ConfigurationError) as caught:
            Catalogue(changed(locale, path, value))

        assert message == str(caught.value)[: len(message)]

    @pytest.mark.parametrize("path", [
        "sms.default", "sms_units.minute", "units.second", "problems.internal", "problems.locked.title",
        "problems.wrong_code.detail", "fields.default", "statuses.default", "reasons.default",
    ])
    def test_what_fallbacks_end_on_is_required(self, path: str) -> None:
        """A text that run-time fall-backs end on may not be left out of every locale either."""
        texts = {locale: changed(locale, path, None)[locale] for locale in TEXTS}

        with pytest.raises(ConfigurationError, match=f"messages vi: {path}.*: missing$"):
            Catalogue(texts)

    def test_accents_may_be_decomposed(self) -> None:
        """A file saved in NFD reads the same."""
        texts = {locale: tomllib.loads(normalize("NFD", (FOLDER / f"{locale}.toml").read_text("utf-8")))
                 for locale in ("vi", "en")}

        assert CATALOGUE.problem("vi", "locked", {}) == Catalogue(texts).problem("vi", "locked", {})
