"""Vietnamese mobile numbers: what people type, what is refused, and that libphonenumber agrees."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import carrier as phonenumbers_carrier

from otp_service.core.errors import PhoneNotMobile
from otp_service.core.phone import MAX_INPUT, Carrier, PhoneNumber, carrier_hint, mask, parse_mobile

NOBODY_S_PREFIXES = {"950", "951", "952", "953", "954", "955", "956", "957", "958", "959", "990", "991"}

#: libphonenumber's carrier names that are not simply ours with other letters.
LIBRARY_NAMES = {"G-Mobile": "gmobile", "Indochina Telecom": "indochina", "": None}

LEADS = ["", "0", "84", "840", "8400", "+84", "+840", "0084", "00840", "+0084", "tel:", "tel:+84", "TEL:0"]


def library_e164(text: str) -> str | None:
    """Return what libphonenumber makes of a text: E.164 of a Vietnamese mobile number, M2M left out, or None."""
    try:
        number = phonenumbers.parse(text, "VN")
    except phonenumbers.NumberParseException:
        return None
    if number.country_code != 84 or phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.MOBILE:
        return None
    if str(number.national_number).startswith("1"):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def our_e164(text: str) -> str | None:
    """Return what we make of it, or None."""
    try:
        return parse_mobile(text).e164
    except PhoneNotMobile:
        return None


def suggestion_for(text: str) -> str | None:
    """Return the suggestion of the refusal that this text must get."""
    with pytest.raises(PhoneNotMobile) as refusal:
        parse_mobile(text)
    suggestion: str | None = refusal.value.members.get("suggestion")
    return suggestion


MOBILE_PREFIXES = [f"{n:03}" for n in range(1000) if library_e164(f"+84{n:03}000001")]

national_numbers = st.builds(
    lambda prefix, rest: f"{prefix}{rest:06}", st.sampled_from(MOBILE_PREFIXES), st.integers(0, 999_999),
)


@st.composite
def as_typed(draw: st.DrawFn) -> tuple[str, str]:
    """Draw an E.164 number and one way to type it, at most 40 characters long."""
    national = draw(national_numbers)
    lead = draw(st.sampled_from(LEADS))
    head, tail = ("tel:", lead[4:]) if lead[:4].lower() == "tel:" else ("", lead)
    gap = st.sampled_from(["", "", "", " ", ".", "-", "\u00a0", "–", "(", ")", "/", "\u200b", "\u3000"])
    typed = head + "".join(draw(gap) + char for char in tail + national) + draw(gap)
    if draw(st.booleans()):
        typed = "".join(chr(ord(char) + 0xFEE0) if char in "0123456789+" else char for char in typed)
    blanks = st.sampled_from(["", " ", "\t", "\n", "\u00a0", "\u202a", "\ufeff"])
    return f"+84{national}", draw(blanks) + typed + draw(blanks)


@pytest.mark.parametrize("text", [
    "0900000001",
    "+84900000001",
    "84900000001",
    "0084900000001",
    "900000001",
    "+840900000001",
    "+84 (0) 900 000 001",
    "840900000001",
    "00840900000001",
    "+0084900000001",
    "84 900 000 001",
    "0900.000.001",
    "0900-000-001",
    "0900/000/001",
    "(+84) 900.000.001",
    "(0900) 000-001",
    "090 000–0001",
    "090‑000‑0001",
    "tel:+84-900-000-001",
    "TEL:0900000001",
    " tel: +84 900 000 001 ",
    "０９０００００００１",
    "０９00000001",
    "＋８４９０００００００１",
    "ｔｅｌ：＋84（90）0000001",
    "  0900000001\n",
    "\t0900000001",
    "0900\u00a0000\u00a0001",
    "0900\u3000000\u2009001",
    "\u202a+84 900 000 001\u202c",
    "\ufeff0900000001",
    "0900\u200b000\u200b001",
])
def test_every_form_people_type_gives_the_same_number(text: str) -> None:
    """All ways to type a number give one E.164 form and its carrier."""
    assert PhoneNumber("+84900000001", Carrier.MOBIFONE) == parse_mobile(text)


@settings(deadline=None)
@given(as_typed())
def test_decoration_never_changes_the_number(case: tuple[str, str]) -> None:
    """However a valid number is decorated, the same E.164 form comes out."""
    e164, typed = case
    assert e164 == our_e164(typed) or len(typed) > MAX_INPUT


@given(national_numbers)
def test_the_result_parses_to_itself(national: str) -> None:
    """E.164 out, E.164 in: parsing is idempotent."""
    once = parse_mobile(national)

    assert once == parse_mobile(once.e164)


def test_nine_digits_that_begin_with_84_are_vinaphone_s_084() -> None:
    """A missing leading zero is not mistaken for the country code, nor the reverse."""
    assert "+84840000001" == our_e164("840000001")
    assert "+84840000001" == our_e164("0840000001")
    assert "+84840000001" == our_e164("84840000001")


@pytest.mark.parametrize("text", [
    "", " ", "+", "0", "84", "+84", "tel:", "()", "-",
    "02560000001", "0256 0000 001", "+842560000001", "842560000001", "2560000001",  # landlines
    "02830000001", "+84 24 20000001",
    "19000001", "1900000001", "1900 0001", "+8419000001", "18000001", "1800000001",  # hotlines
    "1414", "113", "114", "115", "198", "8500", "6789", "+841414",  # short codes
    "+8562055500001", "+12015550123", "+90900000001", "0090900000001", "+900000001", "00900000001",  # abroad
    "+447400000001", "008613800000000", "+85290000001",
    "0530000001", "0710000001", "0800000001", "0992000001", "0500000001",  # unassigned
    "0140000001", "+84160000001", "0121000001",  # M2M SIMs
    "090000000", "09000000011", "90000000", "9000000012", "+849000000011", "+8490000000",  # too short, too long
    "0900000001, 0900000002", "0900000001;0900000002", "0900000001/0900000002", "0900000001 0900000002",
    "0900000001 ext 5", "0900000001x5", "0900000001#5", "tel:0900000001;ext=5", "0900000001;phone-context=+84",
    "09OOOOOOO1", "0900-FLOWERS", "O900000001", "abc0900000001", "0900000001abc", "sdt 0900000001",
    "0900000001\x00", "\x000900000001", "0900\x00000001", "\x00", "0900000001\x1f", "\x7f0900000001",
    "0900+000001", "++84900000001", "84+900000001", "+084900000001", "+84+84900000001", "8484900000001",
    "+84000900000001", "000900000001", "tel:tel:0900000001", "mailto:0900000001",
    "٠٩٠٠٠٠٠٠٠١", "090000000١", "+8490000000१", "०९००००००१", "9e8", "0x35a4e901", "900000001.0", "-1", "null",
    "\ud800", "0900000001\udfff",
    "📱0900000001", "'; DROP TABLE--", "0900000001" + " " * 31, " " * 41, "0" * 41, "9" * 10_000,
])
def test_what_is_not_a_mobile_number_is_refused(text: str) -> None:
    """Landlines, hotlines, short codes, foreign and unassigned numbers, and garbage get no suggestion either."""
    assert suggestion_for(text) is None


def test_forty_characters_are_read_and_one_more_is_not() -> None:
    """The bound on input stands at 40 characters, blanks included."""
    assert "+84900000001" == our_e164("0900000001" + " " * 30)
    assert our_e164("0900000001" + " " * 31) is None


@pytest.mark.parametrize(("old", "new"), [
    ("120", "70"), ("121", "79"), ("122", "77"), ("126", "76"), ("128", "78"),
    ("123", "83"), ("124", "84"), ("125", "85"), ("127", "81"), ("129", "82"),
    ("162", "32"), ("163", "33"), ("164", "34"), ("165", "35"), ("166", "36"), ("167", "37"), ("168", "38"),
    ("169", "39"),
    ("186", "56"), ("188", "58"),
    ("199", "59"),
])
@pytest.mark.parametrize("form", [
    "0{}0000001", "{}0000001", "+84{}0000001", "84{}0000001", "0084{}0000001", "+840{}0000001", "+84 {} 000 0001",
    "(+84) {}.0000.001", "tel:+84-{}-0000001", "0{}\u00a0000\u00a00001", "０{}００００００１", " 0{}-000-0001\n",
])
def test_a_pre_2018_number_is_refused_with_todays_form(old: str, new: str, form: str) -> None:
    """Each of the 21 old prefixes, however typed, suggests the 10-digit number that replaced it."""
    assert f"0{new}0000001" == suggestion_for(form.format(old))


@given(st.sampled_from(["120", "129", "162", "169", "186", "188", "199"]), st.integers(0, 9_999_999))
def test_a_suggestion_is_itself_a_mobile_number(old: str, rest: int) -> None:
    """Whoever follows a suggestion is not refused again."""
    suggestion = suggestion_for(f"0{old}{rest:07}")

    assert suggestion is not None
    assert f"+84{suggestion[1:]}" == our_e164(suggestion)


@pytest.mark.parametrize("text", [
    "01300000001", "01600000001", "01610000001", "01800000001", "01870000001", "01900000001", "01980000001",
    "016200000011", "0162000000", "+1 162 000 0001", "0162000000x", "0162000000١",
])
def test_what_was_no_mobile_number_before_2018_gets_no_suggestion(text: str) -> None:
    """Only the prefixes that were renumbered are converted, and only with seven digits behind them."""
    assert suggestion_for(text) is None


@settings(deadline=None)
@given(st.text(max_size=60))
@example("\x00")
@example("\ud800")
@example("𝟎𝟗𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟏")
@example("ﷺ" * 40)
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser raise anything but PhoneNotMobile; what it accepts is E.164."""
    e164 = our_e164(text)

    assert e164 is None or (e164 == library_e164(e164) and len(e164) == 12)


@settings(deadline=None)
@given(st.text("+0123456789", max_size=16))
def test_bare_digits_get_the_librarys_answer(text: str) -> None:
    """On digits with at most one leading plus, our regular expression and libphonenumber never differ."""
    text = text[:1] + text[1:].replace("+", "")

    assert library_e164(text) == our_e164(text)


@pytest.mark.parametrize("lead", [
    "", "0", "84", "840", "8400", "84000", "+84", "+840", "+8400", "+84000", "0084", "00840", "008400", "+0084", "+084",
    "00", "000", "+", "+00", "084", "8484", "84084", "+1", "+856", "1",
])
def test_the_whole_numbering_plan_is_the_librarys(lead: str) -> None:
    """For every three-digit prefix, behind every lead, 8 to 11 digits get the same answer from both."""
    texts = [f"{lead}{n:03}{tail}" for n in range(1000) for tail in ("00001", "000001", "0000001", "00000001")]

    assert {text: library_e164(text) for text in texts} == {text: our_e164(text) for text in texts}


@settings(deadline=None)
@given(as_typed())
def test_the_library_never_reads_another_number(case: tuple[str, str]) -> None:
    """Where libphonenumber can read a decorated number at all, it reads the one that we read."""
    e164, typed = case
    assert library_e164(typed) in {None, e164}


@given(st.integers(2_000_000_000, 2_999_999_999), st.sampled_from(["0", "+84", "84", "0084", "", "+840"]))
def test_a_landline_is_never_accepted(national: int, lead: str) -> None:
    """Landlines have ten digits that begin with 2: none passes, typed in any form."""
    assert suggestion_for(f"{lead}{national}") is None


def test_the_numbering_plan_has_not_changed() -> None:
    """An upgrade of phonenumbers that adds or drops a mobile prefix fails here: review the carrier table then."""
    with_carrier = {prefix for prefix in MOBILE_PREFIXES if carrier_hint(f"+84{prefix}000001")}

    assert NOBODY_S_PREFIXES == set(MOBILE_PREFIXES) - with_carrier
    assert 377 == len(MOBILE_PREFIXES)


def test_three_digits_decide_what_is_mobile() -> None:
    """The plan looks at three digits: what follows changes nothing, so the tests above see all of it."""
    by_four = {f"{n:04}"[:3] for n in range(10_000) if our_e164(f"+84{n:04}00001")}

    assert set(MOBILE_PREFIXES) == by_four
    assert 10 * len(MOBILE_PREFIXES) == sum(our_e164(f"+84{n:04}99999") is not None for n in range(10_000))


def test_carrier_hints_are_the_librarys_but_for_087() -> None:
    """Prefixes belong to whom the library says; 087 alone is iTel's, not VinaPhone's."""
    differing = {}
    for prefix in MOBILE_PREFIXES:
        theirs = phonenumbers_carrier.name_for_number(phonenumbers.parse(f"+84{prefix}000001"), "en")
        if LIBRARY_NAMES.get(theirs, theirs.lower()) != carrier_hint(f"+84{prefix}000001"):
            differing[prefix] = theirs

    assert {f"87{digit}": "Vinaphone" for digit in range(10)} == differing


@pytest.mark.parametrize(("e164", "carrier"), [
    ("+84320000001", "viettel"),
    ("+84860000001", "viettel"),
    ("+84910000001", "vinaphone"),
    ("+84900000001", "mobifone"),
    ("+84896000001", "mobifone"),
    ("+84522000001", "vietnamobile"),
    ("+84590000001", "gmobile"),
    ("+84993000001", "gmobile"),
    ("+84870000001", "itel"),
    ("+84559000001", "reddi"),
    ("+84998000001", "indochina"),
    ("+84950000001", None),
    ("+84990000001", None),
])
def test_carrier_hint(e164: str, carrier: str | None) -> None:
    """A prefix names its operator, in a closed set of lower-case words."""
    assert carrier == carrier_hint(e164)
    assert carrier == parse_mobile(e164).carrier_hint


def test_mask_keeps_the_country_and_four_digits() -> None:
    """The masked form is the contract's."""
    assert "+84•••••0001" == mask("+84900000001")


@given(national_numbers)
def test_mask_hides_five_digits(national: str) -> None:
    """Whatever the number, prefix and the next three digits do not show."""
    assert f"+84•••••{national[5:]}" == mask(f"+84{national}")


@pytest.mark.parametrize("text", ["02560000001", "0900000001abc", "0162000000100", "9" * 41])
def test_a_refusal_does_not_repeat_the_input(text: str) -> None:
    """Invariant 5: neither message, representation, members nor causes of a refusal carry what was typed."""
    with pytest.raises(PhoneNotMobile) as refusal:
        parse_mobile(text)

    error = refusal.value
    assert "phone_not_mobile" == str(error)
    assert {} == error.members
    assert (None, None) == (error.__cause__, error.__context__)


def test_a_phone_number_does_not_print_itself() -> None:
    """Invariant 5: the representation that ends up in logs has no digits of the number."""
    assert "PhoneNumber(carrier_hint=<Carrier.MOBIFONE: 'mobifone'>)" == repr(parse_mobile("0900000001"))
