"""The verb `report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from poolproof.judge.summary import summarise
from poolproof.report.markdown import markdown
from poolproof.report.publish import exit_code
from poolproof.report.terminal import show
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
@click.option(
    "--runs",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    envvar="POOLPROOF_RUNS",
    help="Folder of the saved runs.",
)
def command(run: str, form: str, folder: Path) -> int:
    """Judge a saved run again and print it.

    RUN is the run's folder, or its id, or as much of the id's beginning as no other run has.

    \b
      poolproof report 20261122-203015
      poolproof report runs/20261122-203015-1a2b3c4d --format markdown
    """  # noqa: D301  click looks for a real backspace
    summary = summarise(find(run, folder))
    FORMATS[form](summary)
    return exit_code(summary)


def find(run: str, folder: Path) -> Path:
    """Return the folder of the run that `run` means. Raises UsageError if that is not one run."""
    if (Path(run) / "history.log").is_file():
        return Path(run)
    histories = folder.glob("*/history.log")
    found = [path.parent for path in histories if path.parent.name.startswith(run)]
    if len(found) == 1:
        return found[0]
    many = "more than one run" if found else "no run"
    raise UsageError(f"There is {many} {run!r} in {folder}: `poolproof runs` lists them.")
