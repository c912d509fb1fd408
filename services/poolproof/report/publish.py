"""Judges a run's folder or a matrix's, saves what came of it there, and prints it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from poolproof.judge import save as saved
from poolproof.judge.faults.timeline import timelines
from poolproof.judge.run import consider
from poolproof.judge.save import write_whole
from poolproof.judge.summary import summary_of
from poolproof.report import terminal, timeline
from poolproof.report.markdown import markdown
from poolproof.report.matrix.csv import as_csv
from poolproof.report.matrix.markdown import matrix_markdown
from poolproof_workers.errors import FAILED_CHECK, OK, DiskError

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.judge.run import JudgedRun

MARKDOWN_NAME: Final = "report.md"
HTML_NAME: Final = "report.html"
MATRIX_JSON: Final = "matrix.json"
MATRIX_MARKDOWN: Final = "matrix.md"
MATRIX_CSV: Final = "matrix.csv"


def publish(folder: Path, *, as_json: bool = False, printed: bool = True) -> int:
    """Judge the run in `folder`, save what came of it there, and print it, or only its folder.

    Returns the exit code: FAILED_CHECK if the books do not balance or a benchmark is invalid.
    Raises what `consider` raises; DiskError if the folder cannot be written, but only when the
    report is printed: a full disk must not cost the result of a run.
    """
    case = consider(folder)
    summary = summary_of(case)
    trouble = ""
    try:
        save(folder, case, summary)
    except (OSError, DiskError) as error:
        trouble = str(error).rstrip(".")
    if as_json:
        print(json.dumps(summary, indent=2))
    elif not printed:
        print(folder, flush=True)
    else:
        console = Console(highlight=False)
        terminal.show(summary, console)
        page = "" if trouble else f"\nAs a page: {folder / HTML_NAME}"
        console.print(f"\n{folder}{page}", markup=False, soft_wrap=True)
    if trouble:
        raise DiskError(
            f"The result was not saved. {trouble}. The history is whole: make room, then "
            f"`poolproof report {folder} --save`."
        )
    return exit_code(summary)


def save(folder: Path, case: JudgedRun, summary: dict[str, Any]) -> None:
    """Save the summary, the reports and the table of a run's tasks. Raises OSError, DiskError."""
    # Bokeh takes a second to import: only now that all is measured.
    from poolproof.report.html import html  # noqa: PLC0415

    saved.save(folder, case, summary)
    around = timelines(case, summary["crashes"]) if summary["crashes"] else []
    write_whole(folder / MARKDOWN_NAME, markdown(summary) + _timelines(summary, around))
    write_whole(folder / HTML_NAME, html(summary, around))


def _timelines(summary: dict[str, Any], around: list[dict[str, Any]]) -> str:
    # Not of a comparison: there the crash is the smallest part.
    if (summary["plan"] or {}).get("name") != "crash" or not around:
        return ""
    return f"\n## What each slot ran around the fault\n\n{timeline.markdown(around)}"


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
