"""Summaries on disk, beside the histories that they were made from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.summary import summarise

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY_NAME: Final = "summary.json"


def judge_and_save(folder: Path) -> dict[str, Any]:
    """Judge the run in `folder`, save its summary there and return it.

    A reader finds the whole summary or none. Raises what `summarise` raises, and OSError.
    """
    summary = summarise(folder)
    write_whole(folder / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
    return summary


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds all of it or none, whenever we are stopped."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def summaries(folder: Path) -> list[dict[str, Any]]:
    """Return the saved summaries of the runs whose folders lie in `folder`."""
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"*/{SUMMARY_NAME}"))]
