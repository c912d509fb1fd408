"""Judges a run's folder or a matrix's, saves what came of it there, and prints it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from poolproof.judge.case import consider
from poolproof.judge.saved import judge_and_save, write_whole
from poolproof.judge.timeline import timelines
from poolproof.report import terminal, timeline
from poolproof.report.markdown import markdown, matrix_markdown
from poolproof.report.matrix_csv import as_csv
from poolproof_workers.errors import FAILED_CHECK, OK

if TYPE_CHECKING:
    from pathlib import Path

MARKDOWN_NAME: Final = "report.md"
MATRIX_JSON: Final = "matrix.json"
MATRIX_MARKDOWN: Final = "matrix.md"
MATRIX_CSV: Final = "matrix.csv"


def publish(folder: Path, *, as_json: bool = False) -> int:
    """Judge the run in `folder`, save `summary.json` and `report.md` beside it, and print it.

    Returns the exit code: FAILED_CHECK if the books do not balance or a benchmark is invalid.
    Raises what `summarise` raises, and OSError if the folder cannot be written.
    """
    summary = judge_and_save(folder)
    (folder / MARKDOWN_NAME).write_text(markdown(summary) + _timelines(summary, folder), "utf-8")
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        console = Console(highlight=False)
        terminal.show(summary, console)
        console.print(f"\n{folder}", markup=False, soft_wrap=True)
    return exit_code(summary)


def _timelines(summary: dict[str, Any], folder: Path) -> str:
    # Not of a comparison: it would be read once more, and the crash is its smallest part.
    if (summary["plan"] or {}).get("name") != "crash" or not summary["crashes"]:
        return ""
    found = timelines(consider(folder), summary["crashes"])
    return f"\n## What each slot ran around the fault\n\n{timeline.markdown(found)}"


def exit_code(summary: dict[str, Any]) -> int:
    """Return what a run's summary means to whoever called us from a script."""
    return OK if summary["books"]["balanced"] and summary.get("valid", True) else FAILED_CHECK


def save_matrix(folder: Path, matrix: dict[str, Any]) -> None:
    """Save a matrix, also one that is not complete, as JSON, Markdown and CSV. Raises OSError."""
    write_whole(folder / MATRIX_JSON, json.dumps(matrix, indent=2) + "\n")
    write_whole(folder / MATRIX_MARKDOWN, matrix_markdown(matrix))
    write_whole(folder / MATRIX_CSV, as_csv(matrix))


def print_matrix(folder: Path, matrix: dict[str, Any], *, as_json: bool) -> int:
    """Print a matrix; return its exit code."""
    if as_json:
        print(json.dumps(matrix, indent=2))
    else:
        console = Console(highlight=False)
        terminal.show_matrix(matrix, console)
        console.print(f"\n{folder}: {MATRIX_MARKDOWN}, {MATRIX_CSV}", markup=False, soft_wrap=True)
    return matrix_exit_code(matrix)


def matrix_exit_code(matrix: dict[str, Any]) -> int:
    """Return FAILED_CHECK if a cell is broken or missing."""
    bad = matrix["statuses"].keys() & {"broken", "missing"}
    return FAILED_CHECK if bad else OK
