"""The run that the README shows: python -m tests.example keep RUN, and show."""

from __future__ import annotations

import re
import sys
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console

from poolproof.history.file import FILE_NAME
from poolproof.judge.run import consider
from poolproof.judge.save import write_whole
from poolproof.judge.summary import summary_of
from poolproof.report.markdown import markdown
from poolproof.report.terminal import show
from tests.anonymous import copy_history

ROOT: Final = Path(__file__).parents[1]
RUN: Final = ROOT / "docs" / "example-run"
README: Final = ROOT / "README.md"
_WIDTH: Final = 84
_BLOCK: Final = re.compile(r"(?<=\n\n)    poolproof run .*?\n(?=\n\S)", re.DOTALL)


def report() -> str:
    """Return the terminal report of the kept run, as the README has it."""
    out = StringIO()
    show(summary_of(consider(RUN)), Console(file=out, width=_WIDTH, highlight=False))
    lines = (f"    {line}".rstrip() for line in out.getvalue().strip().splitlines())
    return "\n".join(lines) + "\n"


def shown() -> str:
    """Return what the README shows. Raises ValueError if there is no such block."""
    found = _BLOCK.search(README.read_text("utf-8"))
    if found is None:
        raise ValueError("README.md has no block that begins with 'poolproof run'.")
    return found[0]


def keep(run: Path) -> None:
    """Keep a run's history in place of the last one. Where the project lies is left out of it."""
    RUN.mkdir(exist_ok=True)
    copy_history(run / FILE_NAME, RUN / FILE_NAME)


def show_it() -> None:
    """Write the report into the README, and beside the kept history."""
    text = README.read_text("utf-8")
    README.write_text(text.replace(shown(), report()), "utf-8")
    write_whole(RUN / "report.md", markdown(summary_of(consider(RUN))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keep", run]:
            keep(Path(run))
        case ["show"]:
            show_it()
        case _:
            sys.exit(__doc__)
