"""The importer: every bad row told, all or nothing, more rows than memory holds, and what is left when it is killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from otp_service.cli import app
from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers import files
from otp_service.ownership.subscribers.importing import Tally, Watcher, check_subscribers, import_subscribers
from otp_service.ownership.subscribers.table import STATUSES, open_table

CONFIG = Path(__file__).parents[2] / "config"
KEY = b"k" * 32
NOW_S = 1_767_225_600
HEADER = "phone_number,id_number,full_name,birth_date,status,carrier"
CCCD = "052090000001"
GOOD = f"0900000001,{CCCD},NGUYỄN VĂN A,1990-01-01,active,mobifone"


class Seen(Watcher):
    """Keeps what it is told, and may do something when it is told of progress."""

    def __init__(self, then: Callable[[str], None] = lambda _: None) -> None:
        self.bad: list[tuple[int, str]] = []
        self.notes: list[str] = []
        self.steps: list[tuple[str, int, int]] = []
        self._then = then

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def bad_row(self, line: int, reason: str) -> None:
        """Keep it."""
        self.bad.append((line, reason))

    def progress(self, step: str, done: int, total: int) -> None:
        """Keep it."""
        self.steps.append((step, done, total))
        self._then(step)


def write(folder: Path, *rows: str, header: str = HEADER, name: str = "rows.csv", encoding: str = "utf-8") -> Path:
    """Write a file of rows and return its path."""
    path = folder / name
    path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return path


def table_of(folder: Path) -> Path:
    """Return where the table of a test is."""
    return folder / "data" / "subscribers.table"


def run_import(source: Path, watcher: Watcher | None = None) -> Tally:
    """Import a file into the table beside it."""
    return import_subscribers(source, table_of(source.parent), KEY, now_s=NOW_S, watcher=watcher or Watcher())


def refusal(source: Path) -> str:
    """Return why a file is not imported."""
    with pytest.raises(ConfigurationError) as refused:
        run_import(source)
    return str(refused.value).removeprefix(f"{source}: ")


def left(folder: Path) -> list[str]:
    """Return the files beside the table."""
    return sorted(path.name for path in table_of(folder).parent.iterdir())


# -- bad rows ---------------------------------------------------------------------------------------------------------

NO_PHONE = "phone_number is not a Vietnamese mobile number"
NO_ID = "id_number has neither 12 nor 9 digits (a spreadsheet may have dropped a leading 0: format the column as text)"
NO_DATE = "birth_date is neither a date such as 1990-01-31 or 31/01/1990 nor a year"
NO_STATUS = f"status is none of {', '.join(STATUSES)}"
NO_CSV = "not CSV: a quote out of place, or text that never ends"


@pytest.mark.parametrize(("row", "reason"), [
    ("01662345678,,,,active,x", NO_PHONE),
    (",,,,active,x", NO_PHONE),
    ("9E+08,,,,active,x", NO_PHONE),
    ("0900000002,52090000001,,,active,x", NO_ID),
    ("0900000002,5.209E+10,,,active,x", NO_ID),
    ("0900000002,*********001,,,active,x", NO_ID),
    ("0900000002,,,40/01/1990,active,x", NO_DATE),
    ("0900000002,,,32874,active,x", NO_DATE),
    ("0900000002,,,,frozen,x", NO_STATUS),
    ("0900000002,,,,,x", NO_STATUS),
    (f"0900000002,,{'A' * 201},,active,x", "full_name has more than 200 characters"),
    ("0900000002,,,,active", "5 fields, not 6"),
    ("0900000002,,,,active,x,y", "7 fields, not 6"),
    ('0900000002,,"A"B,,active,x', NO_CSV),
    ("1414,x,,z,w,", f"{NO_PHONE}; {NO_ID}; {NO_DATE}; {NO_STATUS}"),
])
def test_a_bad_row_is_told_by_line_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    """The rows around it are read; nothing of what stands in it is repeated."""
    seen = Seen()

    assert Tally(rows=3, bad_rows=1) == run_import(write(tmp_path, GOOD, row, "0900000003,,,,active,x"), seen)
    assert [(3, reason)] == seen.bad


def test_every_bad_row_is_told(tmp_path: Path) -> None:
    """Not the first twenty: whoever mends the file wants all of them at once."""
    seen = Seen()

    assert Tally(1001, 1000) == run_import(write(tmp_path, *["x,,,,active,x"] * 1000, GOOD), seen)
    assert [(line, NO_PHONE) for line in range(2, 1002)] == seen.bad


def test_repeated_phones_are_told_with_the_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are written, however far apart, also when other rows are bad."""
    monkeypatch.setattr(files, "_RUN_ROWS", 2)
    seen = Seen()
    source = write(
        tmp_path, GOOD, "0900000002,,,,active,x", "x,,,,active,x", "0900000003,,,,active,x",
        "+84 900 000 001,,,,active,x", "0900000004,,,,active,x", "900000001,,,,active,x",
    )

    assert Tally(7, 3) == run_import(source, seen)
    same = "the same phone_number as line 2"
    assert [(4, NO_PHONE), (6, same), (8, same)] == seen.bad


def test_a_quote_that_is_not_closed_costs_few_rows(tmp_path: Path) -> None:
    """The rows that it swallows are told, and those after it are read and told again."""
    seen = Seen()
    rows = ['0900000001,,"A,,active,x', *[f"0901{i:06},,{'A' * 100},,active,x" for i in range(2000)], "x,,,,active,x"]

    run_import(write(tmp_path, *rows), seen)

    assert 2 == seen.bad[0][0]
    assert seen.bad[0][1].startswith(f"{NO_CSV}; skipped as far as line ")
    assert (2003, NO_PHONE) == seen.bad[-1]


@pytest.mark.parametrize(("text", "skipped"), [
    ('"' + '","\n' * 200_000, "; skipped as far as line 131074"), ("x" * 2_000_000, ""),
])
def test_a_row_without_end_is_bad(tmp_path: Path, text: str, skipped: str) -> None:
    """One line of megabytes, or quotes that open anew on each line: memory does not grow with it.  Invariant 14."""
    seen = Seen()

    run_import(write(tmp_path, GOOD, text, GOOD), seen)

    assert (3, f"{NO_CSV}{skipped}") == seen.bad[0]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    """Empty lines and names with line breaks move the count; a row is told by its first line."""
    seen = Seen()

    run_import(write(tmp_path, "", '0900000001,,"A\nB\nC",,active,x', "", ",,,,,", '"x\ny",,,,active,x'), seen)

    assert [(8, NO_PHONE)] == seen.bad


# -- files as people save them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_of_spreadsheets_are_taken(tmp_path: Path, delimiter: str) -> None:
    """Where the comma is the decimal mark, as in Vietnam, "CSV" is written with semicolons."""
    source = write(tmp_path, GOOD.replace(",", delimiter), header=HEADER.replace(",", delimiter))

    assert Tally(1, 0) == run_import(source)
    assert open_table(table_of(tmp_path), KEY).find("+84900000001")


@pytest.mark.parametrize("header", [
    " Phone Number ,ID-Number,FULL_NAME,Birth date,STATUS,Carrier", HEADER.upper(), HEADER.replace(",", " , "),
])
def test_the_header_may_be_written_as_people_write(tmp_path: Path, header: str) -> None:
    """Case, blanks and hyphens do not matter."""
    assert Tally(1, 0) == run_import(write(tmp_path, GOOD, header=header))


def test_values_may_be_written_as_carriers_write(tmp_path: Path) -> None:
    """A date with the day first, a status in capitals, a year alone, a masked name, blanks around."""
    assert Tally(2, 0) == run_import(write(
        tmp_path, f" 0900000001 , {CCCD} , NGUYEN VAN A , 01/01/1990 , ACTIVE , x ",
        "84900000002,210000003,NGUYEN V** A,1990,Restricted_One_Way,",
    ))


@pytest.mark.parametrize(("name", "data", "reason"), [
    ("rows.csv", b"", f"is empty; the first line must be {HEADER}"),
    ("rows.csv", b"\xef\xbb\xbf", f"the first line must be {HEADER}"),
    ("rows.csv", HEADER.encode("utf-16"), "line 1 is not UTF-8; save it as CSV UTF-8"),
    ("rows.csv", f"{HEADER}\n0900000001,,VÀ".encode("latin-1"), "line 2 is not UTF-8; save it as CSV UTF-8"),
    ("rows.csv", b'"phone', f"the first line must be {HEADER}"),
    ("rows.csv", b"PK\x03\x04", f"the first line must be {HEADER}"),
    ("rows.xls", b"x", "its name must end with .csv or .xlsx; save it as CSV UTF-8 or as .xlsx"),
    ("rows", b"x", "its name must end with .csv or .xlsx; save it as CSV UTF-8 or as .xlsx"),
])
def test_what_is_no_file_of_rows_is_told_in_a_sentence(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    """Empty, in another encoding, of another kind."""
    source = tmp_path / name
    source.write_bytes(data)

    assert reason == refusal(source)


def test_what_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    """Nothing of that name, a folder, a pipe that nobody writes to."""
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")

    assert "cannot be read: No such file or directory" == refusal(tmp_path / "none.csv")
    assert "is no file" == refusal(tmp_path / "folder.csv")
    assert "is no file" == refusal(tmp_path / "pipe.csv")


# -- all or nothing ---------------------------------------------------------------------------------------------------


def test_one_bad_row_changes_nothing(tmp_path: Path) -> None:
    """The table in force stays as it is, byte by byte, and nothing else is left."""
    run_import(write(tmp_path, GOOD))
    before = table_of(tmp_path).read_bytes()

    assert Tally(2, 1) == run_import(write(tmp_path, "0900000002,,,,active,x", "x,,,,active,x"))
    assert before == table_of(tmp_path).read_bytes()
    assert ["subscribers.table"] == left(tmp_path)


def test_a_repeated_phone_changes_nothing(tmp_path: Path) -> None:
    """It is found when the table is half written."""
    assert Tally(2, 1) == run_import(write(tmp_path, GOOD, GOOD))
    assert [] == left(tmp_path)


def test_a_good_file_replaces_the_table(tmp_path: Path) -> None:
    """What was in the old one and is not in the file is gone."""
    run_import(write(tmp_path, GOOD))
    run_import(write(tmp_path, "0900000002,,,,active,x"))

    assert ["subscribers.table"] == left(tmp_path)
    assert open_table(table_of(tmp_path), KEY).find("+84900000001") is None
    assert open_table(table_of(tmp_path), KEY).find("+84900000002")
    assert NOW_S == open_table(table_of(tmp_path), KEY).made_at


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The table behind it is replaced, and the link stays."""
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    table_of(tmp_path).symlink_to(tmp_path / "elsewhere" / "real.table")

    run_import(write(tmp_path, GOOD))

    assert table_of(tmp_path).is_symlink()
    assert ["real.table"] == [path.name for path in (tmp_path / "elsewhere").iterdir()]


def test_a_file_without_rows_changes_nothing(tmp_path: Path) -> None:
    """An export that failed would make every citizen unknown."""
    run_import(write(tmp_path, GOOD))

    assert "has a header and no rows" == refusal(write(tmp_path, ",,,,,", ""))
    assert open_table(table_of(tmp_path), KEY).find("+84900000001")


def test_checking_writes_nothing(tmp_path: Path) -> None:
    """Every row is checked, repeated phones too, and no table is made."""
    seen = Seen()

    assert Tally(3, 2) == check_subscribers(write(tmp_path, GOOD, "x,,,,active,x", GOOD), seen)
    assert [3, 4] == [line for line, _ in seen.bad]
    assert ["rows.csv"] == [path.name for path in tmp_path.iterdir()]


def test_something_else_is_not_overwritten(tmp_path: Path) -> None:
    """Whoever names the CSV itself as the table keeps it."""
    source = write(tmp_path, GOOD)
    before = source.read_bytes()

    with pytest.raises(ConfigurationError, match="is no table of subscribers, and is not overwritten"):
        import_subscribers(source, source, KEY, now_s=NOW_S, watcher=Watcher())
    assert before == source.read_bytes()


def test_a_table_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The folder is a file."""
    (tmp_path / "data").write_text("")

    with pytest.raises(ConfigurationError, match=r"subscribers\.table: cannot be written: "):
        run_import(write(tmp_path, GOOD))


def test_two_imports_do_not_mix(tmp_path: Path) -> None:
    """The second one is told, and the first goes on."""
    source, refused = write(tmp_path, GOOD), []

    def meanwhile(step: str) -> None:
        with pytest.raises(ConfigurationError) as second:
            run_import(source)
        refused.append((step, str(second.value)))

    assert Tally(1, 0) == run_import(source, Seen(meanwhile))
    assert [("sorting", f"{table_of(tmp_path)}: another import is running")] == refused
    assert ["subscribers.table"] == left(tmp_path)


# -- more rows than memory holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_rows", [1, 7, 100, 1000])
def test_runs_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_rows: int) -> None:
    """However many rows are sorted at once, each is found, and with its own status."""
    monkeypatch.setattr(files, "_RUN_ROWS", run_rows)
    monkeypatch.setattr(files, "_READ_ROWS", 3)

    assert Tally(100, 0) == run_import(write(
        tmp_path, *(f"0900000{i:03},,,,{STATUSES[i % 5]},x" for i in range(100)),
    ))
    table = open_table(table_of(tmp_path), KEY)
    found = [table.find(f"+84900000{i:03}") for i in range(100)]
    assert [STATUSES[i % 5] for i in range(100)] == [record and record.status for record in found]


def test_temporary_files_hold_digests_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a person is on disk at any moment, and the sorted runs have no name.  Invariant 5."""
    monkeypatch.setattr(files, "_RUN_ROWS", 2)
    texts = ("900000", CCCD, "NGUY", "nguyen", "1990")
    written: list[bytes] = []
    names = set()

    def look(_step: str) -> None:
        names.update(left(tmp_path))
        for link in Path("/proc/self/fd").iterdir():
            target = os.path.realpath(link)
            if target.startswith(str(table_of(tmp_path).parent)):
                written.append(Path(link).read_bytes())

    run_import(write(tmp_path, *(f"090000000{i},{CCCD},NGUYEN VAN A,1990,active,x" for i in range(9))), Seen(look))

    assert {".subscribers.table.importing"} == names
    assert 8 * 54 in {len(data) for data in written}
    assert not [text for text in texts for data in written if text.encode() in data]


def test_progress_ends_at_the_end(tmp_path: Path) -> None:
    """Reading is told in bytes, sorting in rows."""
    source, seen = write(tmp_path, *(f"0900{i:06},,,,active,x" for i in range(3000))), Seen()

    run_import(source, seen)

    reading = [(done, total) for step, done, total in seen.steps if step == "reading"]
    assert 3 == len(reading)
    assert {source.stat().st_size} == {total for _, total in reading}
    assert sorted(reading) == reading
    assert ("sorting", 3000, 3000) == seen.steps[-1]


# -- stopped and killed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["reading", "sorting"])
def test_an_import_that_is_stopped_leaves_nothing(tmp_path: Path, step: str) -> None:
    """Ctrl-C at any point: the old table stays, and no file is left."""
    run_import(write(tmp_path, GOOD))
    before = table_of(tmp_path).read_bytes()

    def stop(at: str) -> None:
        if at == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_import(write(tmp_path, *(f"0900{i:06},,,,active,x" for i in range(3000))), Seen(stop))
    assert before == table_of(tmp_path).read_bytes()
    assert ["subscribers.table"] == left(tmp_path)


_KILLED = """
import os, signal, sys
from pathlib import Path
from otp_service.ownership.subscribers.importing import Watcher, import_subscribers

class Kill(Watcher):
    def progress(self, step, done, total):
        if step == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)

import_subscribers(Path(sys.argv[1]), Path(sys.argv[2]), b"k" * 32, now_s=0, watcher=Kill())
"""


@pytest.mark.parametrize("step", ["reading", "sorting"])
def test_an_import_that_is_killed_changes_nothing(tmp_path: Path, step: str) -> None:
    """The old table stays in force, what is left holds no data, and the next import clears it away."""
    run_import(write(tmp_path, GOOD))
    before = table_of(tmp_path).read_bytes()
    source = write(tmp_path, *(f"0900{i:06},{CCCD},,,active,x" for i in range(3000)))

    killed = subprocess.run([sys.executable, "-c", _KILLED, source, table_of(tmp_path), step], check=False)

    assert -signal.SIGKILL == killed.returncode
    assert before == table_of(tmp_path).read_bytes()
    assert [".subscribers.table.importing", "subscribers.table"] == left(tmp_path)
    leftover = table_of(tmp_path).parent / ".subscribers.table.importing"
    assert CCCD.encode() not in leftover.read_bytes()
    leftover.write_bytes(b"\1" * 100_000)  # as one that was killed later leaves
    assert Tally(1, 0) == run_import(write(tmp_path, "0900000002,,,,active,x"))
    assert ["subscribers.table"] == left(tmp_path)
    assert open_table(table_of(tmp_path), KEY).find("+84900000002")


# -- what stands in the way -------------------------------------------------------------------------------------------


def unfinished(folder: Path) -> Path:
    """Return where a killed import leaves its table, in a folder that is there."""
    table_of(folder).parent.mkdir()
    return table_of(folder).with_name(".subscribers.table.importing")


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_table_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, the old table's mode, or the mode of what a killed import has left."""
    leftover = unfinished(tmp_path)
    leftover.touch()
    leftover.chmod(0o666)
    source = write(tmp_path, GOOD)
    before = os.umask(umask)
    try:
        run_import(source)
        first = mode(table_of(tmp_path))
        table_of(tmp_path).chmod(0o644)
        run_import(source)
    finally:
        os.umask(before)

    assert [0o600, 0o600] == [first, mode(table_of(tmp_path))]


def test_who_holds_a_leftover_open_cannot_write_into_the_table(tmp_path: Path) -> None:
    """It is a new file that is put in force, not the one that was there."""
    leftover = unfinished(tmp_path)
    with leftover.open("wb", buffering=0) as held:
        run_import(write(tmp_path, GOOD))
        held.write(b"x" * 1000)

    assert open_table(table_of(tmp_path), KEY).find("+84900000001")


def test_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    """Hard or symbolic: the file that has another name too stays as it is, byte by byte."""
    other = tmp_path / "other"
    other.write_text("of somebody else")
    way = unfinished(tmp_path)
    reason = f"{way}: is not what an import has left, and is not touched; move it away"
    source = write(tmp_path, GOOD)

    for link in (way.hardlink_to, way.symlink_to):
        link(other)
        assert reason == refusal(source)
        assert "of somebody else" == other.read_text()
        assert [way.name] == left(tmp_path)
        way.unlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_way_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A pipe that nobody reads, a folder: neither waits nor goes away."""
    way = unfinished(tmp_path)
    make(way)

    assert f"{way}: is not what an import has left, and is not touched; move it away" == refusal(
        write(tmp_path, GOOD),
    )
    assert [way.name] == left(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can give a file away")
def test_an_administrator_takes_away_only_what_the_service_left(tmp_path: Path) -> None:
    """A leftover of the folder's owner is; one of anybody else is refused.  The table is the folder's owner's."""
    way = unfinished(tmp_path)
    os.chown(way.parent, 4001, 4002)
    source = write(tmp_path, GOOD)
    way.write_text("of somebody else")
    os.chown(way, 4003, 4003)

    assert f"{way}: is not what an import has left, and is not touched; move it away" == refusal(source)
    assert "of somebody else" == way.read_text()
    os.chown(way, 4001, 4002)
    assert Tally(1, 0) == run_import(source)
    made = table_of(tmp_path).stat()
    assert (4001, 4002, 0o600) == (made.st_uid, made.st_gid, mode(table_of(tmp_path)))


# -- the command ------------------------------------------------------------------------------------------------------


def command(folder: Path, *words: str | Path) -> Result:
    """Run ``otp-service subscribers …`` with its data in a folder."""
    return CliRunner().invoke(
        app, ["subscribers", *map(str, words)],
        env={"OTP_CONFIG_DIR": str(CONFIG), "DATA_DIR": str(folder / "data"), "COLUMNS": "200"},
    )


def test_the_command_imports_and_shows(tmp_path: Path) -> None:
    """With the secrets of the data folder, which it makes; what it shows is no data."""
    table = table_of(tmp_path)
    made = command(tmp_path, "import", write(tmp_path, GOOD, "0900000002,,,,active,x"))
    shown = command(tmp_path, "show")

    assert (0, f"{table}: 2 rows, 0.0 MB\n", "") == (made.exit_code, made.stdout, made.stderr)
    assert 0 == shown.exit_code
    assert [f"table     {table}", "rows      2"] == shown.stdout.splitlines()[:2]
    assert ["keys.json", "subscribers.table"] == left(tmp_path)


def test_the_command_tells_bad_rows_on_standard_error(tmp_path: Path) -> None:
    """Each with its line, then the count; exit code 1, and no table."""
    source = write(tmp_path, GOOD, "x,,,,active,x", "0900000002,1,,,active,x")
    ran = command(tmp_path, "import", source)

    assert (1, "") == (ran.exit_code, ran.stdout)
    assert [
        f"line 3: {NO_PHONE}", f"line 4: {NO_ID}", f"otp-service: {source}: bad rows: 2 of 3; nothing has changed",
    ] == ran.stderr.splitlines()
    assert not table_of(tmp_path).exists()


def test_the_command_checks(tmp_path: Path) -> None:
    """Without settings, secrets and a table."""
    source = write(tmp_path, GOOD)
    ran = command(tmp_path, "import", "--check", source)

    assert (0, f"{source}: 1 rows, all of them good\n") == (ran.exit_code, ran.stdout)
    assert not (tmp_path / "data").exists()
    assert 1 == command(tmp_path, "import", "--check", write(tmp_path, GOOD, GOOD)).exit_code


def test_the_command_takes_another_table(tmp_path: Path) -> None:
    """For a service whose table stands elsewhere."""
    other = tmp_path / "other.table"

    assert 0 == command(tmp_path, "import", write(tmp_path, GOOD), "--table", other).exit_code
    assert f"table     {other}" == command(tmp_path, "show", "--table", other).stdout.splitlines()[0]
    assert not table_of(tmp_path).exists()


def test_the_command_fails_in_a_sentence(tmp_path: Path) -> None:
    """No file, no table, no secrets: exit code 2."""
    missing = command(tmp_path, "import", tmp_path / "none.csv")
    table = command(tmp_path, "show")
    nothing = command(tmp_path / "elsewhere", "show")

    assert {2} == {ran.exit_code for ran in (missing, table, nothing)}
    assert f"otp-service: {tmp_path / 'none.csv'}: cannot be read: No such file or directory\n" == missing.stderr
    assert (
        f"otp-service: {table_of(tmp_path)}: no table yet; otp-service subscribers import FILE makes one\n"
        == table.stderr
    )
    assert nothing.stderr.endswith("keys.json does not exist: the first import or start makes it\n")
