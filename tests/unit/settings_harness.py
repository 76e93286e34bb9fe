"""Settings with changes, without this process's environment, and the problems that they give."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.settings import Settings, load_settings

SHIPPED = Path(__file__).parents[2] / "config"


def load(tree: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None) -> Settings:
    """Load the shipped settings with changes, without this process's environment."""
    return load_settings(SHIPPED, overrides=tree, environ=environ or {})


def problems(
    tree: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None, folder: Path = SHIPPED,
) -> list[str]:
    """Return the lines of problems that changed settings must give."""
    with pytest.raises(ConfigurationError) as refused:
        load_settings(folder, overrides=tree, environ=environ or {})
    # A chained ValidationError would print what was put in.
    assert refused.value.__context__ is None
    head, *lines = str(refused.value).splitlines()
    assert f"the settings in {folder} cannot be used:" == head
    return [line.removeprefix("  ") for line in lines]


def digest(key: str) -> str:
    """Return a key's digest as clients.toml has it."""
    return "sha256:" + sha256(key.encode()).hexdigest()


def portal(**changes: Any) -> dict[str, Any]:
    """Return a tree with one client, named portal."""
    return {"clients": {"portal": {"display_name": "Cổng", "purposes": ["registration"]} | changes}}


def key(name: str = "a", **changes: Any) -> dict[str, Any]:
    """Return one key of a client."""
    return {"digest": digest(name), "expires": datetime(2027, 1, 1, tzinfo=UTC)} | changes


def copied(folder: Path) -> Path:
    """Copy the shipped configuration into a folder; returns the copy."""
    copy = folder / "config"
    shutil.copytree(SHIPPED, copy)
    return copy
