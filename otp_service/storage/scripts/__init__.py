"""The Lua scripts, one per transition; shared parts (``_name.lua``) are joined in by ``-- @use``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha1
from pathlib import Path

_USE = re.compile(r"^-- @use (.+)$", re.MULTILINE)
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Script:
    """A script ready to be called: its name (a metric label), its source and the digest the store knows it by."""

    name: str
    source: str = field(repr=False)
    sha: str


@cache
def load(name: str) -> Script:
    """Read ``<name>.lua`` with everything it uses joined in front."""
    own = (_HERE / f"{name}.lua").read_text(encoding="utf-8")
    used = match[1].split() if (match := _USE.search(own)) else []
    parts = [(_HERE / f"{part}.lua").read_text(encoding="utf-8") for part in used]
    source = "\n".join(_code_only(part) for part in (*parts, own))
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def _code_only(source: str) -> str:
    """Drop comment lines: they are for readers, and the store keeps every script in memory."""
    return "\n".join(line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("--"))


#: Every script there is.
NAMES = tuple(sorted(path.stem for path in _HERE.glob("[a-z]*.lua")))
