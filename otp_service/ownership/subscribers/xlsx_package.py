"""
The parts of an Excel workbook: XML in a ZIP file (ISO/IEC 29500-2), each found by the relationships of another.

Nothing in the file is trusted.  Only parts that are needed are unpacked, piece by piece, and none beyond its bound;
document types, and with them entities, are refused; so is a tag that does not end.  Depth, names and the number of
elements are bounded too: the parser keeps a record of every open element and of every name that it has met.
"""

from __future__ import annotations

import posixpath
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from otp_service.core.errors import ConfigurationError

_MIB: Final = 2**20
_MAX_SMALL_PART: Final = 16 * _MIB
#: Elements kept of a small part; a workbook has at most 65 490 cell formats.
_MAX_KEPT: Final = 100_000
#: Elements of any part; a full sheet of six columns with their formulas has 20 million.
_MAX_ELEMENTS: Final = 32 * _MIB
#: Elements within elements; extensions of a sheet come to a dozen.
_MAX_DEPTH: Final = 32
#: Characters of all different names of elements and attributes in a part; a sheet comes to some hundreds.
_MAX_NAMES: Final = 65_536
#: The longest tag: bytes that the parser may hold back.
_MAX_TAG: Final = _MIB
#: Bytes read at once.  The rows in them are in memory together, and a few bytes may stand for a long text.
_CHUNK: Final = 16_384
_ENCRYPTED: Final = 1

#: How the container of the old .xls and of encrypted workbooks begins (MS-CFB 2.2).
_COMPOUND_FILE: Final = bytes.fromhex("d0cf11e0a1b11ae1")

#: What ``zipfile`` raises of files that are damaged, or made to look so; and expat of encodings that it does not know.
_UNREADABLE: Final = (BadZipFile, struct.error, EOFError, RuntimeError, ValueError, LookupError, OSError)

#: An element's name without its namespace's prefix, and its attributes.
Element = tuple[str, dict[str, str]]

_Start = Callable[[str, dict[str, str]], None]
_End = Callable[[str], None]


class Handler:
    """What becomes of a part as it is read; what is not overridden is passed over."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take the begin of an element."""

    def end(self, name: str) -> None:
        """Take the end of an element."""

    def text(self, data: str) -> None:
        """Take a piece of text."""


@dataclass(frozen=True, slots=True)
class Book:
    """
    Where the parts of a workbook are.

    Attributes:
        sheets: of the worksheets, in the order of their tabs.
        texts: of the list of texts, if there is one.
        styles: of the formats, if there are any.
        from_1904: whether days are counted from 1904.
    """

    sheets: tuple[str, ...]
    texts: str
    styles: str
    from_1904: bool


def local(name: str) -> str:
    """Return an element's name without its namespace's prefix."""
    return name.rpartition(":")[2] if ":" in name else name


class Package:
    """
    Opens a workbook's ZIP file.

    Args:
        path: of the file, for errors.
        file: the open file, which may be sought.

    Every method raises ConfigurationError when the file is damaged, or is no workbook.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        begin = file.read(len(_COMPOUND_FILE))
        if begin == _COMPOUND_FILE:
            raise ConfigurationError(f"{path}: is an old .xls, or has a password; save it as .xlsx without one")
        try:
            self._zip = ZipFile(file)
        except _UNREADABLE as error:
            raise ConfigurationError(f"{path}: is no .xlsx workbook; save it as .xlsx or as CSV UTF-8") from error

    def workbook(self) -> Book:
        """Find the parts."""
        main = next((target for kind, target in self._related("").values() if kind == "officeDocument"), "")
        if not main:
            raise ConfigurationError(f"{self._path}: is no .xlsx workbook; save it as .xlsx or as CSV UTF-8")
        related = self._related(main)
        by_kind = dict(related.values())
        sheets, from_1904 = [], False
        for name, attributes in self.elements(main, {"workbookPr", "sheet"}):
            if name == "workbookPr":
                from_1904 = attributes.get("date1904", "") in {"1", "true"}
                continue
            key = next((value for attribute, value in attributes.items() if local(attribute) == "id"), "")
            kind, target = related.get(key, ("", ""))
            if kind == "worksheet":  # a tab may be a chart
                sheets.append(target)
        if not sheets:
            raise ConfigurationError(f"{self._path}: has no sheet")
        return Book(tuple(sheets), by_kind.get("sharedStrings", ""), by_kind.get("styles", ""), from_1904)

    def _related(self, source: str) -> dict[str, tuple[str, str]]:
        """Return what a part refers to: id → last word of the kind, and name of the part."""
        folder, name = posixpath.split(source)
        found = self.elements(posixpath.join(folder, "_rels", f"{name}.rels"), {"Relationship"})
        return {
            one.get("Id", ""): (
                one.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, one.get("Target", ""))).lstrip("/"),
            )
            for _, one in found
        }

    def elements(self, name: str, wanted: Collection[str]) -> list[Element]:
        """Return the elements of these names of a small part, in their order."""
        collector = _Collector(self._path, wanted)
        for _ in self.parse(self.part(name, _MAX_SMALL_PART), collector):
            pass
        return collector.found

    def part(self, name: str, most: int) -> ZipInfo:
        """Return a part that unpacks to at most so many bytes."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise ConfigurationError(f"{self._path}: is no .xlsx workbook, or a damaged one: no {name}") from None
        if info.flag_bits & _ENCRYPTED or info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise ConfigurationError(f"{self._path}: is packed in a way that spreadsheet programs do not use")
        # The bound holds: no more than the size told here is unpacked.
        if info.file_size > most:
            raise ConfigurationError(
                f"{self._path}: is too large unpacked ({name} beyond {most // _MIB} MiB); save it as CSV UTF-8",
            )
        return info

    def parse(self, part: ZipInfo, handler: Handler) -> Iterator[int]:
        """Read a part piece by piece; yield how many bytes have been read so far."""
        names: dict[str, str] = {}
        parser = expat.ParserCreate(intern=names)
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._bounded(part, handler)
        parser.CharacterDataHandler = handler.text
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        fed = 0
        try:
            with self._zip.open(part) as file:
                while chunk := file.read(_CHUNK):
                    parser.Parse(chunk, False)  # noqa: FBT003 - expat takes no names
                    fed += len(chunk)
                    if fed - parser.CurrentByteIndex > _MAX_TAG:
                        raise ConfigurationError(f"{self._path}: is damaged: a tag in {part.filename} does not end")
                    if sum(map(len, names)) > _MAX_NAMES:
                        raise ConfigurationError(
                            f"{self._path}: is refused: {part.filename} has more names of elements than any workbook",
                        )
                    yield fed
            parser.Parse(b"", True)  # noqa: FBT003 - expat takes no names
            yield fed
        except (*_UNREADABLE, zlib.error, expat.ExpatError) as error:
            raise ConfigurationError(f"{self._path}: is damaged: {part.filename} cannot be read to its end") from error

    def _bounded(self, part: ZipInfo, handler: Handler) -> tuple[_Start, _End]:
        """Return what begins and ends an element: the handler's own, but for no more of them than a workbook has."""
        # Closures, because they are called for millions of elements.
        begin, finish = handler.start, handler.end
        depth = elements = 0

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal depth, elements
            depth += 1
            elements += 1
            if depth > _MAX_DEPTH:
                raise ConfigurationError(f"{self._path}: is refused: {part.filename} is nested too deeply")
            if elements > _MAX_ELEMENTS:
                raise ConfigurationError(
                    f"{self._path}: is too large ({part.filename} has more than {_MAX_ELEMENTS} elements); "
                    "save it as CSV UTF-8",
                )
            begin(name, attributes)

        def end(name: str) -> None:
            nonlocal depth
            depth -= 1
            finish(name)

        return start, end

    def _refuse_doctype(self, *_: object) -> None:
        raise ConfigurationError(f"{self._path}: is refused: it declares a document type, which no workbook needs")


class _Collector(Handler):
    """Keeps the elements of some names."""

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        self._path = path
        self._wanted = wanted
        self.found: list[Element] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Keep an element."""
        if local(name) not in self._wanted:
            return
        self.found.append((local(name), attributes))
        if len(self.found) > _MAX_KEPT:
            raise ConfigurationError(f"{self._path}: has too many sheets or formats; save it as CSV UTF-8")
