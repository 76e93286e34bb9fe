"""Commands about ownership sources: what there is, and one question step by step."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from otp_service.cli.common import ConfigDir, fail, read_number, read_settings, run, show

sources_app = typer.Typer()


@sources_app.command()
def sources(config: ConfigDir = None) -> None:
    """List the ownership sources: what each adapter is, and those in use. Exit code 1 when one cannot start."""
    from rich.table import Table
    from rich.text import Text

    from otp_service.source_tools import installed, uses

    settings = read_settings(config)
    adapters = installed()
    table = Table("adapter", "assurance", "real", "may repeat", "SIM swaps")
    for adapter in adapters:
        told = (adapter.assurance or "by options", *map(_told, (adapter.real, adapter.repeatable, adapter.knows_swaps)))
        table.add_row(adapter.name, *(("-",) * len(told) if adapter.problem else told))
    show(table)
    print("\nWhere the contracts were read:")
    for adapter in adapters:
        print(f"  {adapter.name:10} {adapter.problem or adapter.contract or '-'}")
    print()
    used = Table("source", "adapter", "routes", "bounds", "state")
    rows, problems = uses(settings)
    for row in rows:
        used.add_row(row.name, row.adapter, "\n".join(row.routes), row.bounds, Text(row.state))
    show(used)
    for problem in problems:
        print(problem)
    if problems or any(row.problem for row in rows):
        raise typer.Exit(1)


@sources_app.command("ask-test")
def ask_test(
    phone: Annotated[str, typer.Argument(help="A mobile number in any form; '-' reads it from standard input.")],
    id_number: Annotated[str, typer.Argument(help="CCCD or CMND; '-' reads it from standard input, after the phone.")],
    *,
    name: Annotated[str, typer.Option(help="The person's name, for sources that compare it.")] = "",
    birth_date: Annotated[str, typer.Option(help="Their birth date: 1990-01-31 or 31/01/1990.")] = "",
    source: Annotated[str, typer.Option(help="The source to ask, in use or not; by default as for a citizen.")] = "",
    purpose: Annotated[str, typer.Option(help="For whom to ask; by default the first purpose that asks.")] = "",
    sim_swap_hours: Annotated[
        int | None, typer.Option(min=1, max=2400, help="Ask whether the SIM was changed within so many hours."),
    ] = None,
    config: ConfigDir = None,
) -> None:
    """
    Ask whose SIM it is, once, and print each step. A real source is asked for real, and may charge for it.

    Only with the person's consent. Exit code 1 when no source answered.
    """
    from secrets import choice
    from string import ascii_lowercase

    from otp_service.core.evidence import OwnershipOutcome, OwnershipQuestion
    from otp_service.source_tools import ask_test as ask

    question = OwnershipQuestion(
        read_number(phone), (_id_number(id_number),), full_name=name.strip() or None,
        birth_date=_birth_date(birth_date) if birth_date else None, purpose=purpose,
        # Letters alone: no run of digits that the log would take for somebody's number.
        reference="test-" + "".join(choice(ascii_lowercase) for _ in range(16)),
        sim_swap_max_age_h=sim_swap_hours,
    )
    evidence = run(ask(read_settings(config), question, _print_step, source=source))
    if evidence.outcome is OwnershipOutcome.ERROR:
        raise typer.Exit(1)


def _print_step(step: str, text: str) -> None:
    print(f"{step:9} {text}", flush=True)


def _id_number(text: str) -> str:
    """Read an ID number from the command line, or from standard input, where no shell remembers it."""
    from otp_service.core.citizen_id import MalformedIdNumber, parse_id_number

    if text == "-":
        text = sys.stdin.readline()
    try:
        return parse_id_number(text.strip()).number
    except MalformedIdNumber:
        fail("that is neither a CCCD (12 digits) nor a CMND (9 digits)")


def _birth_date(text: str) -> str:
    from otp_service.core.birth_dates import birth_date_key

    found = birth_date_key(text) or ""
    if len(found) != len("1990-01-31"):
        fail("that is not a birth date: write 1990-01-31 or 31/01/1990")
    return found


def _told(flag: bool | None) -> str:
    return "by options" if flag is None else "yes" if flag else "no"
