"""The source tttb: what each row answers, which tables are refused, and that it keeps no personal data."""

from __future__ import annotations

import csv
import gc
from pathlib import Path
from typing import Any

import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import ASSURANCE_LEVELS, ComparedField, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.source_ports import OwnershipSource, traits_of
from otp_service.ownership.subscribers import importing
from otp_service.ownership.subscribers import table as table_format
from otp_service.ownership.subscribers.importing import MAX_BAD_ROWS_SHOWN, Watcher, import_subscribers
from otp_service.ownership.subscribers.table import RECORD_BYTES, SubscriberTable
from otp_service.ownership.tttb import COLUMNS, STATUSES, TttbSource

SAMPLE = Path(__file__).parents[2] / "config" / "sample" / "subscribers.csv"
HEADER = ",".join(COLUMNS)
KEY = b"k" * 32

CCCD = "052090000001"
CMND = "210000000"
OTHER = "052190000002"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return the path of a table with one row of each kind."""
    return write(
        tmp_path,
        f"0900000001,{CCCD},NGUYỄN VĂN A,1990-01-01,active,mobifone",
        f"0900000002,{CMND},TRẦN THỊ B,1979-02-02,active,mobifone",
        f"0900000003,{CCCD},NGUYỄN VĂN A,1990-01-01,restricted_one_way,mobifone",
        f"0900000004,{CCCD},NGUYỄN VĂN A,1990-01-01,restricted_two_way,mobifone",
        f"0900000005,{CCCD},NGUYỄN VĂN A,1990-01-01,blocked,mobifone",
        "0900000006,,,,unknown,mobifone",
        "0900000007,,,,active,mobifone",
        f"0900000008,{CCCD},NGUYỄN VĂN A,1990-01-01,unknown,mobifone",
    )


def write(folder: Path, *rows: str, header: str = HEADER, end: str = "\n", encoding: str = "utf-8") -> Path:
    """Write a table and return its path."""
    path = folder / "subscribers.csv"
    path.write_bytes(end.join([header, *rows, ""]).encode(encoding))
    return path


def question(last_digit: int, *id_numbers: str) -> OwnershipQuestion:
    """Ask about the phone 090000000<digit>."""
    return OwnershipQuestion(f"+8490000000{last_digit}", id_numbers)


def source_of(path: Path, key: bytes | None = None) -> TttbSource:
    """Read a CSV into memory."""
    return TttbSource(subscribers=str(path), key=key)


def by_id(outcome: str) -> dict[ComparedField, OwnershipOutcome]:
    """Return what came of the fields where the ID number alone was asked about."""
    return {ComparedField.ID_NUMBER: OwnershipOutcome(outcome)}


def match(note: str | None = None) -> Evidence:
    """Return the evidence of a match."""
    return Evidence(OwnershipOutcome.MATCH, "tttb", "subscriber_table", note, by_id("match"))


def mismatch() -> Evidence:
    """Return the evidence of a mismatch."""
    return Evidence(OwnershipOutcome.MISMATCH, "tttb", "subscriber_table", fields=by_id("mismatch"))


def match_by_previous() -> Evidence:
    """Return the evidence of a match by the previous number: it says no more than that."""
    return Evidence(
        OwnershipOutcome.MATCH, "tttb", "subscriber_table_previous_id", "previous_id_number", by_id("match"),
    )


def not_available(note: str) -> Evidence:
    """Return the evidence of a row that allows no comparison: no assurance, because nothing was learnt."""
    return Evidence(OwnershipOutcome.NOT_AVAILABLE, "tttb", None, note, by_id("not_available"))


def refusal(path: Path) -> str:
    """Return why a table is refused."""
    with pytest.raises(ConfigurationError) as refused:
        source_of(path)
    assert refused.value.__cause__ is None
    return str(refused.value)


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expected", "asked"), [
    (match(), question(1, CCCD)),
    (match(), question(1, CCCD, CMND)),
    (match(), question(2, CMND)),
    (match_by_previous(), question(2, CCCD, CMND)),
    (mismatch(), question(1, OTHER)),
    (mismatch(), question(1, OTHER, CMND)),
    (mismatch(), question(2, CCCD)),
    (match("restricted_one_way"), question(3, CCCD)),
    (match_by_previous(), question(3, OTHER, CCCD)),
    (mismatch(), question(3, OTHER)),
    (not_available("subscriber_blocked"), question(4, CCCD)),
    (not_available("subscriber_blocked"), question(5, CCCD)),
    (not_available("subscriber_blocked"), question(5, OTHER)),
    (not_available("status_unknown"), question(6, CCCD)),
    (not_available("no_document"), question(7, CCCD)),
    (not_available("status_unknown"), question(8, CCCD)),
    (not_available("not_a_subscriber"), question(9, CCCD)),
])
async def test_each_kind_of_row_answers_its_word(table: Path, expected: Evidence, asked: OwnershipQuestion) -> None:
    """
    A document is compared where the SIM is in service; all else is not_available, never a match.

    Invariant 8.
    """
    assert expected == await source_of(table).ask(asked)


async def test_a_document_belongs_to_its_phone(table: Path) -> None:
    """The right document with another subscriber's phone is a mismatch."""
    assert mismatch() == await source_of(table).ask(question(2, CCCD))


async def test_an_empty_document_matches_nothing(table: Path) -> None:
    """A row without document is no match for an empty ID number."""
    assert not_available("no_document") == await source_of(table).ask(question(7, ""))
    assert mismatch() == await source_of(table).ask(question(1, ""))


def test_it_is_an_ownership_source(table: Path) -> None:
    """It fits the port, and its assurance is a known level."""
    source = TttbSource(subscribers=str(table))

    assert isinstance(source, OwnershipSource)
    assert "tttb" == source.name
    assert source.assurance in ASSURANCE_LEVELS
    assert 8 == len(source)


def test_any_table_but_the_sample_may_be_of_real_people(table: Path) -> None:
    """Neither the demo nor a test key may ask about people who are not made up."""
    assert traits_of(TttbSource(subscribers=str(table))).real
    assert not traits_of(TttbSource(subscribers=str(SAMPLE))).real


async def test_every_row_is_found_in_a_long_table(tmp_path: Path) -> None:
    """Each of 2000 subscribers matches, and the neighbour's document does not."""
    path = write(tmp_path, *(f"090000{i:04},05209000{i:04},A,,active,mobifone" for i in range(2000)))
    source = source_of(path)

    for i in range(2000):
        phone, own, neighbour = f"+8490000{i:04}", f"05209000{i:04}", f"05209000{i + 1:04}"
        assert match() == await source.ask(OwnershipQuestion(phone, (own,)))
        assert mismatch() == await source.ask(OwnershipQuestion(phone, (neighbour,)))


async def test_an_empty_table_knows_nobody(tmp_path: Path) -> None:
    """A header alone is a table."""
    assert not_available("not_a_subscriber") == await source_of(write(tmp_path)).ask(question(1, CCCD))


async def test_the_sample_answers_as_the_demo_promises() -> None:
    """Each subscriber in service of the sample matches their own document and no other."""
    source = source_of(SAMPLE)
    rows = list(csv.DictReader(SAMPLE.read_text(encoding="utf-8").splitlines()))

    assert len(rows) == len(source)
    for row in rows:
        answer = await source.ask(OwnershipQuestion(row["phone_number"], (row["id_number"] or CCCD,)))
        in_service = row["status"] in {"active", "restricted_one_way"} and row["id_number"]
        assert ("match" if in_service else "not_available") == answer.outcome
        other = await source.ask(OwnershipQuestion(row["phone_number"], ("052090000099",)))
        assert ("mismatch" if in_service else "not_available") == other.outcome


# -- name and birth date ----------------------------------------------------------------------------------------------


def about(last_digit: int, full_name: str | None, birth_date: str | None, id_number: str = CCCD) -> OwnershipQuestion:
    """Ask about a name and a birth date too."""
    return OwnershipQuestion(f"+8490000000{last_digit}", (id_number,), full_name=full_name, birth_date=birth_date)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Return the path of a table of people of whom more or less is known."""
    return write(
        tmp_path,
        f"0900000001,{CCCD},NGUYEN VAN A,01/01/1990,active,mobifone",
        f"0900000002,{CCCD},NGUYEN V** A,1990,active,mobifone",
        f"0900000003,{CCCD},-,,active,mobifone",
        "0900000004,,NGUYEN VAN A,1990-01-01,active,mobifone",
        f"0900000005,{CCCD},NGUYEN VAN A,1990-01-01,blocked,mobifone",
    )


@pytest.mark.parametrize(("asked", "outcome", "name", "birth_date"), [
    (about(1, "Nguyễn Văn A", "1990-01-01"), "match", "match", "match"),
    (about(1, "A Nguyen Van", "1990-01-02"), "match", "match", "mismatch"),
    (about(1, "Nguyễn Văn B", "1991-01-01"), "match", "mismatch", "mismatch"),
    (about(1, "Nguyễn Văn A", "1990-01-01", OTHER), "mismatch", "match", "match"),
    (about(1, "", "nonsense"), "match", "not_available", "not_available"),
    (about(1, "Nguyễn Văn A", "1990"), "match", "match", "not_available"),
    (about(1, "Nguyễn Văn A", None), "match", "match", None),
    (about(1, None, "1990-01-01"), "match", None, "match"),
    (about(2, "Nguyễn Văn A", "1990-01-01"), "match", "not_available", "not_available"),
    (about(2, "Nguyễn Văn A", "1991-01-01"), "match", "not_available", "mismatch"),
    (about(2, "Nguyễn Văn A", "1990"), "match", "not_available", "not_available"),
    (about(3, "Nguyễn Văn A", "1990-01-01"), "match", "not_available", "not_available"),
    (about(4, "Nguyễn Văn A", "1990-01-02"), "not_available", "match", "mismatch"),
    (about(5, "Nguyễn Văn A", "1990-01-01"), "not_available", "not_available", "not_available"),
    (about(9, "Nguyễn Văn A", "1990-01-01"), "not_available", "not_available", "not_available"),
])
async def test_each_field_has_an_outcome_of_its_own(
    people: Path, asked: OwnershipQuestion, outcome: str, name: str | None, birth_date: str | None,
) -> None:
    """
    The ID number alone decides; name and birth date are compared where the question and the record have them.

    Of a year alone, agreement is too little and a difference enough.
    """
    answer = await source_of(people).ask(asked)

    fields = {"id_number": outcome, "full_name": name, "birth_date": birth_date}
    assert outcome == answer.outcome
    assert {field: one for field, one in fields.items() if one is not None} == answer.fields


# -- imported tables --------------------------------------------------------------------------------------------------


def imported(csv_path: Path, key: bytes = KEY) -> Path:
    """Import a CSV and return the table's path."""
    table = csv_path.parent / "subscribers.table"
    assert not import_subscribers(csv_path, table, key, now_s=1_767_225_600, watcher=Watcher()).bad_rows
    return table


async def test_an_imported_table_answers_as_the_csv_does(table: Path) -> None:
    """Every kind of row gives the same evidence, from the file as from memory."""
    one, other = source_of(table), TttbSource(table=imported(table), key=KEY)

    assert len(one) == len(other)
    for digit in range(10):
        for numbers in ((CCCD,), (CMND,), (OTHER,), (CCCD, CMND), (OTHER, CCCD), ("",)):
            asked = OwnershipQuestion(f"+8490000000{digit}", numbers, full_name="Nguyễn Văn A", birth_date="1990-01-01")
            assert await one.ask(asked) == await other.ask(asked)


async def test_a_new_table_is_in_force_within_a_second(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever was unknown is known after the next import, without a restart."""
    monkeypatch.setattr(table_format, "LOOK_EVERY_S", 0.0)
    source = TttbSource(table=imported(table), key=KEY)
    assert not_available("not_a_subscriber") == await source.ask(question(9, CCCD))

    imported(write(tmp_path, f"0900000009,{CCCD},A,,active,mobifone"))

    assert match() == await source.ask(question(9, CCCD))
    assert not_available("not_a_subscriber") == await source.ask(question(1, CCCD))


async def test_a_table_spoilt_in_its_place_answers_nothing(table: Path) -> None:
    """Who writes into the file itself makes every answer an error, never a match or a mismatch.  Invariant 8."""
    path = imported(table)
    source = TttbSource(table=path, key=KEY)
    path.write_bytes(path.read_bytes()[:-1])

    answer = await source.ask(question(1, CCCD))

    assert Evidence(OwnershipOutcome.ERROR, "tttb", note="table_damaged") == answer


async def test_a_bad_table_leaves_the_old_one_in_force(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was put in its place by a mistake is told as a problem, and the old table goes on answering."""
    monkeypatch.setattr(table_format, "LOOK_EVERY_S", 0.0)
    path = imported(table)
    source = TttbSource(table=path, key=KEY)
    assert source.problem is None
    (tmp_path / "other").write_text("something else")
    (tmp_path / "other").replace(path)

    assert match() == await source.ask(question(1, CCCD))
    assert f"{path}: is no table of subscribers; otp-service subscribers import FILE makes one" == source.problem


@pytest.mark.parametrize("options", [{}, {"subscribers": "a.csv", "table": "b.table"}])
def test_one_table_is_named(options: dict[str, Any]) -> None:
    """Neither is nothing to answer from, both would leave open which one is right."""
    with pytest.raises(ConfigurationError, match="a CSV as option subscribers, or an imported table as option table"):
        TttbSource(**options)


def test_a_table_that_is_not_there_yet_is_told_with_the_command(tmp_path: Path) -> None:
    """The error says how to make one."""
    path = tmp_path / "subscribers.table"

    with pytest.raises(ConfigurationError) as refused:
        TttbSource(table=path, key=KEY)

    assert f"{path}: no table yet; otp-service subscribers import FILE makes one" == str(refused.value)


def test_an_imported_table_needs_its_key(table: Path) -> None:
    """A random key fits no table, and another house's neither."""
    path = imported(table)

    with pytest.raises(ConfigurationError, match="the key that the table was imported with is needed"):
        TttbSource(table=path)
    with pytest.raises(ConfigurationError, match="was made with another key file"):
        TttbSource(table=path, key=b"x" * 32)


async def test_a_key_may_be_text(table: Path) -> None:
    """Options from the environment are text."""
    options: dict[str, Any] = {"table": str(imported(table)), "key": KEY.decode()}

    assert match() == await TttbSource(**options).ask(question(1, CCCD))


# -- tables as people save them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "encoding"), [
    ("\r\n", "utf-8"), ("\n", "utf-8-sig"), ("\r\n", "utf-8-sig"), ("\n\n", "utf-8"),
])
async def test_byte_order_mark_crlf_and_empty_lines_are_tolerated(tmp_path: Path, end: str, encoding: str) -> None:
    """What spreadsheets add changes nothing."""
    path = write(tmp_path, f"0900000001,{CCCD},NGUYỄN VĂN A,1990-01-01,active,mobifone", end=end, encoding=encoding)

    assert match() == await source_of(path).ask(question(1, CCCD))


async def test_columns_come_in_any_order(tmp_path: Path) -> None:
    """The header says which column is which."""
    header = "status,carrier,phone_number,full_name,id_number,birth_date"
    path = write(tmp_path, f"active,x,0900000001,y,{CCCD},1990", header=header)

    assert match() == await source_of(path).ask(question(1, CCCD))


@pytest.mark.parametrize("row", [
    "+84 90.000.0001,052 090 000 001,A,,active,mobifone",
    f"84900000001, {CCCD} ,A,, active ,mobifone",
    f'0900000001,{CCCD},"NGUYEN, ""A""\nVAN",,active,mobifone',
])
async def test_numbers_are_read_as_people_type_them(tmp_path: Path, row: str) -> None:
    """Spaces, dots, the country code and quoted names with line breaks are read."""
    assert match() == await source_of(write(tmp_path, row)).ask(question(1, CCCD))


# -- tables that are refused ------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The path and the reason are told."""
    path = tmp_path / "nothing.csv"

    assert f"{path}: cannot be read: No such file or directory" == refusal(path)


@pytest.mark.parametrize(("header", "told"), [
    ("", ""), (HEADER.replace(",", "|"), ""),
    ("phone_number,id_number,full_name,birth_date,status", "; carrier is missing"),
    ("phone_number,id_number,status,carrier", "; full_name, birth_date are missing"),
    (f"{HEADER},note", "; column 7 is none of them, or stands there twice"),
    (f"{HEADER},status", "; column 7 is none of them, or stands there twice"),
    (HEADER.replace("status", "carrier"), "; status is missing; column 6 is none of them, or stands there twice"),
    (HEADER.replace("status", "0900000001"), "; status is missing; column 5 is none of them, or stands there twice"),
])
def test_another_header_is_refused(tmp_path: Path, header: str, told: str) -> None:
    """The six columns are told, which are missing, and where others stand: what those hold is nobody's business."""
    path = write(tmp_path, header=header)

    assert f"{path}: the first line must be {HEADER}{told}" == refusal(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """A file of zero bytes was cut off: it is no table."""
    path = tmp_path / "empty.csv"
    path.write_bytes(b"")

    assert f"{path}: is empty; the first line must be {HEADER}" == refusal(path)


def test_every_bad_row_is_told_by_line_and_without_its_data(tmp_path: Path) -> None:
    """Each reason with its line; no phone, ID number, name or status of the file is repeated."""
    path = write(
        tmp_path,
        f"0900000001,{CCCD},A,,active,mobifone",
        f"02563000000,{CCCD},HIDDEN,,active,mobifone",
        "0900000002,52090000001,HIDDEN,,active,mobifone",
        f"0900000003,{CCCD},HIDDEN,,frozen,mobifone",
        f"0900000004,{CCCD},HIDDEN,,active",
        "1414,x,HIDDEN,,,mobifone",
    )

    not_mobile = "phone_number is not a Vietnamese mobile number"
    not_id = (
        "id_number has neither 12 nor 9 digits (a spreadsheet may have dropped a leading 0: format the column as text)"
    )
    no_status = f"status is none of {', '.join(STATUSES)}"
    assert [
        f"{path}: bad rows: 5",
        f"  line 3: {not_mobile}",
        f"  line 4: {not_id}",
        f"  line 5: {no_status}",
        "  line 6: 5 fields, not 6",
        f"  line 7: {not_mobile}; {not_id}; {no_status}",
    ] == refusal(path).splitlines()


def test_a_repeated_phone_is_refused(tmp_path: Path) -> None:
    """Both lines are told, whichever way the number is written."""
    path = write(
        tmp_path,
        f"0900000001,{CCCD},A,,active,mobifone",
        f"0900000002,{CCCD},A,,active,mobifone",
        f"+84900000001,{OTHER},B,,active,mobifone",
    )

    assert [f"{path}: bad rows: 1", "  line 4: the same phone_number as line 2"] == refusal(path).splitlines()


def test_twenty_bad_rows_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    """A wholly wrong table gives a message of bounded length.  Invariant 14."""
    lines = refusal(write(tmp_path, *(f"x{i},,,,active,y" for i in range(50)))).splitlines()

    assert MAX_BAD_ROWS_SHOWN + 2 == len(lines)
    assert lines[0].endswith(": bad rows: 50")
    assert lines[1].startswith("  line 2:")
    assert "  and 30 more" == lines[-1]


def test_a_quote_that_does_not_end_is_refused(tmp_path: Path) -> None:
    """What is not CSV is told with its line."""
    path = write(tmp_path, f"0900000001,{CCCD},A,,active,mobifone", f'0900000002,{CCCD},"A,,active,mobifone')

    assert "line 3: not CSV: a quote out of place, or text that never ends" in refusal(path)


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    """Latin-1 is told, not guessed."""
    path = write(tmp_path, f"0900000001,{CCCD},VÀ,,active,mobifone", encoding="latin-1")

    assert f"{path}: line 2 is not UTF-8; save it as CSV UTF-8" == refusal(path)


def test_a_table_beyond_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the number of rows.  Invariant 14."""
    monkeypatch.setattr(importing, "MAX_ROWS_IN_MEMORY", 2)
    path = write(tmp_path, *(f"090000000{i},{CCCD},A,,active,mobifone" for i in range(3)))

    assert f"{path}: more than 2 rows; import them instead (otp-service subscribers import)" == refusal(path)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_of_a_wrong_size_is_refused(table: Path, size: int) -> None:
    """A short key could be tried out, a longer one than BLAKE2 takes is a mistake."""
    with pytest.raises(ConfigurationError, match="16 to 64 bytes"):
        source_of(table, key=bytes(size))


# -- what stays in memory ---------------------------------------------------------------------------------------------


def reachable(root: object) -> list[object]:
    """Return every object reachable from an instance, classes and modules left out."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) not in seen and not isinstance(thing, type):
            seen[id(thing)] = thing
            waiting += gc.get_referents(thing)
    return list(seen.values())


def test_only_keyed_digests_stay_in_memory(table: Path) -> None:
    """No phone, document, name or birth date is reachable from the source.  Invariant 5."""
    kept = [thing for thing in reachable(source_of(table)) if isinstance(thing, str | bytes | bytearray)]

    for secret in ("900000001", CCCD, CMND, "NGUY", "TRẦN", "1990-01-01"):
        assert not [thing for thing in kept if isinstance(thing, str) and secret in thing]
        assert not [thing for thing in kept if not isinstance(thing, str) and secret.encode() in thing]


def records_of(source: TttbSource) -> bytes:
    """Return all records of a table in memory."""
    held = source._held
    assert isinstance(held, SubscriberTable)
    return held._records.read(0, len(held) * RECORD_BYTES)


def digests_of(source: TttbSource) -> list[bytes]:
    """Return every digest of a table in memory: phones, documents, names, birth dates."""
    records = records_of(source)
    found = [
        records[start + begin:start + end] for start in range(0, len(records), RECORD_BYTES)
        for begin, end in ((0, 16), (16, 32), (32, 40), (40, 48))
    ]
    return [digest for digest in found if any(digest)]


def test_one_person_s_rows_have_nothing_in_common(table: Path) -> None:
    """The same document, name and birth date behind several phones have different digests."""
    digests = digests_of(source_of(table))

    assert 8 + 3 * 6 == len(digests) == len(set(digests))


def test_two_tables_have_nothing_in_common(table: Path) -> None:
    """Not even of the same rows under the same key: each table has a salt of its own."""
    assert not set(digests_of(source_of(table, KEY))) & set(digests_of(source_of(table, KEY)))


def test_a_row_takes_49_bytes(table: Path) -> None:
    """Two million subscribers, the most that are kept in memory, fit into 98 MB."""
    assert 8 * 49 == len(records_of(source_of(table)))
