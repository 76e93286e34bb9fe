"""What a portal installs: the client with its types, in a package that lacks nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[3]
PACKAGES = ("otp_service", "sms_adapters")
PAGE = (ROOT / "docs" / "python-client.md").read_text("utf-8")


def test_the_wheel_lacks_nothing(tmp_path: Path) -> None:
    """Every file of both packages is in the wheel: code, markers of its types, scripts, templates, what pages load."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = {
        path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*")
        if path.is_file() and not _made_by_tools(path)
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= files
    assert set() == files - held


def _made_by_tools(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(ROOT).parts)


def test_the_pages_code_is_typed(tmp_path: Path) -> None:
    """A portal of the page's code passes ``mypy --strict`` with the package as it is installed."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "portal.py").write_text("".join(blocks), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "portal.py"], cwd=tmp_path,
        check=False, capture_output=True, text=True,
    )
    assert "Success: no issues found in 1 source file" == done.stdout.strip()


def test_what_the_client_needs() -> None:
    """The page names each library that the client imports, and no other."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "otp_service" / "client").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    needed = {name.split(".")[0] for name in names} - {"otp_service"} - sys.stdlib_module_names
    (sentence,) = re.findall(r"^Beside the standard library it needs (.*)\.$", PAGE, re.MULTILINE)
    assert needed == set(re.findall(r"`([a-z]+)`", sentence))
