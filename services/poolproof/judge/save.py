"""Summaries on disk, beside the histories that they were made from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.run import consider
from poolproof.judge.summary import summary_of

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.judge.run import JudgedRun

SUMMARY_NAME: Final = "summary.json"


def judge_and_save(folder: Path) -> dict[str, Any]:
    """Judge the run in `folder`, save its summary and its tasks there, and return the summary.

    A reader finds the whole of a file or none. Raises what `summarise` raises, and OSError.
    """
    case = consider(folder)
    summary = summary_of(case)
    save(folder, case, summary)
    return summary


def save(folder: Path, case: JudgedRun, summary: dict[str, Any]) -> None:
    """Save the summary of a run, and the table of its tasks. Raises OSError or DiskError."""
    from poolproof.judge.table import TABLE_NAME, write_table  # noqa: PLC0415  polars takes 0.3 s

    write_whole(folder / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
    write_table(case, folder / TABLE_NAME)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds all of it or none, whenever we are stopped."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def summaries(folder: Path) -> list[dict[str, Any]]:
    """Return the saved summaries of the runs whose folders lie in `folder`."""
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"*/{SUMMARY_NAME}"))]
