"""The verb `runs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from poolproof.commands import options
from poolproof.judge.saved import SUMMARY_NAME

if TYPE_CHECKING:
    from pathlib import Path


@click.command("runs")
@options.saved_runs
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, and nothing else.")
def command(folder: Path, *, as_json: bool) -> None:
    """List the saved runs, the newest first.

    \b
      poolproof runs
      poolproof runs --json
    """  # noqa: D301  click looks for a real backspace
    runs = saved(folder)
    if as_json:
        click.echo(json.dumps(runs, indent=2))
    elif runs:
        Console(highlight=False).print(_table(runs))
    else:
        click.echo(f"There are no runs in {folder}.", err=True)


def saved(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of each run in the folder without judging it, the newest first."""
    return [_row(history.parent) for history in sorted(folder.glob("*/history.log"), reverse=True)]


def _row(run: Path) -> dict[str, Any]:
    path = run / SUMMARY_NAME
    # A run that was interrupted has only its history.
    summary: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    books = summary.get("books", {})
    return {
        "run": run.name,
        "folder": str(run),
        "judged": bool(summary),
        "plan": summary.get("plan", {}).get("name"),
        "pools": list(summary.get("pools", {})),
        "enqueued": books.get("enqueued"),
        "balanced": books.get("balanced"),
        "valid": summary.get("valid"),
    }


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "plan", "pools"):
        table.add_column(heading)
    table.add_column("tasks", justify="right")
    table.add_column("result")
    for run in runs:
        tasks = "" if run["enqueued"] is None else f"{run['enqueued']:,}"
        table.add_row(run["run"], run["plan"] or "", ", ".join(run["pools"]), tasks, _state(run))
    return table


def _state(run: dict[str, Any]) -> str:
    if not run["judged"]:
        return "not judged yet"
    if not run["balanced"]:
        return "BOOKS DO NOT BALANCE"
    return "valid" if run["valid"] else "no benchmark"
