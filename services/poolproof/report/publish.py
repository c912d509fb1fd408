"""Judges a run's folder, saves what came of it there, and prints it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from poolproof.judge.summary import summarise
from poolproof.report import terminal
from poolproof.report.markdown import markdown
from poolproof_workers.errors import FAILED_CHECK, OK

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY_NAME = "summary.json"
MARKDOWN_NAME = "report.md"


def publish(folder: Path, *, as_json: bool = False) -> int:
    """Judge the run in `folder`, save `summary.json` and `report.md` beside it, and print it.

    Returns the exit code: FAILED_CHECK if the books do not balance or a benchmark is invalid.
    Raises what `summarise` raises, and OSError if the folder cannot be written.
    """
    summary = summarise(folder)
    text = json.dumps(summary, indent=2)
    (folder / SUMMARY_NAME).write_text(text + "\n", encoding="utf-8")
    (folder / MARKDOWN_NAME).write_text(markdown(summary), encoding="utf-8")
    if as_json:
        print(text)
    else:
        console = Console(highlight=False)
        terminal.show(summary, console)
        console.print(f"\n{folder}", markup=False, soft_wrap=True)
    return exit_code(summary)


def exit_code(summary: dict[str, Any]) -> int:
    """Return what a run's summary means to whoever called us from a script."""
    return OK if summary["books"]["balanced"] and summary.get("valid", True) else FAILED_CHECK
