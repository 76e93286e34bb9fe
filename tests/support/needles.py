"""Looks for what must stand nowhere: in files, logs and metrics, however it is written (Invariant 5)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from support.processes import Installation


class Needles:
    """What must not be found: each with a pattern that finds it however it is written."""

    def __init__(self) -> None:
        self._patterns: list[tuple[str, re.Pattern[bytes]]] = []

    def number(self, name: str, digits: str) -> None:
        """Add a phone or ID number: with any separators, and encoded."""
        self._add(name, rb"[ ._()\-]{0,2}".join(digit.encode() for digit in digits))
        self._encoded(name, digits.encode())

    def code(self, code: str) -> None:
        """Add a code: alone, not six digits of something longer."""
        self._add(f"code {code}", rb"(?<![0-9A-Za-z.])" + code.encode() + rb"(?![0-9A-Za-z])")

    def text(self, name: str, text: str) -> None:
        """Add a secret that is written one way only."""
        self._add(name, re.escape(text.encode()))
        self._encoded(name, text.encode())

    def found_in(self, hay: bytes) -> list[str]:
        """Return the names of what stands in ``hay``."""
        return sorted({name for name, pattern in self._patterns if pattern.search(hay)})

    def _encoded(self, name: str, secret: bytes) -> None:
        self._add(name, secret.hex().encode())
        for shift in range(3):
            # The middle of its Base64 does not depend on what stands around it.
            coded = b64encode(b"\0" * shift + secret).rstrip(b"=")
            self._add(name, re.escape(coded[2 * shift:-1]))

    def _add(self, name: str, pattern: bytes) -> None:
        self._patterns.append((name, re.compile(pattern)))


def files(site: Installation) -> Iterator[tuple[Path, bytes]]:
    """Give every file of the installation but its settings; the key file holds keys, and is scanned too."""
    for folder in (site.data_dir, site.root / "logs"):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()
