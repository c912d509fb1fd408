"""The verb `report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from poolproof.cli import options
from poolproof.judge.faults.timeline import timelines
from poolproof.judge.run import consider
from poolproof.judge.summary import summary_of
from poolproof.matrix.folder import PLAN_NAME, matrix_of
from poolproof.report import timeline
from poolproof.report.markdown import markdown
from poolproof.report.matrix.markdown import matrix_markdown
from poolproof.report.publish import exit_code, matrix_exit_code, save, save_matrix
from poolproof.report.terminal import show, show_matrix
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolproof.judge.run import JudgedRun


def _terminal(summary: dict[str, Any], _case: JudgedRun) -> None:
    show(summary, Console(highlight=False))


def _markdown(summary: dict[str, Any], _case: JudgedRun) -> None:
    click.echo(markdown(summary), nl=False)


def _html(summary: dict[str, Any], case: JudgedRun) -> None:
    from poolproof.report.html import html  # noqa: PLC0415  it is slow to import

    around = timelines(case, summary["crashes"]) if summary["crashes"] else []
    click.echo(html(summary, around), nl=False)


def _json(summary: dict[str, Any], _case: JudgedRun) -> None:
    click.echo(json.dumps(summary, indent=2))


#: How a run is printed, from its summary and itself.
FORMATS: Final[Mapping[str, Callable[[dict[str, Any], JudgedRun], None]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "html": _html,
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
    "json": lambda matrix: click.echo(json.dumps(matrix, indent=2)),
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
@click.option("--save", "saving", is_flag=True, help="Write its files into its folder anew too.")
def command(run: str, form: str, folder: Path, *, timed: bool, saving: bool) -> int:
    """Judge a saved run again and print it.

    RUN is the run's folder, or its id, or as much of the id's beginning as no other run has; also
    of a matrix, and of a run in one.

    \b
      poolproof report 20261122-203015
      poolproof report runs/20261122-203015-1a2b3c4d --format markdown
      poolproof report 20261122-203015 --format html > report.html
      poolproof report 20261122-203015 --timeline
    """  # noqa: D301  click looks for a real backspace
    if path := find_matrix(run, folder):
        if timed:
            raise UsageError("A matrix has no timeline. Name one of its runs.")
        _refuse(form, _MATRICES, "A matrix")
        matrix = matrix_of(path, again=True)
        _MATRICES[form](matrix)
        if saving:
            save_matrix(path, matrix)
        return matrix_exit_code(matrix)
    found = find(run, folder)
    case = consider(found)
    summary = summary_of(case)
    if timed:
        _refuse(form, _TIMELINES, "A timeline")
        click.echo(_TIMELINES[form](timelines(case, summary["crashes"])), nl=False)
    else:
        FORMATS[form](summary, case)
    if saving:
        save(found, case, summary)
    return exit_code(summary)


def _refuse(form: str, known: Mapping[str, object], what: str) -> None:
    if form not in known:
        raise UsageError(f"{what} is not printed as {form}. Use one of: {', '.join(known)}.")


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
