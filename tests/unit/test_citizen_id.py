"""CCCD and CMND numbers: form is refused, content is only warned about."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otp_service.core.citizen_id import IdNumber, MalformedIdNumber, mask_id_number, parse_id_number
from otp_service.core.province_codes import PROVINCES

cccd_numbers = st.from_regex(r"[0-9]{12}", fullmatch=True)
cmnd_numbers = st.from_regex(r"[0-9]{9}", fullmatch=True)


@st.composite
def as_typed(draw: st.DrawFn) -> tuple[str, str]:
    """Draw an ID number and one way to type it."""
    number = draw(cccd_numbers | cmnd_numbers)
    gap = st.sampled_from(["", "", " ", ".", "-", "\u00a0", "–", "\u200b", "\t"])
    wide = draw(st.booleans())
    digits = [chr(ord(digit) + 0xFEE0) if wide else digit for digit in number]
    return number, draw(gap) + "".join(digit + draw(gap) for digit in digits)


@pytest.mark.parametrize("text", [
    "052090000001",
    "0520 9000 0001",
    "052.090.000.001",
    "052-090-000-001",
    "052–090–000–001",
    " 052090000001\n",
    "\t052090000001",
    "052\u00a0090\u00a0000\u00a0001",
    "０５２０９０００００01",
    "０５２０９００００００１",
    "\ufeff052090000001",
    "\u202a052090000001\u202c",
])
def test_every_form_people_type_gives_the_same_cccd(text: str) -> None:
    """Spaces, dots, dashes, full-width digits and invisible marks do not matter."""
    assert IdNumber("052090000001", "cccd") == parse_id_number(text, today_year=2026)


@pytest.mark.parametrize("text", ["210000003", "210 000 003", "210.000.003", "２１００００００３", " 210-000-003 "])
def test_nine_digits_are_a_cmnd(text: str) -> None:
    """An old CMND is read, with the warning that the paper itself is no longer valid."""
    assert IdNumber("210000003", "cmnd", ("cmnd_expired",)) == parse_id_number(text, today_year=2026)


@given(as_typed())
def test_decoration_never_changes_the_number(case: tuple[str, str]) -> None:
    """However an ID number is decorated, the same digits come out, and kind follows from their count."""
    number, typed = case
    parsed = parse_id_number(typed, today_year=2026)

    assert (number, "cccd" if len(number) == 12 else "cmnd") == (parsed.number, parsed.kind)


@given(cccd_numbers | cmnd_numbers, st.none() | st.integers(1900, 2200))
def test_content_is_never_a_reason_to_refuse(number: str, today_year: int | None) -> None:
    """Twelve or nine digits always pass, whatever province, century or year they spell."""
    assert number == parse_id_number(number, today_year=today_year).number


@pytest.mark.parametrize("text", [
    "", " ", "-", "0", "12345678", "1234567890", "05209000000", "0520900000011", "0" * 13, "2100000031",
    "05209000000A", "O52090000001", "CMND210000003", "05209000000١", "٠٥٢٠٩٠٠٠٠٠٠١",
    "+52090000001", "052/090000001", "(052)090000001", "052_090000001", "052,090,000,001", "052090000001;",
    "052090000001\x00", "\x00052090000001", "052090\x00000001", "\x00", "0x5209000001", "1e11", "-5209000001.5",
    "\ud800", "052090000001\udfff", "' OR 1=1 --", "052090000001 052090000002", "210000003 210000004",
    "052090000001" + " " * 29, " " * 41, "0" * 10_000,
])
def test_another_form_is_refused_without_repeating_it(text: str) -> None:
    """Invariant 5: anything but 12 or 9 digits is malformed, and the error does not say what was typed."""
    with pytest.raises(MalformedIdNumber) as error:
        parse_id_number(text)

    assert "an ID number has 12 digits (CCCD) or 9 digits (CMND)" == str(error.value)
    assert (None, None) == (error.value.__cause__, error.value.__context__)


def test_a_malformed_number_is_a_value_error() -> None:
    """Callers that know nothing of this module can still catch it."""
    assert issubclass(MalformedIdNumber, ValueError)


def test_forty_characters_are_read_and_one_more_is_not() -> None:
    """The bound on input stands at 40 characters, blanks included."""
    assert "052090000001" == parse_id_number("052090000001" + " " * 28).number
    with pytest.raises(MalformedIdNumber):
        parse_id_number("052090000001" + " " * 29)


@given(st.text(max_size=60))
@example("\x00")
@example("\ud800")
@example("²" * 9)
@example("ﷺ" * 40)
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser raise anything but MalformedIdNumber; what it accepts is plain digits."""
    try:
        number = parse_id_number(text).number
    except MalformedIdNumber:
        return
    assert len(number) in {9, 12}
    assert set(number) <= set("0123456789")


@pytest.mark.parametrize(("number", "warnings"), [
    ("052090000001", ()),
    ("052190000002", ()),
    ("064300000003", ()),
    ("001226000001", ()),                                      # born this year
    ("001006000001", ()),                                      # 120 years old
    ("001227000001", ("unlikely_year",)),                      # born next year
    ("001005000001", ("unlikely_year",)),                      # 121 years old
    ("999090000001", ("unknown_province",)),
    ("000090000001", ("unknown_province",)),
    ("003090000001", ("unknown_province",)),
    ("052426000001", ("unlikely_century", "unlikely_year")),   # 2126
    ("052990000001", ("unlikely_century", "unlikely_year")),   # 2390
    ("999999999999", ("unknown_province", "unlikely_century", "unlikely_year")),
    ("003005000001", ("unknown_province", "unlikely_year")),
])
def test_what_looks_odd_is_warned_about(number: str, warnings: tuple[str, ...]) -> None:
    """Province, century and year of birth warn, each on its own, in a fixed order."""
    assert IdNumber(number, "cccd", warnings) == parse_id_number(number, today_year=2026)  # type: ignore[arg-type]


@pytest.mark.parametrize(("century", "first_year"), [
    (0, 1900), (1, 1900), (2, 2000), (3, 2000), (4, 2100), (5, 2100), (6, 2200), (7, 2200), (8, 2300), (9, 2300),
])
def test_century_digits_come_in_pairs(century: int, first_year: int) -> None:
    """The century digit counts hundreds of years by twos, one for each sex: the year it spells is not in doubt."""
    number = f"052{century}50000001"

    assert "unlikely_year" not in parse_id_number(number, today_year=first_year + 50).warnings
    assert "unlikely_year" in parse_id_number(number, today_year=first_year + 49).warnings


def test_without_a_year_no_year_is_doubted() -> None:
    """The module has no clock: who passes no year gets no opinion on years."""
    assert () == parse_id_number("001299000001").warnings


@pytest.mark.parametrize(("today_year", "warnings"), [
    (None, ("cmnd_expired",)), (2024, ()), (2025, ("cmnd_expired",)), (2026, ("cmnd_expired",)),
])
def test_a_cmnd_expired_with_the_year_2024(today_year: int | None, warnings: tuple[str, ...]) -> None:
    """CMND were valid to 31 December 2024; without a year they are taken to be over."""
    assert warnings == parse_id_number("210000003", today_year=today_year).warnings


@given(cmnd_numbers)
def test_the_cccd_rules_do_not_touch_a_cmnd(number: str) -> None:
    """A CMND has no province, century or year in it."""
    assert ("cmnd_expired",) == parse_id_number(number, today_year=2026).warnings


@pytest.mark.parametrize(("number", "masked"), [("052090000001", "•••••••••001"), ("210000003", "••••••003")])
def test_mask_keeps_three_digits(number: str, masked: str) -> None:
    """Province, century, sex and year stay hidden; the length still tells CCCD from CMND."""
    assert masked == mask_id_number(number)


def test_an_id_number_does_not_print_itself() -> None:
    """Invariant 5: the representation that ends up in logs has no digits of the number."""
    assert "IdNumber(kind='cccd', warnings=())" == repr(parse_id_number("052090000001"))


def test_the_province_table_is_the_circulars() -> None:
    """63 codes of three digits, each with its own name."""
    assert 63 == len(PROVINCES)
    assert 63 == len(set(PROVINCES.values()))
    assert all(len(code) == 3 and code.isdigit() for code in PROVINCES)
    assert ("Hà Nội", "Bình Định", "Gia Lai", "Cà Mau") == tuple(
        PROVINCES[code] for code in ("001", "052", "064", "096")
    )


@pytest.mark.parametrize("code", sorted(PROVINCES))
def test_every_listed_province_is_known(code: str) -> None:
    """No listed province warns."""
    assert () == parse_id_number(f"{code}090000001", today_year=2026).warnings
