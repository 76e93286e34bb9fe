"""Commands about tables of subscribers: make one, look at it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otp_service.cli.common import ConfigDir, fail, read_settings
from otp_service.core.errors import ConfigurationError

if TYPE_CHECKING:
    from otp_service.settings import Settings

subscribers_app = typer.Typer(
    name="subscribers", no_args_is_help=True, help="Tables of subscribers, which the ownership source tttb asks.",
)

TablePath = Annotated[
    Path | None, typer.Option("--table", help="The table; by default subscribers.table in store.data_dir."),
]


@subscribers_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8, or the first sheet of an Excel workbook (.xlsx).")],
    *,
    table: TablePath = None,
    check: Annotated[bool, typer.Option("--check", help="Check every row, but write no table.")] = False,
    config: ConfigDir = None,
) -> None:
    """
    Replace a table of subscribers by the rows of a file: all of them, or none.

    The first row names the columns, in any order: phone_number, id_number, full_name, birth_date, status, carrier.
    Each bad row is told with its line and the reason on standard error; then nothing changes, and the exit code is 1.
    Only keyed digests are kept. A service that uses the table follows within seconds.
    """
    from otp_service.cli.import_progress import watcher_on_stderr
    from otp_service.ownership.subscribers.importing import check_subscribers, import_subscribers

    target, before = None, None
    try:
        if not check:
            settings = read_settings(config)
            target, key = table or _default(settings), _key(settings)
            before = _rows(target, key)
        with watcher_on_stderr() as watcher:
            if target is None:
                tally = check_subscribers(file, watcher)
            else:
                tally = import_subscribers(file, target, key, now_s=time.time(), watcher=watcher)
    except ConfigurationError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("otp-service: stopped; nothing has changed", file=sys.stderr)
        raise typer.Exit(130) from None
    if tally.bad_rows:
        print(f"otp-service: {file}: bad rows: {tally.bad_rows} of {tally.rows}; nothing has changed", file=sys.stderr)
        raise typer.Exit(1)
    if target is None:
        print(f"{file}: {tally.rows} rows, all of them good")
    else:
        instead = "" if before is None else f", instead of {before}"
        print(f"{target}: {tally.rows} rows{instead}, {_size(target)}")


@subscribers_app.command("show")
def show(table: TablePath = None, config: ConfigDir = None) -> None:
    """Show how many rows a table has, when it was imported and its size; it holds no data that could be shown."""
    from datetime import UTC, datetime

    from otp_service.ownership.subscribers.table import open_table

    settings = read_settings(config)
    path = table or _default(settings)
    if not settings.key_path.exists():
        fail(f"{settings.key_path} does not exist: the first import or start makes it")
    try:
        found = open_table(path, _key(settings))
    except ConfigurationError as error:
        fail(str(error))
    print(f"table     {path}")
    print(f"rows      {len(found)}")
    print(f"imported  {datetime.fromtimestamp(found.made_at, UTC):%Y-%m-%dT%H:%M:%SZ}")
    print(f"size      {_size(path)}")


def _rows(target: Path, key: bytes) -> int | None:
    """Return how many rows the table in force has; None where there is none that can be read."""
    from otp_service.ownership.subscribers.table import open_table

    try:
        return len(open_table(target, key))
    except ConfigurationError:  # the import itself says what is wrong with it, where that matters
        return None


def _default(settings: Settings) -> Path:
    return settings.store.data_dir / "subscribers.table"


def _key(settings: Settings) -> bytes:
    """Return the key of the digests; makes the key file where there is none."""
    from otp_service.key_file import KeyFile

    keys = KeyFile(settings.key_path)
    keys.load_or_create()
    return keys.ring(time.time()).table_key()


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1_000_000:.1f} MB"
