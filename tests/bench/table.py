"""The table: what was measured, against which budget, and whether it is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

_HEADINGS = ("what", "measured", "budget", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One line; ``met`` is None where there is no budget, or where nothing could be measured."""

    what: str
    measured: str
    budget: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The four cells as text."""
        return self.what, self.measured, self.budget, {True: "yes", False: "not met", None: ""}[self.met]


def show(rows: Sequence[Row], facts: Sequence[str], console: Console) -> None:
    """Print the table for people."""
    table = Table(*_HEADINGS, title="Benchmarks", show_lines=True, title_justify="left")
    for row in rows:
        table.add_row(*row.cells, style="red" if row.met is False else None)
    console.print(table)
    for fact in facts:
        console.print(fact, highlight=False)


def markdown(rows: Sequence[Row], facts: Sequence[str]) -> str:
    """Return the table as Markdown, the facts as a list under it."""
    lines = [_line(_HEADINGS), _line(["---"] * len(_HEADINGS)), *(_line(row.cells) for row in rows), ""]
    return "\n".join([*lines, *(f"* {fact}" for fact in facts), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), '<br>') for cell in cells)} |"


def number(value: float) -> str:
    """Write a number as people read it: three figures that mean something, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
