"""The verb `report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from poolproof.commands import options
from poolproof.experiments.matrix_folder import PLAN_NAME, matrix_of
from poolproof.judge.case import consider
from poolproof.judge.summary import summarise
from poolproof.judge.timeline import timelines
from poolproof.report import timeline
from poolproof.report.markdown import markdown, matrix_markdown
from poolproof.report.publish import exit_code, matrix_exit_code
from poolproof.report.terminal import show, show_matrix
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _terminal(summary: dict[str, Any]) -> None:
    show(summary, Console(highlight=False))


def _markdown(summary: dict[str, Any]) -> None:
    click.echo(markdown(summary), nl=False)


def _json(summary: dict[str, Any]) -> None:
    click.echo(json.dumps(summary, indent=2))


FORMATS: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "json": _json,
}

_TIMELINES: Final[Mapping[str, Callable[[list[dict[str, Any]]], str]]] = {
    "terminal": timeline.text,
    "markdown": timeline.markdown,
    "json": lambda found: json.dumps(found, indent=2) + "\n",
}

_MATRICES: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {
    "terminal": lambda matrix: show_matrix(matrix, Console(highlight=False)),
    "markdown": lambda matrix: click.echo(matrix_markdown(matrix), nl=False),
    "json": _json,
}


@click.command("report")
@click.argument("run")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="terminal",
    show_default=True,
    help="How it is printed.",
)
@options.saved_runs
@click.option("--timeline", "timed", is_flag=True, help="Only what each slot ran around a fault.")
def command(run: str, form: str, folder: Path, *, timed: bool) -> int:
    """Judge a saved run again and print it.

    RUN is the run's folder, or its id, or as much of the id's beginning as no other run has; also
    of a matrix, and of a run in one.

    \b
      poolproof report 20261122-203015
      poolproof report runs/20261122-203015-1a2b3c4d --format markdown
      poolproof report 20261122-203015 --timeline
    """  # noqa: D301  click looks for a real backspace
    if path := find_matrix(run, folder):
        matrix = matrix_of(path, again=True)
        _MATRICES[form](matrix)
        return matrix_exit_code(matrix)
    found = find(run, folder)
    summary = summarise(found)
    if timed:
        click.echo(_TIMELINES[form](timelines(consider(found), summary["crashes"])), nl=False)
    else:
        FORMATS[form](summary)
    return exit_code(summary)


def find_matrix(run: str, folder: Path) -> Path | None:
    """Return the folder of the matrix that `run` means; None if it does not mean one."""
    plans = [*Path(run).glob(PLAN_NAME)]
    plans += [path for path in folder.glob(f"*/{PLAN_NAME}") if path.parent.name.startswith(run)]
    return plans[0].parent if plans and len({path.parent for path in plans}) == 1 else None


def find(run: str, folder: Path) -> Path:
    """Return the folder of the run that `run` means. Raises UsageError if that is not one run."""
    if (Path(run) / "history.log").is_file():
        return Path(run)
    # Also those of a matrix, which lie in its folder.
    histories = [*folder.glob("*/history.log"), *folder.glob("*/*/history.log")]
    found = [path.parent for path in histories if path.parent.name.startswith(run)]
    if len(found) == 1:
        return found[0]
    many = "more than one run" if found else "no run"
    raise UsageError(f"There is {many} {run!r} in {folder}: `poolproof runs` lists them.")
