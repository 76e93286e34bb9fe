"""Replies of 1414: every one of the corpus, however it is written, and noise that must never become a match."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, note, settings
from hypothesis import strategies as st

from otp_service.core import birth_dates, names
from otp_service.core.evidence import ASSURANCE_LEVELS, ComparedField, OwnershipOutcome, OwnershipQuestion
from otp_service.core.tttb import fields as tttb_fields
from otp_service.core.tttb import numbers, phones, phrases, words
from otp_service.core.tttb import text as texts
from otp_service.core.tttb.evidence import NOTES, AttestedReply, Confidence, weigh
from otp_service.core.tttb.reply import TttbReply, TttbReplyKind, read_reply
from otp_service.core.tttb.text import MAX_TEXT

CORPUS = tomllib.loads((Path(__file__).parent.parent / "replies" / "corpus.toml").read_text(encoding="utf-8"))
REPLIES = {entry["id"]: entry for entry in CORPUS["reply"]}
EACH = pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in REPLIES.items()])

QUESTION = OwnershipQuestion("+84900000001", ("052090000001",), "Nguyễn Văn A", "1990-01-01")
MATCH, MISMATCH, NOT_AVAILABLE = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH, OwnershipOutcome.NOT_AVAILABLE
ID_NUMBER, FULL_NAME, BIRTH_DATE = ComparedField.ID_NUMBER, ComparedField.FULL_NAME, ComparedField.BIRTH_DATE


def question_of(entry: Mapping[str, Any]) -> OwnershipQuestion:
    """Return an entry's question; an empty name or birth date was not given."""
    asked = CORPUS["question"] | entry.get("question", {})
    return OwnershipQuestion(
        asked["phone_number"], tuple(asked["id_numbers"]), asked["full_name"] or None, asked["birth_date"] or None,
    )


def expected_reply(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return all fields of the reply that an entry expects."""
    nothing = {one.name: getattr(TttbReply(TttbReplyKind.UNREADABLE), one.name) for one in fields(TttbReply)}
    facts = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in entry.get("facts", {}).items()}
    return nothing | {"kind": entry["kind"]} | facts


def facts_of(reply: TttbReply) -> dict[str, Any]:
    """Return all fields of a reply: its repr does not show them."""
    return {one.name: getattr(reply, one.name) for one in fields(reply)}


def expected_verdict(entry: Mapping[str, Any]) -> tuple[object, ...]:
    """Return outcome, confidence, assurance and note that an entry expects."""
    return entry["outcome"], entry.get("confidence", "none"), entry.get("assurance"), entry.get("note")


def verdict_of(attested: AttestedReply) -> tuple[object, ...]:
    """Return a verdict's outcome, confidence, assurance and note."""
    return attested.outcome, attested.confidence, attested.assurance, attested.note


def unaccented(text: str) -> str:
    """Strip accents without the code that is tested."""
    text = text.replace("đ", "d").replace("Đ", "D")
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def full_width(text: str) -> str:
    """Write letters, digits and punctuation in their wide forms, as some keyboards do."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


VARIANTS = {
    "as it is": str,
    "without accents": unaccented,
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "capitals": str.upper,
    "small letters": str.lower,
    "one line": lambda text: text.replace("\n", " "),
    "a line for each clause": lambda text: re.sub(r"(?<=[.,;]) ", "\n", text),
    "a line for each word": lambda text: text.replace(" ", "\r\n"),
    "more blanks": lambda text: "  " + re.sub(r"\s", " \u00a0 ", text) + "\t",
    "marks of direction": lambda text: "\u2068" + text.replace(":", ":\u200e") + "\u2069",
    "wide": full_width,
}


def written(text: str) -> Iterator[str]:
    """Yield a text in every way it may arrive."""
    for variant in VARIANTS.values():
        yield variant(text)


# -- the corpus --------------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_reply_is_read(entry: Mapping[str, Any], variant: str) -> None:
    """Whatever a reply's accents, case, lines and blanks, the same facts and the same verdict come out."""
    reply = read_reply(VARIANTS[variant](entry["text"]))

    assert expected_reply(entry) == facts_of(reply)
    assert expected_verdict(entry) == verdict_of(weigh(reply, question_of(entry)))


def test_the_corpus_says_where_each_text_comes_from() -> None:
    """No carrier publishes its replies: nothing is real, four texts were published by others, ids are unique."""
    assert len(REPLIES) == len(CORPUS["reply"]) >= 45
    assert {"third_party", "synthetic"} == {entry["origin"] for entry in REPLIES.values()}
    assert 4 == sum(entry["origin"] == "third_party" for entry in REPLIES.values())


def test_the_corpus_has_every_kind_outcome_confidence_and_note() -> None:
    """A kind, a confidence or a note that no text reaches would be tested by nothing."""
    entries = REPLIES.values()

    assert set(TttbReplyKind) == {entry["kind"] for entry in entries}
    assert set(Confidence) == {entry.get("confidence", "none") for entry in entries}
    assert set(NOTES) == {entry["note"] for entry in entries if "note" in entry}
    assert {MATCH, MISMATCH, NOT_AVAILABLE} == {entry["outcome"] for entry in entries}


@EACH
def test_a_reply_shows_no_data_of_itself(entry: Mapping[str, Any]) -> None:
    """Neither repr has a digit or a name of the text in it."""
    reply = read_reply(entry["text"])
    shown = repr(reply) + repr(weigh(reply, question_of(entry)))

    assert not re.search(r"[0-9]{3}|nguyen|tran thi", shown)


@EACH
def test_a_verdict_is_whole(entry: Mapping[str, Any]) -> None:
    """A verdict that decides has a confidence and a known level, one that does not has a note; each field is told."""
    attested = weigh(read_reply(entry["text"]), question_of(entry))

    decided = attested.outcome is not NOT_AVAILABLE
    assert decided == (attested.confidence is not Confidence.NONE) == (attested.assurance in ASSURANCE_LEVELS)
    assert attested.note in NOTES if not decided else attested.note in {None, "previous_id_number"}
    assert [ID_NUMBER, FULL_NAME, BIRTH_DATE][:len(attested.fields)] == list(attested.fields)


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "Nguyễn Thị Mây", "Chung Minh Thư", "Nguyễn Đình Danh", "Tống Đại Nghĩa", "Hồ Chiêu", "Nguyễn Nam Sinh",
    "Trần Trọng", "Trần Trọng Nghĩa", "Khổng Tú Quỳnh", "Lê Quốc Tích", "H'Hen Niê", "Jean-Marie O'Neill",
    "Phạm Thị Cẩm Ơn", "Nguyễn Tín Nhân", "Danh Sa", "Xuân Xx", "Y",
])
def test_a_name_that_looks_like_a_label_or_a_greeting_is_a_name(name: str) -> None:
    """Words of carriers' replies are people's names, too: such a name is read whole."""
    question = OwnershipQuestion("+84900000001", ("052090000001",), name)

    for text in written(f"Họ tên: {name}\nNgày sinh: 01/01/1990, CCCD: 052090000001"):
        assert MATCH is weigh(read_reply(text), question).fields[FULL_NAME]


@pytest.mark.parametrize("text", [
    "Ho ten: NGUYEN VAN A. Tran trong cam on Quy khach.",
    "Ho ten: NGUYEN VAN A Tran trong cam on Quy khach",
    "Ho ten: NGUYEN VAN A Tran trong!",
    "Ho ten: NGUYEN VAN A Vui long lien he 198",
    "Ho ten: NGUYEN VAN A Chi tiet xem tai My Viettel",
    "Ho ten: NGUYEN VAN A\nĐã đọc 14:05",
    "Ho ten: NGUYEN VAN A 14:05",
    "Ho ten:NGUYEN VAN A.Ngay sinh:01/01/1990",
    "Ho ten: NGUYEN VAN A - Nam - tra truoc",
    "Ho ten:NGUYEN VAN A.Ly do: tra truoc",
    "Ho ten:NGUYEN VAN A.https://viettel.vn/TTTB",
    "Khach hang: ca nhan. Ho ten: NGUYEN VAN A",
    "Thong tin chu thue bao: Ho ten: NGUYEN VAN A",
])
def test_a_name_ends_where_the_carrier_goes_on(text: str) -> None:
    """Greetings, times and what kind of customer somebody is belong to no name."""
    for variant in written(text):
        assert ("nguyen van a",) == read_reply(variant).full_names


@pytest.mark.parametrize("text", [
    "Ho ten khong khop", "Ho ten: ", "Ho ten: 0900000001", "Ho ten: .", "Ho ten: " + "A " * 11,
    "Ho ten: " + "A" * 81, "Ho ten: ca nhan",
])
def test_what_is_no_name_is_not_read_as_one(text: str) -> None:
    """Words without a colon before them, digits, and run-on text are no names."""
    assert () == read_reply(text + ", TB 0900000001, CCCD 052090000001").full_names


@pytest.mark.parametrize("label", [
    "So giay to", "So GT", "SoGT", "Số giấy tờ tùy thân", "Giấy tờ", "CCCD", "So CCCD", "CMND/CCCD", "So CMND", "CMT",
    "Thẻ căn cước", "Căn cước công dân", "Thẻ căn cước công dân", "Số định danh cá nhân", "Mã định danh", "So DDCN",
    "Chứng minh nhân dân", "So chung minh thu", "GTTT", "So ID", "ID", "Loai giay to: CCCD. So GT", "Giay to (CCCD)",
    "SO_GIAY_TO", "Số CMND/CCCD/HC", "CCCD/CC", "CCCD/CMND/HC", "Số CMND/ CCCD/ Hộ chiếu", "So giay t0", "PID",
    "Số định danh", "ID No", "(CCCD)", "Số giấy tờ (CCCD/CMND)",
])
@pytest.mark.parametrize("between", [": ", " : ", ":", "=", " - ", " – ", " so: ", " số ", " là ", " "])
def test_each_label_of_an_id_number_is_known(label: str, between: str) -> None:
    """An ID number is found behind all its labels and separators."""
    assert ("052090000001",) == read_reply(f"{label}{between}052090000001, TB 0900000001").id_numbers


@pytest.mark.parametrize(("label", "kind"), [
    ("So giay to", None), ("CCCD", "cccd"), ("Thẻ căn cước", "cccd"), ("Số định danh", "cccd"), ("CMND", "cmnd"),
    ("So chung minh nhan dan", "cmnd"), ("Hộ chiếu", "passport"), ("CMND/CCCD", None),
    ("CMND/CCCD/HC", None),
])
def test_the_paper_is_what_the_label_says(label: str, kind: str | None) -> None:
    """A label names the paper, or does not, or names two."""
    assert kind == read_reply(f"{label}: 052090000001").document_kind


@pytest.mark.parametrize("number", [
    "052 090 000 001", "052.090.000.001", "052-090-000-001", "0520 9000 0001", "０５２０９００００００１",
    "052\u200e090000001",
])
def test_an_id_number_may_be_grouped(number: str) -> None:
    """Groups of three or four are one number."""
    assert ("052090000001",) == read_reply(f"CCCD: {number}. Ngay cap: 01/01/2021").id_numbers


@pytest.mark.parametrize("number", [
    "05209000001", "0520900000012", "05209000", "B0000001", "************", "xxxxxxxxxxxx",
    "052090000001/2", "1414", "٠٥٢٠٩٠٠٠٠٠٠١",
])
def test_what_is_no_id_number_is_not_read_as_one(number: str) -> None:
    """Neither too few nor too many digits, nor a passport, nor a mask that shows nothing, nor foreign digits."""
    assert () == read_reply(f"Ho ten: NGUYEN VAN A. CCCD: {number}. TB 0900000001").id_numbers


@pytest.mark.parametrize(("text", "phones"), [
    ("TB 0900000001", ["+84900000001"]),
    ("TB 0900 000 001", ["+84900000001"]),
    ("TB 090.000.0001", ["+84900000001"]),
    ("TB +84 900 000 001", ["+84900000001"]),
    ("TB (+84) 900000001", ["+84900000001"]),
    ("84900000001: CCCD 052090000001", ["+84900000001"]),
    ("TB 0900xxx001", ["0900***001"]),
    ("TB +84900***001", ["0900***001"]),
    ("TB *******001", ["*******001"]),
    ("TB *********1", []),
    ("CCCD 052090000001, 18001090, 1414, 02560000000", []),
    ("Ngay cap 09.05.1990 18:00", []),
    ("Ngay sinh 09-05-1990 14:05", []),
    ("Ngay sinh 09051990 14:05", []),
    ("Noi cap 0900***009", []),
    ("Lien he 198. 0900000001", ["+84900000001"]),
    ("CMND 900000001", []),
    ("Lien he 0900000009. TB 0900000001", ["+84900000001"]),
    ("Hotline: 0900000009, Thue bao: 0900000001", ["+84900000001"]),
])
def test_only_subscribers_phones_are_read(text: str, phones: list[str]) -> None:
    """Phones need no label, masked ones do; dates, ID numbers and hotlines are none."""
    reply = read_reply(f"Ho ten: NGUYEN VAN A. {text}")

    assert (tuple(phones), ()) == (reply.phones, reply.listed)


@pytest.mark.parametrize(("text", "listed", "cut_off"), [
    ("Cac so: 0900000001, 0900000002.", 2, False),
    ("0900000001 va 0900000002", 2, False),
    ("0900000001/0900000002", 2, False),
    ("1) 0900000001; 2) 0900000002", 2, False),
    ("DS: 0900000001", 1, False),
    ("Danh sach: 0900000001, 0900000002…", 2, True),
    ("Danh sach: 0900000001, 0900000002,", 2, True),
    ("Danh sach: 0900000001, 0900000002 va", 2, True),
    ("Danh sach: 0900000001, 0900000002, 0900", 2, True),
    ("Danh sach: 0900000001, 0900000002 và 3 số khác", 2, True),
    ("Danh sach: 0900000001, 0900000002. Xem them tren My Viettel", 2, False),
    ("Danh sach: 0900000001, 0900000002 xem them tren My Viettel", 2, True),
])
def test_a_list_says_whether_it_goes_on(text: str, listed: int, cut_off: bool) -> None:
    """Numbers side by side are a list, with or without a label; what follows tells whether it is all of it."""
    reply = read_reply(text)

    assert (listed, (), cut_off) == (len(reply.listed), reply.phones, reply.list_cut_off)


@pytest.mark.parametrize("text", [
    "Neu thong tin khong dung, vui long lien he 198.",
    "Trong truong hop thong tin khong khop, lien he 198.",
    "De khong bi tam ngung dich vu, vui long cap nhat.",
    "Khong co thue bao nao khac.",
    "Quy khach khong co so thue bao khac.",
])
def test_an_if_is_no_refusal(text: str) -> None:
    """Advice for the case that data are wrong stands under good data, and so does that there is no second SIM."""
    assert TttbReplyKind.SUBSCRIBER is read_reply(f"Ho ten: NGUYEN VAN A. CCCD: 052090000001. {text}").kind


@pytest.mark.parametrize("text", [
    "khong khop", "không trùng khớp", "khong dung", "không chính xác", "khong ton tai", "khong hop le",
    "chưa chính chủ",
    "khong thuoc thue bao", "khong dang ky", "chua dang ky cho thue bao nao", "khong co thue bao nao", "sai so giay to",
    "khong phai chu thue bao", "khong thay", "does not belong",
])
def test_a_refusal_is_never_a_match(text: str) -> None:
    """A text that says no proves nothing, although it shows the number, the name and the birth date asked about."""
    for variant in written(f"TB 0900000001: Ho ten: NGUYEN VAN A, 01/01/1990, CCCD 052090000001 {text}."):
        assert (NOT_AVAILABLE, "negative_reply") == verdict_of(weigh(read_reply(variant), QUESTION))[::3]


@pytest.mark.parametrize("text", ["chưa rõ", "khong ro", "loi he thong", "tu choi", "that bai", "invalid"])
def test_an_id_number_beside_any_no_is_the_question_s(text: str) -> None:
    """Refusals are not published: an ID number that nothing else supports is not trusted beside any no."""
    assert TttbReplyKind.NEGATIVE is read_reply(f"CCCD 052090000001: {text}").kind


@pytest.mark.parametrize("text", [
    "chua dang ky thong tin", "không đăng ký thông tin", "chưa được đăng ký", "chua cap nhat thong tin",
    "khong co thong tin", "chưa có giấy tờ", "not registered",
])
def test_a_sim_without_a_document_is_unregistered(text: str) -> None:
    """A subscriber without a document is not one with another document, whatever else stands in the text."""
    assert TttbReplyKind.UNREGISTERED is read_reply(f"Thue bao 0900000001 {text}. CCCD: 052090000001.").kind
    assert TttbReplyKind.UNREGISTERED is read_reply(f"Thue bao 0900000001 {text}. Ho ten: NGUYEN VAN A.").kind


# -- weighing ----------------------------------------------------------------------------------------------------------


def reply_of(**facts: Any) -> TttbReply:
    """Return a reply with data."""
    return TttbReply(TttbReplyKind.SUBSCRIBER, **facts)


@pytest.mark.parametrize(("shown", "asked", "outcome"), [
    ("0520****0001", "052090000001", MATCH),
    ("0520****0002", "052090000001", MISMATCH),
    ("0521****0001", "052090000001", MISMATCH),
    ("****90000001", "052090000001", MATCH),
    ("05**90**00*1", "052090000001", MATCH),
    ("05**91**00*1", "052090000001", MISMATCH),
    ("***0001", "052090000001", MATCH),
    ("***0002", "052090000001", MISMATCH),
    ("0520*", "052090000001", MATCH),
    ("05*01", "052090000001", MATCH),
    ("05*02", "052090000001", MISMATCH),
    ("***001", "052090000001", NOT_AVAILABLE),
    ("***002", "052090000001", NOT_AVAILABLE),
    ("052*90000001", "052090000001", MATCH),
    ("052*090000001", "052090000001", NOT_AVAILABLE),
    ("210****03", "210000003", MATCH),
    ("210****04", "210000003", MISMATCH),
])
def test_a_masked_number_is_compared_where_it_shows(shown: str, asked: str, outcome: OwnershipOutcome) -> None:
    """By place where the lengths agree, from both ends where not; three digits say nothing, either way."""
    question = OwnershipQuestion("+84900000001", (asked,), "Nguyễn Văn A")
    attested = weigh(reply_of(id_numbers=(shown,), full_names=("nguyen van a",)), question)

    assert outcome is attested.outcome
    assert outcome is attested.fields[ID_NUMBER]


@pytest.mark.parametrize(("name", "birth_date", "outcome"), [
    ("nguyen van a", None, MATCH),
    (None, "1990-01-01", MATCH),
    ("nguyen van a", "1990", MATCH),
    ("tran thi b", "1990-01-01", NOT_AVAILABLE),
    ("nguyen van a", "1992-02-02", NOT_AVAILABLE),
    ("tran thi b", "1992-02-02", NOT_AVAILABLE),
    (None, "1990", NOT_AVAILABLE),
    (None, None, NOT_AVAILABLE),
])
def test_a_masked_number_needs_support(name: str | None, birth_date: str | None, outcome: OwnershipOutcome) -> None:
    """Name or birth date must agree and neither may differ."""
    reply = reply_of(
        id_numbers=("0520****0001",),
        full_names=(name,) if name else (),
        birth_dates=(birth_date,) if birth_date else (),
    )

    attested = weigh(reply, QUESTION)

    assert (outcome, None if outcome is MATCH else "id_number_masked") == (attested.outcome, attested.note)
    assert outcome is attested.fields[ID_NUMBER]


@pytest.mark.parametrize(("name", "birth_date", "outcome"), [
    ("nguyen van a", "1990-01-01", MATCH),
    ("nguyen van b", "1992-02-02", MISMATCH),
    ("nguyen van b", "1992", MISMATCH),
    ("nguyen van a", "1992-02-02", NOT_AVAILABLE),
    ("nguyen van b", "1990-01-01", NOT_AVAILABLE),
    ("nguyen van a", "1990", NOT_AVAILABLE),
    ("nguyen van a", None, NOT_AVAILABLE),
    (None, "1990-01-01", NOT_AVAILABLE),
    (None, "1992-02-02", NOT_AVAILABLE),
])
def test_without_a_number_name_and_birth_date_decide_together(
    name: str | None, birth_date: str | None, outcome: OwnershipOutcome,
) -> None:
    """Both agree or both differ; one of them alone decides nothing."""
    people = {"full_names": (name,) if name else (), "birth_dates": (birth_date,) if birth_date else ()}
    reply = reply_of(phones=("+84900000001",), **people)
    attested = weigh(reply, QUESTION)

    assert (outcome, NOT_AVAILABLE) == (attested.outcome, attested.fields[ID_NUMBER])
    assert (None if outcome is NOT_AVAILABLE else "attested_reply_indirect") == attested.assurance


def test_a_name_that_differs_beside_the_whole_number_is_told_and_decides_nothing() -> None:
    """The purpose decides what a differing name means to it."""
    facts = {"id_numbers": ("052090000001",), "full_names": ("nguyen van b",)}
    attested = weigh(reply_of(phones=("+84900000001",), **facts), QUESTION)

    assert MATCH is attested.outcome
    assert {ID_NUMBER: MATCH, FULL_NAME: MISMATCH, BIRTH_DATE: NOT_AVAILABLE} == attested.fields
    assert (NOT_AVAILABLE, "contradictory") == verdict_of(weigh(reply_of(**facts), QUESTION))[::3]


def test_the_value_that_says_most_is_compared() -> None:
    """Of a name once masked and once whole, and of a year and a date, the whole one counts."""
    reply = reply_of(full_names=("n***** v** a", "nguyen van a"), birth_dates=("1990", "1990-01-01"))

    assert {ID_NUMBER: NOT_AVAILABLE, FULL_NAME: MATCH, BIRTH_DATE: MATCH} == weigh(reply, QUESTION).fields


@pytest.mark.parametrize(("facts", "contradictory"), [
    ({"id_numbers": ("052090000001", "052190000002")}, True),
    ({"id_numbers": ("052090000001", "210000003")}, False),
    ({"id_numbers": ("052090000001", "0520****0001")}, False),
    ({"id_numbers": ("0520****0001", "052090000001")}, False),
    ({"id_numbers": ("052090000001", "0521****0002")}, True),
    ({"id_numbers": ("0520****0001", "********0001")}, True),
    ({"full_names": ("nguyen van a", "a nguyen van")}, False),
    ({"full_names": ("nguyen v** a", "nguyen van a")}, False),
    ({"full_names": ("nguyen van a", "nguyen van b")}, True),
    ({"birth_dates": ("1990", "1990-01-01")}, False),
    ({"birth_dates": ("1990-01-01", "1992")}, True),
    ({"birth_dates": ("1990-01-01", "1990-01-02")}, True),
    ({"phones": ("+84900000001", "+84900000002")}, True),
    ({"phones": ("+84900000001", "0900***001")}, False),
    ({"phones": ("0900***001", "+84900000001")}, False),
    ({"phones": ("+84900000001", "0900***002")}, True),
    ({"phones": ("+84900000001",), "listed": ("+84900000002", "+84900000003")}, False),
])
def test_a_text_that_contradicts_itself_decides_nothing(facts: dict[str, Any], contradictory: bool) -> None:
    """Two of what one subscriber has one of may be two replies; the same value twice is not two."""
    whole = {"id_numbers": ("052090000001",), "full_names": ("nguyen van a",)} | facts
    question = OwnershipQuestion("+84900000001", ("052090000001", "210000003"), "Nguyễn Văn A", "1990-01-01")

    assert ("contradictory" if contradictory else None) == weigh(reply_of(**whole), question).note


@pytest.mark.parametrize(("facts", "note"), [
    ({"phones": ("+84900000001",)}, None),
    ({"phones": ("+84900000002",)}, "other_phone"),
    ({"phones": ("0900***001",)}, None),
    ({"phones": ("0900***002",)}, "other_phone"),
    ({"phones": ("***001",)}, None),
    ({"phones": ("***002",)}, "other_phone"),
    ({"listed": ("+84900000002", "+84900000001")}, None),
    ({"listed": ("+84900000002",)}, "other_phone"),
    ({"listed": ("+84900000002",), "list_cut_off": True}, "list_cut_off"),
    ({"listed": ("+84900000001",), "list_cut_off": True}, None),
    ({"phones": ("+84900000002",), "listed": ("+84900000001",)}, None),
    ({"phones": ("+84900000002",), "listed": ("+84900000003",), "list_cut_off": True}, "other_phone"),
])
def test_the_reply_must_be_about_the_sim(facts: dict[str, Any], note: str | None) -> None:
    """Shown numbers must have the question's among them; the list of one document counts."""
    attested = weigh(reply_of(id_numbers=("052090000001",), **facts), QUESTION)

    assert (note, NOT_AVAILABLE if note else MATCH) == (attested.note, attested.outcome)


@pytest.mark.parametrize(("shown", "unfinished", "outcome"), [
    ("052090000", True, NOT_AVAILABLE),
    ("052090000", False, MISMATCH),
    ("052090001", True, MISMATCH),
    ("0520****00", True, NOT_AVAILABLE),
    ("0520****00", False, MISMATCH),
    ("0521****00", True, MISMATCH),
    ("0520****0002", True, MISMATCH),
])
def test_a_number_cut_off_is_no_other_number(shown: str, unfinished: bool, outcome: OwnershipOutcome) -> None:
    """What the end of an SMS may have cut is a mismatch only where it already differs."""
    reply = reply_of(id_numbers=(shown,), unfinished=ID_NUMBER if unfinished else None)

    assert outcome is weigh(reply, QUESTION).outcome


@pytest.mark.parametrize("entry", [entry for entry in REPLIES.values() if entry["outcome"] == "match"])
def test_cutting_a_reply_short_never_turns_it_into_a_mismatch(entry: Mapping[str, Any]) -> None:
    """Wherever an SMS ends, a citizen whose reply matches is not turned away."""
    text = entry["text"].strip()

    for end in range(len(text)):
        attested = weigh(read_reply(text[:end]), question_of(entry))
        assert MISMATCH is not attested.outcome, text[:end]


@pytest.mark.parametrize(("shown", "asked", "note"), [
    ("210000003", ("052090000001",), "other_document"),
    ("052090000001", ("210000003",), "other_document"),
    ("210***003", ("052090000001",), "other_document"),
    ("052190000002", ("052090000001",), None),
    ("210000004", ("052090000001", "210000003"), None),
    ("0521****", ("052090000001",), None),
])
def test_another_kind_of_paper_may_be_the_same_person_s(shown: str, asked: tuple[str, ...], note: str | None) -> None:
    """Where name and birth date agree, a CMND differs from a CCCD in nothing; another CCCD is another person's."""
    question = OwnershipQuestion("+84900000001", asked, "Nguyễn Văn A", "1990-01-01")
    person = {"full_names": ("nguyen van a",), "birth_dates": ("1990-01-01",)}
    somebody = {"full_names": ("nguyen van a",), "birth_dates": ("1992-02-02",)}

    assert (NOT_AVAILABLE if note else MISMATCH, note) == verdict_of(
        weigh(reply_of(id_numbers=(shown,), **person), question),
    )[::3]
    assert MISMATCH is weigh(reply_of(id_numbers=(shown,), **somebody), question).outcome


@pytest.mark.parametrize(("labelled", "unlabelled", "note"), [
    ((), ("052190000002",), "contradictory"),
    ((), ("0521****0002",), "contradictory"),
    ((), ("052090000001",), None),
    ((), ("0520****0001",), None),
    ((), ("0900***001",), None),
    ((), ("210000003",), None),
    (("052090000001",), ("052190000002",), "contradictory"),
    (("052090000001",), ("052090000001", "210000003"), None),
    (("0520****0001",), ("0520****0001",), None),
    (("0520****0001",), ("052190000002",), "contradictory"),
])
def test_a_number_without_a_label_stands_against_a_match(
    labelled: tuple[str, ...], unlabelled: tuple[str, ...], note: str | None,
) -> None:
    """What looks like somebody else's ID number makes a text contradictory; the question's own proves nothing."""
    question = OwnershipQuestion("+84900000001", ("052090000001", "210000003"), "Nguyễn Văn A", "1990-01-01")
    reply = reply_of(
        phones=("+84900000001",), id_numbers=labelled, unlabelled=unlabelled,
        full_names=("nguyen van a",), birth_dates=("1990-01-01",),
    )

    assert (note, NOT_AVAILABLE if note else MATCH) == (weigh(reply, question).note, weigh(reply, question).outcome)


# -- what takes a match back -------------------------------------------------------------------------------------------

MATCHING = {name: entry for name, entry in REPLIES.items() if entry["outcome"] == "match"}
EACH_MATCH = pytest.mark.parametrize("name", MATCHING)

NOES = [
    "Số giấy tờ chưa chính xác", "Thong tin khong chinh xac", "Đây không phải là chủ thuê bao", "KO khop", "k0 dung",
    "Chua dang ky thong tin", "Thuê bao đã bị chấm dứt", "Thue bao da bi thu hoi", "Da bi huy", "Dang bi khoa",
    "Tạm khoá 1 chiều", "Bi chan", "Trạng thái: Khóa", "Trang thai: ngung hoat dong", "Tinh trang: 1 chieu",
    "Sai thông tin", "Giay to khong dung", "Thong tin khong trung", "Giấy tờ hết hiệu lực", "Giay to da het han",
    "Ket qua: SAI", "Ket qua: FALSE", "Kg phai", "k.h.o.n.g khop", "\u043ahong khop", "kh\u200bong khop", "mismatch",
    "inactive", "owner=NO", "Doesn't match", "Thuê bao của người khác", "Chu thue bao cu", "Da chuyen quyen su dung",
    "Sang ten", "Yeu cau bi tu choi", "Dang cho duyet", "Cho xac nhan", "Thong tin sai lech", "Loi he thong",
    "Khong tim thay thong tin",
]


@EACH_MATCH
@pytest.mark.parametrize("no", NOES)
def test_no_match_is_left_where_a_no_is_put(name: str, no: str) -> None:
    """A refusal, a lock, an end or a change of owner at any end of a clause leaves no match."""
    entry = MATCHING[name]
    text = entry["text"]
    ends = [0, len(text), *(found.end() for found in re.finditer(r"[.,;!](?=\s)|\n", text))]

    for at in ends:
        # Without a full stop a line is part of the clause before it, which may be an "if".
        for between in (". ", "; ", "\n") if text[at - 1:at] != "," else (". ", "; "):
            refused = f"{text[:at]}{between}{no}{between}{text[at:]}"
            assert MATCH is not weigh(read_reply(refused), question_of(entry)).outcome, refused


@pytest.mark.parametrize("advice", [
    "Nếu thông tin không đúng, vui lòng liên hệ 198.",
    "Neu thong tin (ho ten, ngay sinh) khong chinh xac, vui long goi 198.",
    "Trong truong hop sai thong tin, Quy khach vui long den cua hang.",
    "De khong bi tam ngung dich vu, vui long cap nhat.",
    "Khong co thue bao nao khac.", "Chan thanh cam on.", "Lien he 18001090/9090 (khong tinh cuoc).",
    "Không cung cấp mã cho người lạ.", "Trạng thái: Đang hoạt động.", "Từ chối QC soạn TC gửi 199.",
    "Nơi cấp: Cục trưởng CCS QLHC về trật tự xã hội.",
])
@pytest.mark.parametrize("name", [
    name for name, entry in MATCHING.items()
    if "full_names" in entry["facts"] and name not in {"name-cut-off", "number-cut-off-looks-like-a-cmnd"}
])
def test_advice_takes_no_match_back(name: str, advice: str) -> None:
    """What carriers add to good data is no refusal."""
    text = f"{MATCHING[name]['text'].rstrip()}.\n{advice}"

    assert MATCH is weigh(read_reply(text), question_of(MATCHING[name])).outcome


#: Ways a CCCD may be written, masked, or read by a camera.
SHAPES = {
    "in one piece": str,
    "in threes": lambda number: " ".join(number[at:at + 3] for at in (0, 3, 6, 9)),
    "in fours": lambda number: "-".join(number[at:at + 4] for at in (0, 4, 8)),
    "broken": lambda number: f"{number[:5]} {number[5:]}",
    "in brackets": lambda number: f"({number})",
    "behind a word": lambda number: f"so:{number}",
    "glued to a word": lambda number: f"CCCD{number}",
    "letters for zeros": lambda number: number.replace("0", "O"),
    "masked": lambda number: f"{number[:2]}********{number[10:]}",
}
cccds = st.from_regex(r"0[0-9]{2}[0-3][0-9]{8}", fullmatch=True).filter(
    lambda number: number[10:] != "01" and sum(digit != "0" for digit in number) > 3,
)


@pytest.mark.parametrize("name", [name for name, entry in MATCHING.items() if entry["confidence"] == "indirect"])
@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None, max_examples=20, derandomize=True)
@given(number=cccds, data=st.data())
def test_no_indirect_match_is_left_beside_a_strange_number(
    name: str, shape: str, number: str, data: st.DataObject,
) -> None:
    """Somebody else's CCCD between any two words, with no label, takes an indirect match back."""
    text = MATCHING[name]["text"]
    # Behind the command it is what somebody asked.
    command = re.compile(r"TTTB(?: <so(?: giay(?: to>)?)?)?$")
    blanks = [found.start() for found in re.finditer(r"\s|$", text) if not command.search(text[:found.start()])]
    at = data.draw(st.sampled_from(blanks))
    strange = f"{text[:at]} {SHAPES[shape](number)} {text[at:]}"
    note(strange)

    assert MATCH is not weigh(read_reply(strange), question_of(MATCHING[name])).outcome


@pytest.mark.parametrize("strange", ["0002-1800-0002", "0521 9000 0001", "0521.1800.0012"])
def test_a_number_in_groups_is_no_hotline(strange: str) -> None:
    """What looks like 1800 or 1900 in the middle of an ID number hides no part of it."""
    text = f"Ho {strange} ten: NGUYEN VAN A. Ngay sinh: 01/01/1990. So thue bao: 0900000001. Lien he 18001090/9090."

    assert MATCH is not weigh(read_reply(text), QUESTION).outcome
    assert MATCH is weigh(read_reply(text.replace(strange, "")), QUESTION).outcome


@pytest.mark.parametrize(("name", "match"), [
    ("Nguyễn Đăng Khoa", True), ("Trần Quang Huy", True), ("Khổng Tú Quỳnh", True), ("Nguyễn Khắc Hiếu", True),
    ("Lê Văn Lợi", True), ("Lò Văn Chấn", True), ("Nguyễn Hồng Ngát", True),
    ("Khong co thong tin", False), ("Da huy", False), ("Khong khop", False), ("Sai", False), ("Khoa", False),
])
@pytest.mark.parametrize("text", [
    "TB 0900000001. Ho ten: {}; Ngay sinh: 01/01/1990; CCCD: 052090000001",
    "TB 0900000001, ho ten {}, ngay sinh 01-01-1990, so CCCD 052090000001.",
    "So giay to 052090000001 ({}) dung ten cac so thue bao: 0900000001.",
])
def test_a_name_is_no_refusal_and_a_refusal_no_name(name: str, match: bool, text: str) -> None:
    """Khoa, Huy and Khắc are people, and "đã huỷ" in a name's place is none."""
    question = OwnershipQuestion("+84900000001", ("052090000001",), name)

    assert match == (weigh(read_reply(text.format(name)), question).outcome is MATCH)


@pytest.mark.parametrize("words", ["da dang ky", "the CCCD", "so giay to", "het han dung", "bi khoa", "CCCD", "09000"])
def test_brackets_behind_a_number_may_hold_no_name(words: str) -> None:
    """What papers and states are called is nobody's name."""
    text = f"So giay to 052090000001 ({words}) cua thue bao 0900000001, ngay sinh 01/01/1990"

    assert () == read_reply(text).full_names


# -- noise -------------------------------------------------------------------------------------------------------------


def without_links_and_case(text: str) -> str:
    """Return what a person reads in a text, by other means than the code that is tested."""
    words = unaccented(unicodedata.normalize("NFKC", text)).lower().split()
    return " ".join(word for word in words if "://" not in word and "?" not in word and "&" not in word)


def check_match(text: str, attested: AttestedReply) -> None:
    """Hold that a match stands in the text: the ID number, part of it with support, or name and birth date."""
    if attested.outcome is not MATCH:
        return
    read = without_links_and_case(text)
    whole_name = {"nguyen", "van", "a"} <= set(re.findall(r"[a-z]+", read))
    whole_date = bool(re.search(r"0?1[/.-]0?1[/.-]1990|1990-01-01", read))
    if attested.confidence is Confidence.FULL:
        assert "052090000001" in re.sub(r"[ .-]", "", read)
    elif attested.confidence is Confidence.PARTIAL:
        assert re.search(r"[*x•]", read)
        assert re.search("0520|0001", read)
        assert whole_date or "nguyen" in read
    else:
        assert whole_name
        assert whole_date


FRAGMENTS = sorted({
    part for entry in REPLIES.values() for part in re.split(r"(?<=[.,;:\n]) ?", entry["text"]) if part.strip()
})
WORDS = sorted({word for entry in REPLIES.values() for word in entry["text"].split()})

noise = st.text(max_size=300) | st.text(alphabet="0123456789x*•:=.-/ ,;\nabđĐếCMND", max_size=300)
mixes = st.lists(st.sampled_from(FRAGMENTS) | st.sampled_from(WORDS) | st.text(max_size=12), max_size=25)


@settings(deadline=None)
@given(noise)
@example("\ud800")
@example("Ho ten: \u0345")
@example("CCCD: ")
@example("İ" * MAX_TEXT)
def test_noise_is_never_a_match(text: str) -> None:
    """Whatever the text is, it is read without an error and matches nothing that is not in it."""
    attested = weigh(read_reply(text), QUESTION)

    check_match(text, attested)
    assert attested.note in {None, *NOTES}


@settings(deadline=None, max_examples=20)
@given(mixes, st.sampled_from([" ", "", ", ", "\n"]))
def test_mixed_pieces_of_replies_match_only_what_stands_in_them(parts: list[str], between: str) -> None:
    """However pieces of replies are put together, a match needs its data in the text."""
    text = between.join(parts)

    check_match(text, weigh(read_reply(text), QUESTION))


@settings(deadline=None)
@given(st.sampled_from(FRAGMENTS), st.integers(0, 2_000))
def test_too_long_a_text_is_not_read(fragment: str, more: int) -> None:
    """More than 2 000 characters are unreadable, whatever they say."""
    good = "Ho ten: NGUYEN VAN A, Ngay sinh: 01/01/1990. "
    filled = (good + fragment).ljust(MAX_TEXT)[:MAX_TEXT]

    assert TttbReplyKind.UNREADABLE is not read_reply(good.ljust(MAX_TEXT)).kind
    assert TttbReply(TttbReplyKind.UNREADABLE) == read_reply(filled + "." + "x" * more)
    assert TttbReply(TttbReplyKind.UNREADABLE) == read_reply(good + "ﷺ" * 200)


not_blank = st.text(alphabet=st.characters(exclude_categories=["Z", "C"]), max_size=80)
tempting = st.sampled_from([
    "CCCD:052090000001", "idNo=052090000001&isdn=0900000009", "?So-giay-to=052190000002", "ten:NGUYEN", "0900000009",
    "khong-khop", "a/0900000009", "&otp=123456", "~sogt:052190000002", "a.b.c?ten=x&CCCD=052190000002",
])
link_starts = st.sampled_from([
    "https://viettel.vn/", "http://", "HTTPS://viettel.vn/TTTB?", "www.", "viettel.vn/", "1414.mobifone.vn/", "bit.ly/",
    "ｈｔｔｐｓ：／／", "intent://",
])


@settings(deadline=None)
@given(st.sampled_from(sorted(REPLIES)), st.integers(0, 400), link_starts, st.lists(not_blank | tempting, max_size=4))
@example("viettel-2026", 0, "ｈｔｔｐｓ：／／", ["´CCCD:052190000002"])
@example("viettel-2026", 0, "viettel.vn/", ["\u200bCCCD:052190000002"])
def test_what_is_in_a_link_changes_nothing(name: str, at: int, start: str, contents: list[str]) -> None:
    """A reply with any link anywhere between its words is the same reply."""
    text = REPLIES[name]["text"]
    words = text.split()
    at %= len(words) + 1
    with_link = " ".join([*words[:at], start + "".join(contents), *words[at:]])
    question = question_of(REPLIES[name])

    assert facts_of(read_reply(text)) == facts_of(read_reply(with_link))
    assert verdict_of(weigh(read_reply(text), question)) == verdict_of(weigh(read_reply(with_link), question))


@pytest.mark.parametrize("name", [name for name, entry in REPLIES.items() if entry.get("confidence") == "full"])
@settings(deadline=None, max_examples=30)
@given(number=st.from_regex(r"[0-9]{12}|[0-9]{9}", fullmatch=True))
def test_another_number_is_never_a_match(name: str, number: str) -> None:
    """A reply that matches does not with any other ID number behind the label, although its link has the right one."""
    entry = REPLIES[name]
    question = question_of(entry)
    assume(number not in question.id_numbers)
    read = re.sub(r"(?<!idNo=)(?:052 ?09\n?0 ?000 ?001|210 ?000 ?003)(?![0-9])", number, entry["text"])

    assert MATCH is not weigh(read_reply(read), question).outcome


@pytest.mark.parametrize("name", [
    name for name, entry in REPLIES.items()
    if entry["outcome"] != "not_available" and {"phones", "listed"} & set(entry["facts"])
])
def test_another_sim_s_reply_decides_nothing(name: str) -> None:
    """A reply that shows a number decides nothing for a number that it does not show."""
    entry = REPLIES[name]
    reply = read_reply(entry["text"])
    asked = question_of(entry)
    question = OwnershipQuestion("+84980000001", asked.id_numbers, asked.full_name, asked.birth_date)

    note = "list_cut_off" if reply.list_cut_off and not reply.phones else "other_phone"
    assert (NOT_AVAILABLE, note) == verdict_of(weigh(reply, question))[::3]


# -- cost --------------------------------------------------------------------------------------------------------------


def patterns() -> dict[str, re.Pattern[str]]:
    """Collect the patterns of all modules that look at a reply's text."""
    found: dict[str, re.Pattern[str]] = {phrase.name: phrase.value for phrase in phrases.Phrase}
    for module in (birth_dates, names, numbers, tttb_fields, phones, phrases, texts, words):
        for name, value in vars(module).items():
            several = value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else [value]
            for at, one in enumerate(several):
                if isinstance(one, re.Pattern):
                    found[f"{module.__name__}.{name}.{at}"] = one
    return found


def test_no_pattern_can_be_made_slow() -> None:
    """
    No pattern matches more than 400 characters: a search costs at most so much at each place of the text.

    The time follows from the length of the text then; how long it is, is bounded as well.
    """
    widths = {name: re._parser.parse(one.pattern, one.flags).getwidth()[1] for name, one in patterns().items()}

    assert 15 < len(widths)
    assert {} == {name: width for name, width in widths.items() if width > 400}


@pytest.mark.parametrize("piece", [
    "a", "a.", "a-", "0 ", "x*", "0900000001 ", "ho ten: a ", "ho ten: a* ", "lien he 0900000009 ", "neu khong khop ",
    "cu phap ", "danh sach 0900***001, ", "tttb so ", "?a=b", "so giay to 052.090.0", "09.05.1990 ",
    "neu ho ten, ", "052 080 ", "o1l0", "0x ", "trang thai a: ", "soan ho ten: a b ", "cccd/cc", "k h o ", "(a b) ",
    "so giay to 052090000001 (a", "va 3 so ", "\u0301", "ﷺ", "\u200b",
])
def test_a_text_made_to_be_slow_is_read(piece: str) -> None:
    """2 000 characters of anything are read to the end, and are no match."""
    text = (piece * MAX_TEXT)[:MAX_TEXT]

    assert MATCH is not weigh(read_reply(text), QUESTION).outcome
