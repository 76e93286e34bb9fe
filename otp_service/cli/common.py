"""What the commands share: settings, running, printing, failing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from otp_service.core.errors import ConfigurationError, PhoneNotMobile, StoreUnavailable

if TYPE_CHECKING:
    from otp_service.settings import Settings

Found = TypeVar("Found")

ConfigDir = Annotated[
    Path | None, typer.Option("--config", envvar="OTP_CONFIG_DIR", help="Folder with default.toml and clients.toml."),
]


def read_settings(config: Path | None) -> Settings:
    """Read the settings and set logging up by them; what is wrong ends the command."""
    from otp_service.settings import load_settings
    from otp_service.telemetry.logs import configure

    try:
        data_dir = os.environ.get("DATA_DIR")
        settings = load_settings(config, overrides={"store": {"data_dir": data_dir}} if data_dir else None)
    except ConfigurationError as error:
        fail(str(error))
    json_lines = settings.logging.json_lines
    configure(json=not sys.stderr.isatty() if json_lines == "auto" else json_lines, level=settings.logging.level)
    return settings


def run(work: Coroutine[Any, Any, Found]) -> Found:
    """Run what a command does; what it cannot do ends it with a sentence."""
    try:
        return asyncio.run(work)
    except (ConfigurationError, StoreUnavailable) as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def show(table: Any) -> None:
    """Print a table, as wide as the terminal; elsewhere as ``COLUMNS`` says, or as a page."""
    from rich.console import Console

    columns = os.environ.get("COLUMNS", "")
    page = int(columns) if columns.isdecimal() and int(columns) else 160
    Console(width=None if sys.stdout.isatty() else page).print(table)


def fail(message: str) -> NoReturn:
    """End the command with a sentence and exit code 2."""
    print(f"otp-service: {message}", file=sys.stderr)
    raise typer.Exit(2)


def read_number(text: str) -> str:
    """Read a phone number from the command line or standard input."""
    from otp_service.core.phone import parse_mobile

    if text == "-":
        text = sys.stdin.readline()
    try:
        return parse_mobile(text.strip()).e164
    except PhoneNotMobile as error:
        hint = f"; is it {error.members['suggestion']} now?" if error.members else ""
        fail(f"that is not a Vietnamese mobile number{hint}")
