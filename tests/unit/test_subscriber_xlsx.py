"""Workbooks as spreadsheet programs save them, as people fill them in, and as somebody makes them to do harm."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers import xlsx, xlsx_package
from otp_service.ownership.subscribers.importing import Tally, Watcher, check_subscribers, open_rows
from otp_service.ownership.subscribers.rows import Row

HEADER = ("phone_number", "id_number", "full_name", "birth_date", "status", "carrier")
CCCD = "052090000001"
GOOD = ("0900000001", CCCD, "NGUYỄN VĂN A", "1990-01-01", "active", "mobifone")

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


class Seen(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.bad: list[tuple[int, str]] = []
        self.notes: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def bad_row(self, line: int, reason: str) -> None:
        """Keep it."""
        self.bad.append((line, reason))

    def progress(self, step: str, done: int, total: int) -> None:
        """Keep it."""
        self.steps.append((step, done, total))


def rows_of(path: Path) -> list[Row]:
    """Return the rows as they are read, not checked."""
    with open_rows(path, Watcher()) as file:
        return list(file.rows())


def texts_of(path: Path) -> list[list[str]]:
    """Return the texts of rows that can all be read, in the columns' order."""
    return [[row[1][name] for name in HEADER] for row in rows_of(path) if isinstance(row[1], dict)]


def refusal(path: Path) -> str:
    """Return why a file is refused."""
    with pytest.raises(ConfigurationError) as refused:
        check_subscribers(path, Watcher())
    return str(refused.value).removeprefix(f"{path}: ")


def save(folder: Path, *rows: tuple[Any, ...], header: tuple[Any, ...] = HEADER) -> Path:
    """Save a workbook with openpyxl, which spreadsheet programs can read."""
    book = openpyxl.Workbook()
    for row in (header, *rows):
        book.worksheets[0].append(row)
    path = folder / "rows.xlsx"
    book.save(path)
    return path


def pack(
    folder: Path, sheet: str, *, texts: tuple[str, ...] | None = None, styles: str = "", book: str = "",
    parts: dict[str, str] | None = None, namespace: str = MAIN,
) -> Path:
    """Make a workbook of parts that are written out: the rows of its sheet, the entries of its list of texts."""
    kinds = ["worksheet", *(["sharedStrings"] if texts is not None else []), *(["styles"] if styles else [])]
    names = {"worksheet": "worksheets/sheet1.xml", "sharedStrings": "sharedStrings.xml", "styles": "styles.xml"}
    related = "".join(f'<Relationship Id="r{at}" Type="{RELATED}/{kind}" Target="{names[kind]}"/>'
                      for at, kind in enumerate(kinds))
    content = {
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="a" Type="{RELATED}/officeDocument" '
                       'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{namespace}" xmlns:r="{RELATED}">{book}<sheets>'
                           '<sheet name="A" sheetId="7" r:id="r0"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}">{related}</Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{namespace}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    if texts is not None:
        content["xl/sharedStrings.xml"] = f'<sst xmlns="{namespace}">{"".join(texts)}</sst>'
    if styles:
        content["xl/styles.xml"] = f'<styleSheet xmlns="{namespace}">{styles}</styleSheet>'
    path = folder / "rows.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in {**content, **(parts or {})}.items():
            file.writestr(name, data)
    return path


def row(number: int, *cells: str) -> str:
    """Return a row of cells."""
    return f'<row r="{number}">{"".join(cells)}</row>'


def inline(*texts: str) -> tuple[str, ...]:
    """Return cells with their text in them."""
    return tuple(f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>' for text in texts)


HEAD = row(1, *inline(*HEADER))
SHEET = "xl/worksheets/sheet1.xml"


# -- as programs save them --------------------------------------------------------------------------------------------


def test_a_saved_workbook_is_read(tmp_path: Path) -> None:
    """Texts with accents, in the columns' own order."""
    assert [list(GOOD)] == texts_of(save(tmp_path, GOOD))
    assert [list(GOOD)] == texts_of(save(tmp_path, GOOD[::-1], header=HEADER[::-1]))


def test_shared_texts_are_read(tmp_path: Path) -> None:
    """In runs of many fonts, with blanks kept, used twice, without how they are pronounced."""
    runs = '<r><rPr><b/></rPr><t xml:space="preserve">NGUYỄN </t></r><r><t>VĂN A</t></r>'
    texts = (
        *(f"<si><t>{name}</t></si>" for name in HEADER), "<si><t>0900000001</t></si>",
        f'<si>{runs}<rPh sb="0" eb="1"><t>hidden</t></rPh></si>', "<si/>",
    )
    cells = [f'<c r="{letter}1" t="s"><v>{at}</v></c>' for at, letter in enumerate("ABCDEF")]
    data = ['<c r="A2" t="s"><v>6</v></c>', '<c r="C2" t="s"><v>7</v></c>', '<c r="D2" t="s"><v>8</v></c>',
            '<c r="E2" t="s"><v>4</v></c>']

    path = pack(tmp_path, row(1, *cells) + row(2, *data), texts=texts)

    assert [["0900000001", "", "NGUYỄN VĂN A", "", "status", ""]] == texts_of(path)


@pytest.mark.parametrize("namespace", [MAIN, STRICT])
def test_prefixes_and_strict_workbooks_are_read(tmp_path: Path, namespace: str) -> None:
    """Some programs write x:row, and "Strict Open XML" has another namespace."""
    sheet = (HEAD + row(2, *inline(*GOOD))).replace("</", "</x:").replace("<", "<x:").replace("<x:/x:", "</x:")
    parts = {"xl/worksheets/sheet1.xml": f'<x:worksheet xmlns:x="{namespace}">{sheet}</x:worksheet>'}

    assert [list(GOOD)] == texts_of(pack(tmp_path, "", parts=parts, namespace=namespace))


def test_empty_rows_are_nothing_and_lines_are_the_sheet_s(tmp_path: Path) -> None:
    """Blank rows between and after, rows that the file leaves out, and a header that does not stand at the top."""
    sheet = (
        row(1) + row(3, *inline(*HEADER)) + row(4, *inline("", " ", "")) + row(9, *inline("x", "", "", "", "active"))
        + row(10, '<c r="A10" s="1"/>') + row(1_048_576, *inline("", ""))
    )
    seen = Seen()

    assert Tally(1, 1) == check_subscribers(pack(tmp_path, sheet), seen)
    assert [(9, "phone_number is not a Vietnamese mobile number")] == seen.bad


def test_columns_may_stand_anywhere(tmp_path: Path) -> None:
    """With empty columns before and between; what stands beside them is bad."""
    places = ("B", "D", "Z", "AA", "AB", "XFD")

    def line(number: int, texts: tuple[str, ...]) -> str:
        return row(number, *(
            f'<c r="{place}{number}" t="str"><v>{text}</v></c>' for place, text in zip(places, texts, strict=True)
        ))

    beside = row(3, '<c r="C3" t="str"><v>x</v></c>')

    assert [
        (2, dict(zip(HEADER, GOOD, strict=True))), (3, "there is something beside the six columns"),
    ] == rows_of(pack(tmp_path, line(1, HEADER) + line(2, GOOD) + beside))


def test_only_the_first_sheet_is_read_and_that_is_said(tmp_path: Path) -> None:
    """A workbook with notes on other sheets is imported all the same."""
    book = openpyxl.Workbook()
    book.worksheets[0].append(HEADER)
    book.worksheets[0].append(GOOD)
    for title in ("b", "c"):
        book.create_sheet(title).append(("x",))
    book.create_chartsheet("chart", 0)
    book.save(tmp_path / "rows.xlsx")
    seen = Seen()

    assert Tally(1, 0) == check_subscribers(tmp_path / "rows.xlsx", seen)
    assert ["only the first of 3 sheets is read"] == seen.notes


def test_one_sheet_needs_no_note(tmp_path: Path) -> None:
    """Nothing to say is not said; reading is told in bytes of XML, from its begin to its end."""
    seen = Seen()

    assert Tally(1, 0) == check_subscribers(save(tmp_path, GOOD), seen)
    assert [] == seen.notes
    reading = [(done, total) for step, done, total in seen.steps if step == "reading"]
    assert reading == sorted(reading)
    assert reading[-1][0] == reading[-1][1]


# -- as people fill them in -------------------------------------------------------------------------------------------


def test_numbers_and_dates_are_read_as_they_are_seen(tmp_path: Path) -> None:
    """A phone without its 0 is one; a date is a date, whatever its format; a year is a year."""
    path = save(
        tmp_path,
        (900000001, 210000003, "A", date(1990, 1, 31), "active", None),
        (900000002.0, None, "B", datetime(1990, 1, 31, 23, 59), "active", None),  # noqa: DTZ001 - a sheet's
        ("0900000003", CCCD, "C", 1990, "active", None),
    )

    assert [
        ["900000001", "210000003", "A", "1990-01-31", "active", ""],
        ["900000002", "", "B", "1990-01-31", "active", ""],
        ["0900000003", CCCD, "C", "1990", "active", ""],
    ] == texts_of(path)
    assert Tally(3, 0) == check_subscribers(path, Watcher())


def test_an_id_number_that_lost_its_zero_is_bad(tmp_path: Path) -> None:
    """As a number a CCCD has eleven digits: what was lost is not guessed, and the reason says what to do."""
    seen = Seen()

    check_subscribers(save(tmp_path, ("0900000001", int(CCCD), "A", None, "active", None)), seen)

    [(line, reason)] = seen.bad
    assert 2 == line
    assert reason.endswith("(a spreadsheet may have dropped a leading 0: format the column as text)")


STYLES = (
    '<numFmts><numFmt numFmtId="164" formatCode="000000000000"/><numFmt numFmtId="165" formatCode="dd/mm/yyyy;@"/>'
    '<numFmt numFmtId="166" formatCode="[$-42A]#,##0\\ &quot;days&quot;"/></numFmts>'
    '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="166"/><xf numFmtId="14"/>'
    '<xf numFmtId="20"/></cellXfs><cellStyles/>'
)


@pytest.mark.parametrize(("cell", "text"), [
    ('<c s="1"><v>52090000001</v></c>', CCCD),
    ('<c s="0"><v>52090000001</v></c>', "52090000001"),
    ('<c s="3"><v>32874</v></c>', "32874"),
    ("<c><v>9.00000001E8</v></c>", "900000001"),
    ("<c><v>1.5</v></c>", "1.5"),
    ("<c><v>nan</v></c>", "nan"),
    ('<c s="2"><v>32874</v></c>', "1990-01-01"),
    ('<c s="4"><v>32874.75</v></c>', "1990-01-01"),
    ('<c s="2"><v>1</v></c>', "1900-01-01"),
    ('<c s="2"><v>59</v></c>', "1900-02-28"),
    ('<c s="2"><v>61</v></c>', "1900-03-01"),
    ('<c s="2"><v>2958465</v></c>', "9999-12-31"),
    ('<c s="2"><v>2958466</v></c>', "2958466"),
    ('<c s="2"><v>-1</v></c>', "-1"),
    ('<c s="5"><v>0.5</v></c>', "0.5"),
    ('<c s="99"><v>7</v></c>', "7"),
    ('<c s="x"><v>7</v></c>', "7"),
    ('<c t="d"><v>1990-01-01T00:00:00</v></c>', "1990-01-01T00:00:00"),
    ('<c t="b"><v>1</v></c>', "1"),
    ('<c t="str"><f>A1</f><v>NGUYEN</v></c>', "NGUYEN"),
    ("<c><f>1+1</f><v>2</v></c>", "2"),
    ('<c><f>1+1</f><v>2</v></c><c s="1"/>', "2"),
    ('<c t="str"><f>""</f><v></v></c>', ""),
    ("<c/>", ""),
])
def test_each_kind_of_cell(tmp_path: Path, cell: str, text: str) -> None:
    """Zeros that a format shows, days from 1900 with the one that never was, values of formulas."""
    path = pack(tmp_path, HEAD + row(2, *inline("0900000001"), cell), styles=STYLES)

    assert text == texts_of(path)[0][1]


def test_days_may_be_counted_from_1904(tmp_path: Path) -> None:
    """As old programs on another system did."""
    path = pack(
        tmp_path, HEAD + row(2, '<c s="2"><v>31412</v></c>'), styles=STYLES, book='<workbookPr date1904="1"/>',
    )

    assert "1990-01-01" == texts_of(path)[0][0]


@pytest.mark.parametrize(("cell", "reason"), [
    ('<c r="B2" t="e"><v>#N/A</v></c>', "id_number holds an error, such as #N/A"),
    ('<c r="D2"><f>TODAY()</f></c>',
     "birth_date is a formula without a saved value (open the file in a spreadsheet program and save it)"),
    ('<c r="A2" t="s"><v>1</v></c>', "phone_number refers to a text that is not in the file"),
    ('<c r="A2" t="s"><v>-1</v></c>', "phone_number refers to a text that is not in the file"),
    ('<c r="A2" t="s"><v>99999999999999999999</v></c>', "phone_number refers to a text that is not in the file"),
    (f'<c r="C2" t="str"><v>{"A" * 32_768}</v></c>', "full_name is too long"),
    ('<c t="e"/>' * 16_384, "there is something beside the six columns"),
    ('<c r="7" t="str"><v>x</v></c>', "there is something beside the six columns"),
    ('<c r="XFE2" t="str"><v>x</v></c>', "there is something beside the six columns"),
    ('<c r="ABCDEFG2" t="str"><v>x</v></c>', "there is something beside the six columns"),
])
def test_a_cell_that_cannot_be_read_makes_its_row_bad(tmp_path: Path, cell: str, reason: str) -> None:
    """The reason names the column, and the rows after it are read."""
    path = pack(tmp_path, HEAD + row(2, cell) + row(3, *inline(*GOOD)), texts=("<si><t>a</t></si>",))

    assert [(2, reason), (3, dict(zip(HEADER, GOOD, strict=True)))] == rows_of(path)


def test_a_row_of_endless_text_is_bad(tmp_path: Path) -> None:
    """Many long cells in one row: memory does not grow with them.  Invariant 14."""
    sheet = HEAD + row(2, *inline(*["A" * 32_767] * 6))

    [(line, reason)] = rows_of(pack(tmp_path, sheet))

    assert (2, "status is too long; carrier is too long") == (line, reason)


# -- no workbooks, damaged ones, harmful ones -------------------------------------------------------------------------

NO_WORKBOOK = "is no .xlsx workbook; save it as .xlsx or as CSV UTF-8"


@pytest.mark.parametrize(("data", "reason"), [
    (b"phone_number,id_number", NO_WORKBOOK),
    (b"PK\x03\x04" + bytes(100), NO_WORKBOOK),
    (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500), "is an old .xls, or has a password; save it as .xlsx without one"),
])
def test_what_is_no_workbook_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    """A CSV of another name, rubbish, an old or an encrypted workbook."""
    path = tmp_path / "rows.xlsx"
    path.write_bytes(data)

    assert reason == refusal(path)


def test_another_kind_of_zip_is_told(tmp_path: Path) -> None:
    """A folder that was packed, a text document."""
    path = tmp_path / "rows.xlsx"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rows.csv", "x")

    assert "is no .xlsx workbook, or a damaged one: no _rels/.rels" == refusal(path)


@pytest.mark.parametrize(("header", "told"), [
    ((), ""),
    (("a", "b"), ""),
    (("phone_number",), "; id_number, full_name, birth_date, status, carrier are missing"),
    ((*HEADER, "note"), "; column 7 is none of them, or stands there twice"),
    (("a", *HEADER[1:]), "; phone_number is missing; column 1 is none of them, or stands there twice"),
    ((*HEADER, *HEADER * 1000), "; column 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 is none of them, or stands there twice"),
])
def test_another_header_is_refused(tmp_path: Path, header: tuple[str, ...], told: str) -> None:
    """An empty sheet too; what is told of it has an end."""
    assert f"the first line must be {','.join(HEADER)}{told}" == refusal(save(tmp_path, header=header))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """A file that was cut off anywhere is told, and nothing but a sentence is raised."""
    path = save(tmp_path, *[GOOD] * 3)
    data = path.read_bytes()

    for size in range(1, len(data), 97):
        path.write_bytes(data[:size])
        assert refusal(path)


def test_every_changed_byte_is_told_or_harmless(tmp_path: Path) -> None:
    """Whatever is flipped, the file is read or refused in a sentence."""
    path = pack(tmp_path, HEAD + row(2, *inline(*GOOD)), styles=STYLES, texts=("<si><t>a</t></si>",))
    data = path.read_bytes()

    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1:])
        try:
            check_subscribers(path, Watcher())
        except ConfigurationError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most are refused, some are not


def test_xml_that_breaks_off_is_told(tmp_path: Path) -> None:
    """The rows before it do not count."""
    parts = {"xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"><sheetData>{HEAD}{row(2, *inline(*GOOD))}<row>'}

    assert "is damaged: xl/worksheets/sheet1.xml cannot be read to its end" == refusal(pack(tmp_path, "", parts=parts))


def test_a_part_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ZIP bomb: the sheet is not touched, whatever its kilobytes would become.  Invariant 14."""
    monkeypatch.setattr(xlsx, "_MAX_SHEET", 2 * 2**20)
    path = pack(tmp_path, HEAD + " " * 3_000_000)

    assert path.stat().st_size < 10_000
    assert (
        "is too large unpacked (xl/worksheets/sheet1.xml beyond 2 MiB); save it as CSV UTF-8" == refusal(path)
    )


def test_small_parts_are_bounded(tmp_path: Path) -> None:
    """Parts that are read before anything else must be small."""
    path = pack(tmp_path, HEAD, styles=" " * (16 * 2**20 + 1))

    assert "is too large unpacked (xl/styles.xml beyond 16 MiB); save it as CSV UTF-8" == refusal(path)


def test_a_part_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """No more is unpacked than what the file says of itself, and then it is damaged."""
    path = pack(tmp_path, HEAD + " " * 3_000_000)
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("xl/worksheets/sheet1.xml")
    data, size = path.read_bytes(), info.file_size.to_bytes(4, "little")
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (2000).to_bytes(4, "little")))

    assert "is damaged: xl/worksheets/sheet1.xml cannot be read to its end" == refusal(path)


def test_the_list_of_texts_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what grows in memory."""
    texts = tuple(f"<si><t>{i:04}</t></si>" for i in range(1000))
    path = pack(tmp_path, HEAD + row(2, *inline(*GOOD)), texts=texts)
    assert Tally(1, 0) == check_subscribers(path, Watcher())

    monkeypatch.setattr(xlsx, "_MAX_TEXTS_BYTES", 3999)
    assert "holds too many different texts; save it as CSV UTF-8" == refusal(path)
    monkeypatch.setattr(xlsx, "_MAX_TEXTS_BYTES", 4000)
    monkeypatch.setattr(xlsx, "_MAX_TEXTS", 1000)
    assert "holds too many different texts; save it as CSV UTF-8" == refusal(path)


def test_entities_are_refused(tmp_path: Path) -> None:
    """Billions of laughs, and files of this machine: no workbook declares a document type."""
    sheet = (
        '<!DOCTYPE worksheet [<!ENTITY a "AAAAAAAAAA"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
        f'<worksheet xmlns="{MAIN}"><sheetData>{HEAD}<row><c t="str"><v>&a;&b;</v></c></row></sheetData></worksheet>'
    )

    assert "is refused: it declares a document type, which no workbook needs" == refusal(
        pack(tmp_path, "", parts={"xl/worksheets/sheet1.xml": sheet}),
    )


def test_a_tag_without_end_is_refused(tmp_path: Path) -> None:
    """The parser would hold all of it in memory."""
    parts = {"xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"><sheetData a="{"x" * 3_000_000}"/></worksheet>'}

    assert "is damaged: a tag in xl/worksheets/sheet1.xml does not end" == refusal(pack(tmp_path, "", parts=parts))


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    """LZMA asks for the memory that the file says, and no spreadsheet program writes it."""
    path = tmp_path / "rows.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("_rels/.rels", "<Relationships/>")

    assert "is packed in a way that spreadsheet programs do not use" == refusal(path)


def test_formats_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of formats that no program makes."""
    monkeypatch.setattr(xlsx_package, "_MAX_KEPT", 10)

    assert "has too many sheets or formats; save it as CSV UTF-8" == refusal(pack(tmp_path, HEAD, styles="<xf/>" * 11))


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"])
def test_depth_is_bounded(tmp_path: Path, part: str) -> None:
    """In every part: elements within elements as deep as no program nests them."""
    sheet = f"<sheetData>{HEAD}{row(2, *inline(*GOOD))}</sheetData>" if part == SHEET else ""

    def nested(depth: int) -> Path:
        within = "<a>" * (depth - 1) + "</a>" * (depth - 1)
        parts = {part: f"<worksheet>{within}{sheet}</worksheet>"}
        return pack(tmp_path, HEAD + row(2, *inline(*GOOD)), texts=(), styles="<a/>", parts=parts)

    assert Tally(1, 0) == check_subscribers(nested(32), Watcher())
    assert f"is refused: {part} is nested too deeply" == refusal(nested(33))


def test_names_are_bounded(tmp_path: Path) -> None:
    """Of elements and attributes, by the characters of all different ones: the parser never forgets a name."""
    good = HEAD + row(2, *inline(*GOOD))
    reason = f"is refused: {SHEET} has more names of elements than any workbook"

    assert Tally(1, 0) == check_subscribers(pack(tmp_path, "<a b='1'/>" * 50_000 + good), Watcher())
    assert Tally(1, 0) == check_subscribers(pack(tmp_path, f"<{'a' * 60_000}/>{good}"), Watcher())
    assert reason == refusal(pack(tmp_path, "".join(f"<a{i:04}/>" for i in range(14_000)) + good))
    assert reason == refusal(pack(tmp_path, "".join(f"<a b{i:04}='1'/>" for i in range(14_000)) + good))
    assert reason == refusal(pack(tmp_path, f"<{'a' * 70_000}/>{good}"))


def test_elements_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs time, also those that mean nothing; header and row are 38 of them, within two others."""
    monkeypatch.setattr(xlsx_package, "_MAX_ELEMENTS", 41)
    sheet = HEAD + row(2, *inline(*GOOD))

    assert Tally(1, 0) == check_subscribers(pack(tmp_path, f"<a/>{sheet}"), Watcher())
    assert f"is too large ({SHEET} has more than 41 elements); save it as CSV UTF-8" == refusal(
        pack(tmp_path, f"<a/><a/>{sheet}"),
    )


def test_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty ones count: no sheet has more than 1 048 576."""
    monkeypatch.setattr(xlsx, "_MAX_ROWS", 10)
    sheet = HEAD + row(2, *inline(*GOOD))

    assert Tally(1, 0) == check_subscribers(pack(tmp_path, sheet + "<row/>" * 8), Watcher())
    assert "is damaged: it has more than 10 rows" == refusal(pack(tmp_path, sheet + "<row/>" * 9))


def test_cells_of_a_row_are_bounded(tmp_path: Path) -> None:
    """No sheet has more than 16 384 columns, and no two cells have one place."""
    reason = "is damaged: row 2 has too many cells"

    assert Tally(1, 0) == check_subscribers(
        pack(tmp_path, HEAD + row(2, *inline(*GOOD), *["<c/>"] * (16_384 - 6))), Watcher(),
    )
    assert reason == refusal(pack(tmp_path, HEAD + row(2, *["<c/>"] * 16_385)))
    assert reason == refusal(pack(tmp_path, HEAD + row(2, *['<c r="A2"/>'] * 16_385)))


_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers.importing import Watcher, check_subscribers

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 128 * 2**20,) * 2)
try:
    print(check_subscribers(Path(sys.argv[1]), Watcher()))
except ConfigurationError as error:
    print(str(error).removeprefix(f"{sys.argv[1]}: "))
"""


@pytest.mark.parametrize(("sheet", "told"), [
    (lambda: "<a>" * 10_000_000, f"is refused: {SHEET} is nested too deeply"),
    (lambda: "".join(f"<a{i}/>" for i in range(1_500_000)),
     f"is refused: {SHEET} has more names of elements than any workbook"),
    (lambda: "<a" + "".join(f" a{i}=''" for i in range(80_000)) + "/>",
     f"is refused: {SHEET} has more names of elements than any workbook"),
    (lambda: "<row/>" * 10_000_000, "is damaged: it has more than 1048576 rows"),
    (lambda: f"<row r='7'>{'<c><v>1</v></c>' * 5_000_000}</row>", "is damaged: row 7 has too many cells"),
    (lambda: ("<row>" + "<c t='s'><v>0</v></c>" * 3 + "</row>") * 1000, "Tally(rows=1000, bad_rows=1000)"),
], ids=["depth", "names", "attributes", "rows", "cells", "long texts"])
def test_a_harmful_sheet_costs_little_memory(tmp_path: Path, sheet: Callable[[], str], told: str) -> None:
    """Some kilobytes that unpack to what a parser, or a list of rows, would keep: 128 MiB are enough.  Invariant 14."""
    path = pack(tmp_path, HEAD + sheet(), texts=(f"<si><t>{'😀' * 32_767}</t></si>",))

    ran = subprocess.run(
        [sys.executable, "-c", _IN_LITTLE_MEMORY, path], capture_output=True, text=True, check=False, timeout=60,
    )

    assert (told, "") == (ran.stdout.strip(), ran.stderr)


def test_a_part_may_not_be_missing(tmp_path: Path) -> None:
    """A sheet that the workbook names and does not hold."""
    parts = {
        "xl/_rels/workbook.xml.rels":
            f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r0" Type="{RELATED}/worksheet" Target="x.xml"/>'
            "</Relationships>",
    }

    assert "is no .xlsx workbook, or a damaged one: no xl/x.xml" == refusal(pack(tmp_path, HEAD, parts=parts))
