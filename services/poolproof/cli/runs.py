"""The verb `runs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from poolproof.cli import options
from poolproof.judge.save import SUMMARY_NAME
from poolproof.matrix.folder import MATRIX_PREFIX, PLAN_NAME
from poolproof.report.publish import MATRIX_JSON

if TYPE_CHECKING:
    from pathlib import Path


@click.command("runs")
@options.saved_runs
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, and nothing else.")
def command(folder: Path, *, as_json: bool) -> None:
    """List the saved runs and matrices, the newest first.

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
    """Return what is known of each run and matrix in the folder without judging it, newest first.

    The runs of a matrix lie in its folder, and are not listed one by one.
    """
    runs = [(path.parent.name, _row(path.parent)) for path in folder.glob("*/history.log")]
    matrices = [
        (path.parent.name.removeprefix(MATRIX_PREFIX), _matrix_row(path.parent))
        for path in folder.glob(f"{MATRIX_PREFIX}*/{PLAN_NAME}")
    ]
    return [row for _, row in sorted(runs + matrices, key=lambda pair: pair[0], reverse=True)]


def _row(run: Path) -> dict[str, Any]:
    # A run that was interrupted has only its history.
    summary = _read(run / SUMMARY_NAME)
    books = summary.get("books", {})
    return {
        "run": run.name,
        "folder": str(run),
        "judged": bool(summary),
        "plan": (summary.get("plan") or {}).get("name"),
        "pools": list(summary.get("pools", {})),
        "enqueued": books.get("enqueued"),
        "balanced": books.get("balanced"),
        "valid": summary.get("valid"),
        "crashes": None,
    }


def _matrix_row(folder: Path) -> dict[str, Any]:
    """Return a matrix's row: as it was when it was last played; without it what was planned."""
    matrix, plan = _read(folder / MATRIX_JSON), _read(folder / PLAN_NAME)
    statuses = matrix.get("statuses", {})
    return {
        "run": folder.name,
        "folder": str(folder),
        "judged": bool(matrix),
        "plan": "matrix",
        "pools": list(plan["pools"]),
        "enqueued": sum(cell.get("enqueued", 0) for cell in matrix["cells"]) if matrix else None,
        "balanced": not statuses.get("broken") if matrix else None,
        "valid": matrix["complete"] and not statuses.get("broken") if matrix else None,
        "crashes": matrix.get("crashes"),
    }


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("plan", no_wrap=True)
    table.add_column("pools")
    table.add_column("tasks", justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for run in runs:
        tasks = "" if run["enqueued"] is None else f"{run['enqueued']:,}"
        table.add_row(run["run"], run["plan"] or "", ", ".join(run["pools"]), tasks, _state(run))
    return table


def _state(run: dict[str, Any]) -> str:
    if crashes := run["crashes"]:
        broken = "" if run["balanced"] else ", BROKEN CELLS"
        return f"{crashes['done']} of {crashes['planned']} crashes{broken}"
    if not run["judged"]:
        return "not judged yet"
    if not run["balanced"]:
        return "BOOKS DO NOT BALANCE"
    return "valid" if run["valid"] else "no benchmark"
