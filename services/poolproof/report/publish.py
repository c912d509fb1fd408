"""Judges a run's folder or a matrix's, saves what came of it there, and prints it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from poolproof.judge.saved import judge_and_save, write_whole
from poolproof.report import terminal
from poolproof.report.markdown import markdown, matrix_markdown
from poolproof.report.matrix import as_csv
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
    (folder / MARKDOWN_NAME).write_text(markdown(summary), encoding="utf-8")
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        console = Console(highlight=False)
        terminal.show(summary, console)
        console.print(f"\n{folder}", markup=False, soft_wrap=True)
    return exit_code(summary)


def exit_code(summary: dict[str, Any]) -> int:
    """Return what a run's summary means to whoever called us from a script."""
    return OK if summary["books"]["balanced"] and summary.get("valid", True) else FAILED_CHECK


def save_matrix(folder: Path, matrix: dict[str, Any]) -> None:
    """Save a matrix, also one that is not complete, as JSON, Markdown and CSV. Raises OSError."""
    write_whole(folder / MATRIX_JSON, json.dumps(matrix, indent=2) + "\n")
    write_whole(folder / MATRIX_MARKDOWN, matrix_markdown(matrix))
    write_whole(folder / MATRIX_CSV, as_csv(matrix))


def print_matrix(folder: Path, matrix: dict[str, Any], *, as_json: bool) -> int:
    """Print a matrix; return FAILED_CHECK if a cell of it is broken or missing."""
    if as_json:
        print(json.dumps(matrix, indent=2))
    else:
        console = Console(highlight=False)
        terminal.show_matrix(matrix, console)
        console.print(f"\n{folder}: {MATRIX_MARKDOWN}, {MATRIX_CSV}", markup=False, soft_wrap=True)
    bad = matrix["statuses"].keys() & {"broken", "missing"}
    return FAILED_CHECK if bad else OK
