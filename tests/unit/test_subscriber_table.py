"""The table at rest: its bytes, how rows are found in it, which files are refused, and how it is followed."""

from __future__ import annotations

import os
import struct
from hashlib import blake2b
from pathlib import Path

import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers.importing import Watcher, import_subscribers
from otp_service.ownership.subscribers.table import (
    HEADER_BYTES,
    LOOK_EVERY_S,
    RECORD_BYTES,
    Digests,
    Record,
    RecordsInFile,
    TableDamaged,
    TableFile,
    open_table,
    pack_header,
)

KEY = b"k" * 32
NOW_S = 1_767_225_600
HEADER = "phone_number,id_number,full_name,birth_date,status,carrier"
PHONE = "+84900000001"
CCCD = "052090000001"
ROW = f"0900000001,{CCCD},NGUYỄN VĂN A,1990-01-01,active,mobifone"


def make(folder: Path, *rows: str, key: bytes = KEY, name: str = "subscribers.table") -> Path:
    """Import rows and return the table's path."""
    source, table = folder / "rows.csv", folder / name
    source.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    assert not import_subscribers(source, table, key, now_s=NOW_S, watcher=Watcher()).bad_rows
    return table


def refusal(path: Path, key: bytes = KEY) -> str:
    """Return why a table is not opened."""
    with pytest.raises(ConfigurationError) as refused:
        open_table(path, key)
    return str(refused.value)


# -- bytes ------------------------------------------------------------------------------------------------------------


def test_the_file_is_as_described(tmp_path: Path) -> None:
    """Header and record by bytes: whoever has the key can compute each of them, and nobody else."""
    data = make(tmp_path, ROW).read_bytes()
    magic, version, record_bytes, zeros, salt, rows, made_at, check = struct.unpack(">8sHH4s16sQQ16s", data[:64])
    key = blake2b(salt, key=KEY, digest_size=32, person=b"otp subscribers").digest()

    def digest(text: str, size: int, person: bytes) -> bytes:
        return blake2b(text.encode(), key=key, digest_size=size, person=person).digest()

    assert (b"OTPSUBSC", 1, 49, bytes(4), 1, NOW_S) == (magic, version, record_bytes, zeros, rows, made_at)
    assert blake2b(data[:48], key=key, digest_size=16, person=b"header").digest() == check
    assert data[64:] == (
        digest(PHONE, 16, b"phone") + digest(f"{PHONE}\0{CCCD}", 16, b"document")
        + digest(f"{PHONE}\0a nguyen van", 8, b"name") + digest(f"{PHONE}\x001990-01-01", 8, b"birth date") + b"\0"
    )


def test_what_is_not_on_record_is_zeros(tmp_path: Path) -> None:
    """No document, name and birth date; the status stands by itself."""
    data = make(tmp_path, "0900000001,,,,unknown,mobifone").read_bytes()

    assert bytes(32) + b"\4" == data[64 + 16:]


def test_nothing_of_a_person_is_in_the_file(tmp_path: Path) -> None:
    """No phone, ID number, name or date, in no spelling that was given.  Invariant 5."""
    data = make(tmp_path, ROW, "0900000002,210000003,LÊ VĂN C,1990,active,mobifone").read_bytes()

    for text in ("900000001", CCCD, "210000003", "NGUY", "nguyen", "VĂN", "1990", "mobifone", "active"):
        assert text.encode() not in data


def test_a_table_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Nobody else reads even the digests."""
    assert 0o600 == make(tmp_path, ROW).stat().st_mode & 0o777


# -- look-up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_every_row_is_found_and_no_other(tmp_path: Path, count: int) -> None:
    """First, last and all between; their neighbours are not there."""
    table = open_table(make(tmp_path, *(f"0900000{i:03},,,,active,x" for i in range(count))), KEY)

    assert count == len(table)
    assert [f"+84900000{i:03}" for i in range(count)] == [
        phone for i in range(1000) if table.find(phone := f"+84900000{i:03}")
    ]
    assert table.find("+84900001000") is None


def test_an_empty_table_knows_nobody(tmp_path: Path) -> None:
    """A header alone is a table."""
    path = tmp_path / "subscribers.table"
    path.write_bytes(pack_header(Digests(KEY, b"s" * 16), 0, NOW_S))
    table = open_table(path, KEY)

    assert 0 == len(table)
    assert table.find(PHONE) is None


def test_a_record_does_not_show_its_digests(tmp_path: Path) -> None:
    """They are no secret to whoever has the key."""
    record = open_table(make(tmp_path, ROW), KEY).find(PHONE)

    assert isinstance(record, Record)
    assert "Record(status='active')" == repr(record)


# -- files that are refused -------------------------------------------------------------------------------------------


def test_another_key_is_refused(tmp_path: Path) -> None:
    """A table of another house finds nobody: better to say so than to answer that nobody is a subscriber."""
    path = make(tmp_path, ROW)

    assert (
        f"{path}: was made with another key file, or is damaged; import it again where the service's key file is"
        == refusal(path, b"x" * 32)
    )


@pytest.mark.parametrize("at", range(16, 48))
def test_a_changed_header_is_refused(tmp_path: Path, at: int) -> None:
    """Any other salt, count or time does not fit the check."""
    path = make(tmp_path, ROW)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)

    assert "another key file, or is damaged" in refusal(path)


@pytest.mark.parametrize("rows", [2, 3, 9])
def test_records_out_of_order_are_refused(tmp_path: Path, rows: int) -> None:
    """A table whose records were written over, header and length left alone, would know nobody: it is refused."""
    path = make(tmp_path, *(ROW.replace("0900000001", f"090000000{at}") for at in range(rows)))
    data = path.read_bytes()
    records = [data[at:at + RECORD_BYTES] for at in range(HEADER_BYTES, len(data), RECORD_BYTES)]
    path.write_bytes(data[:HEADER_BYTES] + b"".join(reversed(records)))
    assert f"{path}: is damaged: its records are out of order; import it again" == refusal(path)


@pytest.mark.parametrize("change", [-49, -1, 1, 49])
def test_a_table_of_another_length_is_refused(tmp_path: Path, change: int) -> None:
    """One that was cut off while it was copied does not answer for those it lost."""
    path = make(tmp_path, ROW, "0900000002,,,,active,x")
    os.truncate(path, 64 + 98 + change)

    assert f"{path}: is damaged: {162 + change} bytes instead of 162; import it again" == refusal(path)


@pytest.mark.parametrize("data", [b"", b"OTPSUBSC", b"x" * 200, b"phone_number,id_number" * 10])
def test_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    """Empty, cut off, or the CSV itself."""
    path = tmp_path / "subscribers.table"
    path.write_bytes(data)

    assert f"{path}: is no table of subscribers; otp-service subscribers import FILE makes one" == refusal(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    """A table of a later version is not guessed at."""
    path = make(tmp_path, ROW)
    data = bytearray(path.read_bytes())
    data[9] = 2
    path.write_bytes(data)

    assert f"{path}: is of another version (2, not 1); import it again" == refusal(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, and a pipe, which nobody waits for."""
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        assert f"{path}: is no file; otp-service subscribers import FILE makes one" == refusal(path)


# -- following --------------------------------------------------------------------------------------------------------


class Clock:
    """A clock to move."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_a_replaced_table_is_followed_after_a_second(tmp_path: Path) -> None:
    """Not before: looking at the file costs each question something."""
    clock = Clock()
    file = TableFile(make(tmp_path, ROW), KEY, clock=clock)
    make(tmp_path, ROW, "0900000002,,,,active,x")

    clock.now_s = LOOK_EVERY_S - 0.01
    assert 1 == len(file.current())
    clock.now_s = LOOK_EVERY_S
    assert 2 == len(file.current())
    assert file.problem is None


def test_a_bad_table_is_told_until_it_is_good_again(tmp_path: Path) -> None:
    """Gone, of another key, cut off: the old table stays in force, and the problem says why."""
    clock = Clock()
    path = make(tmp_path, ROW)
    file = TableFile(path, KEY, clock=clock)
    problems = []
    (tmp_path / "elsewhere").mkdir()
    cut_off = tmp_path / "cut off"
    cut_off.write_bytes(path.read_bytes()[:-1])
    for other in (None, make(tmp_path / "elsewhere", ROW, key=b"x" * 32), cut_off):
        path.unlink(missing_ok=True)
        if other:
            other.replace(path)
        clock.now_s += LOOK_EVERY_S
        assert file.current().find(PHONE)
        problems.append(str(file.problem).removeprefix(f"{path}: "))
    path.unlink()
    make(tmp_path, "0900000002,,,,active,x")
    clock.now_s += LOOK_EVERY_S

    assert file.current().find(PHONE) is None
    assert file.problem is None
    assert "cannot be looked at: No such file or directory" == problems[0]
    assert problems[1].startswith("was made with another key file")
    assert problems[2].startswith("is damaged")


def test_a_table_that_is_cut_short_under_way_is_damaged(tmp_path: Path) -> None:
    """Reading on would end the process where the file were mapped, and answer for the wrong people where not."""
    path = make(tmp_path, *(f"0900000{i:03},,,,active,x" for i in range(100)))
    table = open_table(path, KEY)
    os.truncate(path, HEADER_BYTES + RECORD_BYTES)

    with pytest.raises(TableDamaged):
        table.find(PHONE)


def test_records_that_are_not_there_are_damaged(tmp_path: Path) -> None:
    """Nothing, or half a record, is no record."""
    records = RecordsInFile(os.open(make(tmp_path, ROW), os.O_RDONLY))

    assert 49 == len(records.read(0, 49))
    for offset in (1, 49, 10**6):
        with pytest.raises(TableDamaged):
            records.read(offset, 49)


def test_a_status_that_is_none_is_damaged(tmp_path: Path) -> None:
    """A record with a byte changed in its status answers nothing."""
    path = make(tmp_path, ROW)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\x05")

    with pytest.raises(TableDamaged):
        open_table(path, KEY).find(PHONE)


def test_files_are_let_go(tmp_path: Path) -> None:
    """A table that was replaced is closed: a service that runs for years does not run out of files."""
    clock = Clock()
    file = TableFile(make(tmp_path, ROW), KEY, clock=clock)
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        make(tmp_path, ROW)
        clock.now_s += LOOK_EVERY_S
        assert file.current().find(PHONE)

    assert before == len(list(Path("/dev/fd").iterdir()))


def test_digests_of_one_text_differ_by_use() -> None:
    """A document is no name, and a phone no document, even where the texts are the same."""
    digests = Digests(KEY, bytes(16))
    made = [
        digests.phone("a\0b")[:8], digests.document("a", "b")[:8], digests.name("a", "b"), digests.birth_date("a", "b"),
    ]

    assert 4 == len(set(made))
