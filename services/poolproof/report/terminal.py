"""The report for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from poolproof.report import content, machine
from poolproof.report.details import called, measuring, provenance
from poolproof.report.matrix import terminal as report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from poolproof.report.tables import Summary, Table

#: Wider than this, a line is hard to follow.
_WIDTH: Final = 80
#: A matrix has a column a pool, each with a few words.
_MATRIX_WIDTH: Final = 120


def show(summary: Summary, console: Console) -> None:
    """Print the report. Colour is up to the console; without it nothing is lost."""
    for part in _parts(summary):
        console.print(part, width=min(console.width, _WIDTH))


def show_matrix(matrix: Summary, console: Console) -> None:
    """Print a matrix: what fits a terminal; the rest is in its files."""
    width = min(console.width, _MATRIX_WIDTH)
    facts = [Text(fact, style="dim") for fact in (*machine.facts(matrix), report.state(matrix))]
    console.print(_titled(report.title(matrix), *facts), width=width)
    for table in report.tables(matrix, short=True):
        note = Text(table.note, style="dim")
        console.print(_titled(table.title, note, _grid(table, wrap=True)), width=width)


def _parts(summary: Summary) -> Iterable[Group]:
    lines = (*machine.facts(summary), *provenance(summary), *called(summary), measuring(summary))
    facts = [Text(line, style="dim") for line in lines if line]
    if caveat := content.caveat(summary):
        facts.append(Text(caveat, style="bold red"))
    yield _titled(f"poolproof run {summary['run']}", *facts)
    for table in content.tables(summary, short=True):
        yield _titled(table.title, Text(table.note, style="dim"), _grid(table))
    if summary["warnings"]:
        yield _titled("Warnings", _list(content.warnings(summary), style="yellow"))
    if summary["sentences"]:
        yield _titled("In short", _list(summary["sentences"]))


def _titled(title: str, *parts: Text | Grid | Padding) -> Group:
    return Group(Text(f"\n{title}", style="bold"), *parts)


def _grid(table: Table, *, wrap: bool = False) -> Padding:
    headed = any(column.heading for column in table.columns)
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=headed)
    last = len(table.columns) - 1
    for index, column in enumerate(table.columns):
        grid.add_column(
            Text(column.heading, style="dim"),
            justify="right" if column.numbers else "left",
            style="" if index else "bold",
            # Words may take several lines; a figure that is cut off says nothing, or another one.
            no_wrap=column.numbers and not wrap,
            overflow="ellipsis" if index == last else "fold",
        )
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return Padding(grid, (0, 0, 0, 2), expand=False)


def _list(lines: Sequence[str], style: str = "") -> Text:
    wrap = textwrap.TextWrapper(_WIDTH, "  • ", "    ", break_on_hyphens=False)
    return Text("\n".join(map(wrap.fill, lines)), style=style)


def show_tables(
    title: str, lines: Sequence[str], tables: Iterable[Table], console: Console
) -> None:
    """Print tables under a title and some lines."""
    width = min(console.width, _MATRIX_WIDTH)
    console.print(_titled(title, *(Text(line) for line in lines)), width=width)
    for table in tables:
        note = Text(table.note, style="dim")
        console.print(_titled(table.title, note, _grid(table, wrap=True)), width=width)
