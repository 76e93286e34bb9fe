"""Names: however a form and a carrier write one, it is the same; anything else is another."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.names import compare_names, fold, name_key, plain

MATCH, MISMATCH, NOT_AVAILABLE = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH, OwnershipOutcome.NOT_AVAILABLE

#: All letters of Vietnamese with all their accents, and what each is without.
LETTERS = {
    "a": "aàáảãạăằắẳẵặâầấẩẫậ", "d": "đ", "e": "eèéẻẽẹêềếểễệ", "i": "iìíỉĩị", "o": "oòóỏõọôồốổỗộơờớởỡợ",
    "u": "uùúủũụưừứửữự", "y": "yỳýỷỹỵ",
}

words = st.text(alphabet="".join(LETTERS.values()) + "bcghklmnpqrstvxBCGHĐƯƠ", min_size=1, max_size=8).filter(
    lambda word: "xx" not in word.lower(),  # that is how some records mask
)
people = st.lists(words, min_size=1, max_size=6)


@pytest.mark.parametrize("text", [
    "Nguyễn Văn A",
    "NGUYEN VAN A",
    "nguyễn văn a",
    unicodedata.normalize("NFD", "Nguyễn Văn A"),
    unicodedata.normalize("NFD", "NGUYỄN VĂN A"),
    "  Nguyễn\u00a0Văn\t A\n",
    "Nguyễn-Văn, A.",
    "Nguyễn\u200bVăn\u200bA",
    "Ngu\u00adyễn Văn\u200d A\ufeff",
    "\u2068Nguyễn Văn A\u2069",
    "Ｎｇｕｙễｎ Ｖăｎ Ａ",
])
def test_all_ways_to_write_a_name_fold_to_one(text: str) -> None:
    """Accents, case, Unicode forms, blanks, punctuation and what cannot be seen go."""
    assert "nguyen van a" == fold(text)


@pytest.mark.parametrize(("letter", "accented"), LETTERS.items())
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_each_vietnamese_letter_loses_its_accents(letter: str, accented: str, form: str) -> None:
    """All 67 accented letters and đ, small and capital, composed and decomposed, are plain Latin letters."""
    for one in accented + accented.upper():
        assert letter == fold(unicodedata.normalize(form, one))


@pytest.mark.parametrize(("text", "folded"), [
    ("Đỗ Đức", "do duc"), ("Ðỗ Ðức", "do duc"), ("Ɖỗ", "do"), ("İ", "i"), ("STRASSE ß", "strasse ss"), ("ﬁ", "fi"),
    ("H'Hen Niê", "h hen nie"), ("", ""), ("…?!", ""), ("李", "李"), ("Người thứ 2", "nguoi thu 2"), ("ᾳ", "α"),
])
def test_letters_that_do_not_decompose_and_others(text: str, folded: str) -> None:
    """The đ and its look-alikes are a d; other scripts stay as they are."""
    assert folded == fold(text)


@given(st.text())
@example("ᾳͅ")
@example("Å̊İ")
def test_folding_twice_changes_nothing(text: str) -> None:
    """What is folded stays as it is, and has letters, digits and single blanks alone."""
    folded = fold(text)

    assert folded == fold(folded)
    assert all(char.isalnum() or char == " " for char in folded)
    assert folded.split() == folded.split(" ") or not folded


def test_punctuation_stays_in_plain_text() -> None:
    """A reader of labelled fields needs the colons."""
    assert "ho ten: do duc; **" == plain("Họ tên： ĐỖ ĐỨC; **")


@given(people, st.randoms(use_true_random=False), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]), st.booleans())
def test_the_same_words_are_the_same_name(parts: list[str], random: object, form: str, upper: bool) -> None:
    """Order, case and Unicode form of a name say nothing."""
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis calls it a Random, without a type
    written = unicodedata.normalize(form, " ".join(shuffled))

    assert name_key(" ".join(parts)) == name_key(written.upper() if upper else written)
    assert MATCH is compare_names(" ".join(parts), written)


@given(people, words)
def test_a_word_more_or_less_is_another_name(parts: list[str], more: str) -> None:
    """Names with different words differ, in both directions."""
    assert MISMATCH is compare_names(" ".join(parts), " ".join([*parts, more]))
    assert MISMATCH is compare_names(" ".join([*parts, more]), " ".join(parts))


@pytest.mark.parametrize(("given_name", "on_record", "outcome"), [
    ("Nguyễn Văn A", "NGUYEN VAN A", MATCH),
    ("Nguyễn Văn A", "A NGUYEN VAN", MATCH),
    ("Nguyễn Văn A", "NGUYEN VAN B", MISMATCH),
    ("Nguyễn Văn A", "NGUYENVANA", MISMATCH),
    ("Nguyễn Văn A", "NGUYENVAN A", MISMATCH),
    ("Nguyễn Văn A", "NGUYEN V A", MISMATCH),
    ("Nguyễn Văn A", "NGUYEN V. A.", MISMATCH),
    ("Nguyễn Văn Văn", "NGUYEN VAN", MISMATCH),
    ("Nguyễn Văn", "NGUYEN NGUYEN VAN", MISMATCH),
    ("", "NGUYEN VAN A", NOT_AVAILABLE),
    ("Nguyễn Văn A", "", NOT_AVAILABLE),
    ("Nguyễn Văn A", " .-, ", NOT_AVAILABLE),
    ("...", "NGUYEN VAN A", NOT_AVAILABLE),
    (None, "NGUYEN VAN A", NOT_AVAILABLE),
    ("Nguyễn Văn A", None, NOT_AVAILABLE),
])
def test_names_are_compared_word_by_word(
    given_name: str | None, on_record: str | None, outcome: OwnershipOutcome,
) -> None:
    """Words in any order; glued and abbreviated words are others, and nothing cannot be compared."""
    assert outcome is compare_names(given_name, on_record)


@pytest.mark.parametrize(("on_record", "outcome"), [
    ("NGUYEN V** ANH", MATCH),
    ("NGUYEN VXX ANH", MATCH),
    ("NGUYEN V•• ANH", MATCH),
    ("N***** VAN ANH", MATCH),
    ("ANH NGUYEN V**", MATCH),
    ("NGUYEN *** ANH", MATCH),
    ("NGUYEN *A* A*H", MATCH),
    ("N****N V*N A*H", MATCH),
    ("N***** V** A**", NOT_AVAILABLE),
    ("N***** V** ANH", NOT_AVAILABLE),
    ("****** *** ***", NOT_AVAILABLE),
    ("*************", NOT_AVAILABLE),
    ("NGUYEN V***** ANH", NOT_AVAILABLE),
    ("NGUYEN V* ANH", NOT_AVAILABLE),
    ("NGUYEN ****", NOT_AVAILABLE),
    ("NGUYEN V** T** ANH", NOT_AVAILABLE),
    ("NGUYEN T** ANH", MISMATCH),
    ("NGUYEN **T ANH", MISMATCH),
    ("TRAN V** ANH", MISMATCH),
    ("TRAN ****", MISMATCH),
    ("NGUYEN VAN A***H", NOT_AVAILABLE),
    ("NGUYEN VAN ANH*", MISMATCH),
    ("NGUYEN NGUYEN ***", MISMATCH),
])
def test_a_masked_name_is_compared_where_it_shows(on_record: str, outcome: OwnershipOutcome) -> None:
    """Letters shown must fit and be half of all to match; a mask of another length says nothing."""
    assert outcome is compare_names("Nguyễn Văn Anh", on_record)


def test_masked_words_are_paired_up_in_every_way() -> None:
    """A word that fits two masks is left to the one that nothing else fits."""
    assert MATCH is compare_names("Trần Thị Thanh Thảo", "TRAN TH* THAN* THA*")
    assert MATCH is compare_names("Lan Lam Anh", "LA* ANH *AN")
    assert MISMATCH is compare_names("Lan Lam Anh", "LAN* ANH *AN")


def test_one_x_is_a_letter() -> None:
    """Xuân and Xa are names, not masks."""
    assert MATCH is compare_names("Lê Xuân Xa", "LE XUAN XA")
    assert MISMATCH is compare_names("Lê Xuân Xa", "LE AUAN XA")


@given(st.text(), st.text())
def test_no_text_is_too_odd_to_compare(one: str, other: str) -> None:
    """Whatever the two texts are, there is an outcome; a text with letters is its own name unless it is masked."""
    assert compare_names(one, other) in {MATCH, MISMATCH, NOT_AVAILABLE}
    assert compare_names(one, fold(one).replace("xx", "")) in {MATCH, MISMATCH, NOT_AVAILABLE}


def test_a_record_of_very_many_masked_words_is_not_compared() -> None:
    """Pairing words up costs more than linear time: nobody has more than twenty names."""
    assert NOT_AVAILABLE is compare_names("a " * 5_000, "a* " * 5_000)
