"""
The first sheet of an Excel workbook (.xlsx: ISO/IEC 29500-1, SpreadsheetML), row by row.

Most cells hold the position of their text in one list of all texts, so that list is kept in memory, in one piece:
55 MB for a million rows with three million different texts.  openpyxl's ``read_only`` keeps each as a string of its
own, which takes 500 MB, and twice as long: that is why it is not used.

Cells are read as a person sees them: a number without ``.0``, with the leading zeros that a format such as
``000000000000`` shows; a date as ISO 8601; of a formula the value that was saved with it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from otp_service.core.errors import ConfigurationError
from otp_service.ownership.subscribers.rows import Progress, Row, column_names
from otp_service.ownership.subscribers.xlsx_package import Handler, Package, local
from otp_service.ownership.subscribers.xlsx_values import Styles

_MIB: Final = 2**20
#: What parts may unpack to.  A sheet ends at 1 048 576 rows; one of six texts each is 350 MB of XML.
_MAX_SHEET: Final = 1024 * _MIB
_MAX_TEXTS_PART: Final = 1024 * _MIB
#: What is kept of the list of texts: bytes, and how many; a full sheet of six columns has 6.3 million at most.
_MAX_TEXTS_BYTES: Final = 192 * _MIB
_MAX_TEXTS: Final = 8 * _MIB

#: Characters in a cell, columns and rows: Excel's bounds.
_MAX_CELL: Final = 32_767
_MAX_COLUMNS: Final = 16_384
_MAX_ROWS: Final = 1_048_576
#: Characters of a row that are read; our six columns are far below.
_MAX_ROW: Final = 131_072

_ERROR: Final = "holds an error, such as #N/A"
_NO_VALUE: Final = "is a formula without a saved value (open the file in a spreadsheet program and save it)"
_TOO_LONG: Final = "is too long"
_NO_TEXT: Final = "refers to a text that is not in the file"
_BESIDE: Final = "there is something beside the six columns"


class XlsxFile:
    """
    A workbook's first sheet; see ``RowFile`` in ``rows.py``.

    Raises ConfigurationError when the file is no workbook.
    """

    def __init__(self, path: Path, file: BinaryIO, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._package = package = Package(path, file)
        book = package.workbook()
        formats = package.elements(book.styles, {"numFmt", "cellXfs", "cellStyleXfs", "xf"}) if book.styles else ()
        self._styles = Styles(formats, from_1904=book.from_1904)
        self._texts = package.part(book.texts, _MAX_TEXTS_PART) if book.texts else None
        self._sheet = package.part(book.sheets[0], _MAX_SHEET)
        more = len(book.sheets) - 1
        self.notes: Sequence[str] = [f"only the first of {more + 1} sheets is read"] if more else []

    def rows(self) -> Iterator[Row]:
        """Yield each row with its number in the sheet."""
        texts = _Texts(self._path)
        before = self._texts.file_size if self._texts else 0
        total = before + self._sheet.file_size
        if self._texts:
            for done in self._package.parse(self._texts, texts):
                self._progress(done, total)
        sheet = _Sheet(self._path, texts, self._styles)
        columns: dict[int, str] = {}
        for done in self._package.parse(self._sheet, sheet):
            for line in sheet.taken():
                if columns:
                    yield line.number, _by_column(line, columns)
                else:
                    columns = self._header(line)
            self._progress(before + done, total)
        if not columns:
            self._header(_Line(1))  # which refuses it

    def _header(self, line: _Line) -> dict[int, str]:
        """Return which column stands where."""
        names = {at: text for at, text in sorted(line.texts.items()) if text.strip()}
        return dict(zip(names, column_names(self._path, list(names.values())), strict=True))


@dataclass(slots=True)
class _Line:
    """A row of the sheet: texts, and what is wrong with a cell, by column; the first column is 0."""

    number: int
    texts: dict[int, str] = field(default_factory=dict, repr=False)
    problems: dict[int, str] = field(default_factory=dict)


def _by_column(line: _Line, columns: dict[int, str]) -> dict[str, str] | str:
    """Return a row's texts by the names of their columns, or what is wrong with it."""
    there = {at for at, text in line.texts.items() if text.strip()} | set(line.problems)
    if there - set(columns):
        return _BESIDE
    problems = [f"{columns[at]} {problem}" for at, problem in sorted(line.problems.items())]
    return "; ".join(problems) or {name: line.texts.get(at, "") for at, name in columns.items()}


class _Texts(Handler):
    """The list of texts, in one piece of memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all = bytearray()
        self._ends = array("I", [0])
        self._pieces = _Pieces()

    def get(self, position: str) -> str | None:
        """Return the text at a position; None when there is none."""
        at = int(position) if position.isdecimal() and len(position) < 10 else len(self._ends)
        if at + 1 >= len(self._ends):
            return None
        return self._all[self._ends[at]:self._ends[at + 1]].decode()

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        """Begin a text or one of its pieces."""
        self._pieces.start(local(name))

    def end(self, name: str) -> None:
        """End a piece, or the text."""
        name = local(name)
        self._pieces.end(name)
        if name == "si":
            self._all += self._pieces.taken().encode()
            self._ends.append(len(self._all))
            if len(self._all) > _MAX_TEXTS_BYTES or len(self._ends) > _MAX_TEXTS:
                raise ConfigurationError(f"{self._path}: holds too many different texts; save it as CSV UTF-8")

    def text(self, data: str) -> None:
        """Take a piece of a text."""
        self._pieces.text(data)


class _Pieces:
    """Puts one text together: what stands in ``t`` and ``v``, but not how to pronounce it (``rPh``, in Japanese)."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        # One character more than a cell may have is kept: it tells that there were too many.
        self._room = _MAX_CELL + 1
        self._heard = self._phonetic = False

    def start(self, name: str) -> None:
        """Begin an element."""
        if name in {"t", "v"}:
            self._heard = not self._phonetic
        elif name == "rPh":
            self._phonetic = True

    def end(self, name: str) -> None:
        """End an element."""
        if name in {"t", "v"}:
            self._heard = False
        elif name == "rPh":
            self._phonetic = False

    def text(self, data: str) -> None:
        """Take a piece."""
        if self._heard and self._room > 0:
            data = data[:self._room]
            self._room -= len(data)
            self._pieces.append(data)

    def taken(self) -> str:
        """Return the text, once."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._room = _MAX_CELL + 1
        return text


class _Sheet(Handler):
    """Collects the rows of a sheet, of which there are no more, and none longer, than a sheet can have."""

    def __init__(self, path: Path, texts: _Texts, styles: Styles) -> None:
        self._path = path
        self._texts = texts
        self._styles = styles
        self._pieces = _Pieces()
        self._lines: list[_Line] = []
        self._line = _Line(0)
        self._room = 0
        self._rows = self._cells = 0
        self._column = -1
        self._kind = self._style = ""
        self._formula = False

    def taken(self) -> list[_Line]:
        """Return the rows that are complete and not empty, once."""
        lines, self._lines = self._lines, []
        return [line for line in lines if line.problems or any(map(str.strip, line.texts.values()))]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin a row, a cell, or what is in it."""
        # Called for millions of cells: values come first, and no call is made that is not needed.
        name = local(name) if ":" in name else name
        if name == "v":
            self._pieces.start(name)
        elif name == "c":
            place = attributes.get("r")
            self._column = _column(place) if place else self._column + 1
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "0")
            self._formula = False
            self._cells += 1
            if self._cells > _MAX_COLUMNS:
                raise ConfigurationError(f"{self._path}: is damaged: row {self._line.number} has too many cells")
        elif name == "row":
            self._rows += 1
            if self._rows > _MAX_ROWS:
                raise ConfigurationError(f"{self._path}: is damaged: it has more than {_MAX_ROWS} rows")
            number = attributes.get("r", "")
            self._line = _Line(int(number) if number.isdecimal() and len(number) < 10 else self._line.number + 1)
            self._column, self._cells, self._room = -1, 0, _MAX_ROW
        elif name == "f":
            self._formula = True
        else:
            self._pieces.start(name)

    def end(self, name: str) -> None:
        """End a row, a cell, or what is in it."""
        name = local(name) if ":" in name else name
        if name == "v":
            self._pieces.end(name)
        elif name == "c":
            self._end_cell(self._pieces.taken())
        elif name == "row":
            self._lines.append(self._line)
        else:
            self._pieces.end(name)

    def text(self, data: str) -> None:
        """Take a piece of a value."""
        self._pieces.text(data)

    def _end_cell(self, value: str) -> None:
        line, at = self._line, min(self._column, _MAX_COLUMNS)
        found: str | None = value
        if self._kind == "s" and value:
            found = self._texts.get(value)
        elif self._kind == "n" and value:
            found = self._styles.text(value, self._style)
        self._room -= len(found or "")
        if self._kind == "e":
            line.problems[at] = _ERROR
        elif found is None:
            line.problems[at] = _NO_TEXT
        elif len(found) > _MAX_CELL or self._room < 0:
            line.problems[at] = _TOO_LONG
        elif found:
            line.texts[at] = found
        elif self._formula and self._kind != "str":
            line.problems[at] = _NO_VALUE


def _column(place: str) -> int:
    """Return the column of a cell: A1 → 0, AA7 → 26; beyond the last for what is no place."""
    letters = place.rstrip("0123456789")
    if len(letters) == 1 and "A" <= letters <= "Z":  # nearly all of them
        return ord(letters) - 65
    if not (letters.isascii() and letters.isalpha() and len(letters) <= 3):
        return _MAX_COLUMNS
    column = 0
    for letter in letters.upper():
        column = column * 26 + ord(letter) - 64
    return column - 1
