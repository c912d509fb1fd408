"""The report as Markdown, for an issue, a pull request or a wiki."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolproof.report import content
from poolproof.report import matrix as report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolproof.report.content import Summary, Table


def markdown(summary: Summary) -> str:
    """Return the report as Markdown with pipe tables, ending in a newline."""
    return "\n\n".join(_parts(summary)) + "\n"


def matrix_markdown(matrix: Summary) -> str:
    """Return the report of a matrix as Markdown, ending in a newline."""
    parts = [f"# {report.title(matrix)}", report.state(matrix)]
    for table in report.tables(matrix):
        parts += [f"## {table.title}", _escaped(table.note), _pipes(table)]
    parts += ["## The faults", *_bullets(_faults(matrix))]
    parts += ["## Ran on", *_bullets(content.facts(matrix))]
    return "\n\n".join(parts) + "\n"


def _faults(matrix: Summary) -> list[str]:
    return [f"`{name}`: {_escaped(what)}" for name, what in matrix["plan"]["what"].items()]


def _parts(summary: Summary) -> Iterable[str]:
    yield f"# poolproof run {summary['run']}"
    if caveat := content.caveat(summary):
        yield f"**{caveat}**"
    yield from _bullets(summary["sentences"])
    if summary["warnings"]:
        yield "## Warnings"
        yield from _bullets(content.warnings(summary))
    for table in content.tables(summary):
        yield f"## {table.title}"
        yield _escaped(table.note)
        yield _pipes(table)
    if facts := content.facts(summary):
        yield "## Ran on"
        yield from _bullets(facts)


def _bullets(lines: Sequence[str]) -> Iterable[str]:
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def _pipes(table: Table) -> str:
    marks = ["--:" if column.numbers else "---" for column in table.columns]
    lines = [[column.heading for column in table.columns], marks, *table.rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
