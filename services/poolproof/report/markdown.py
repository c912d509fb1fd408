"""The report as Markdown, for an issue, a pull request or a wiki."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolproof.report import content, machine
from poolproof.report.details import build, called, details, provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolproof.report.tables import Summary, Table


def markdown(summary: Summary) -> str:
    """Return the report as Markdown with pipe tables, ending in a newline."""
    return "\n\n".join(_parts(summary)) + "\n"


def _parts(summary: Summary) -> Iterable[str]:
    yield f"# poolproof run {summary['run']}"
    if caveat := content.caveat(summary):
        yield f"**{caveat}**"
    yield from bullets(summary["sentences"])
    if summary["warnings"]:
        yield "## Warnings"
        yield from bullets(content.warnings(summary))
    for table in content.tables(summary):
        yield f"## {table.title}"
        yield escaped(table.note)
        yield pipes(table)
    for table in details(summary):
        yield from folded(table)
    facts = (*machine.facts(summary), *build(summary), *provenance(summary))
    if lines := [*facts, *(f"`{line}`" for line in called(summary))]:
        yield "## Ran on"
        yield from bullets(lines)


def folded(table: Table) -> Iterable[str]:
    """Yield a table that is only seen by whoever asks for it."""
    yield f"<details><summary>{table.title}</summary>"
    yield from (escaped(table.note), pipes(table), "</details>")


def bullets(lines: Sequence[str]) -> Iterable[str]:
    """Yield the lines as one list; nothing if there are none."""
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def pipes(table: Table) -> str:
    """Return a table."""
    marks = ["--:" if column.numbers else "---" for column in table.columns]
    lines = [[column.heading for column in table.columns], marks, *table.rows]
    return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)


def escaped(text: str) -> str:
    """Return text that ends no column of a table."""
    return text.replace("|", "\\|")
