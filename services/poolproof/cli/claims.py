"""The verb `claims`."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from poolproof.claims import claims
from poolproof.claims.lab import Lab
from poolproof.cli import options
from poolproof.cli.console import ConsoleListener
from poolproof.produce.plan import Run
from poolproof.report import claims as report
from poolproof.runner.local_environment import require_writable
from poolproof_workers.errors import FAILED_CHECK, OK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from poolproof.claims.claim import Claim
    from poolproof.claims.claims import Trial

JSON_NAME = "claims.json"
MARKDOWN_NAME = "claims.md"


@click.command("claims")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this claim, or these.")
@click.option("--list", "only_list", is_flag=True, help="List the claims, and try none.")
@click.option(
    "--loss-tasks",
    type=click.IntRange(min=60, max=100_000),
    default=120,
    show_default=True,
    help='Tasks of the scenario behind "Celery loses 8 %"; it was published with 500.',
)
@options.runs
@options.as_json
def command(
    *, ids: tuple[str, ...], only_list: bool, loss_tasks: int, out: Path, as_json: bool
) -> int:
    """Try what is said of pools, processes and threads, on this machine and the installed Celery.

    Each claim holds, does not hold, or is not shown (with the reason). Exits with 1 if one does not
    hold. What every run recorded is kept beside the results.

    \b
      poolproof claims --list
      poolproof claims --id one-slot --id whole-worker
      poolproof claims --id loses-8-percent --loss-tasks 500
    """  # noqa: D301  click looks for a real backspace
    chosen = claims.chosen(ids)
    if only_list:
        _show_list(claims.listing(chosen), as_json=as_json)
        return OK
    results = _try(chosen, out, loss_tasks)
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        console = Console(highlight=False)
        report.show(results, console)
        console.print(f"\n{out / results['run']}", markup=False, soft_wrap=True)
    return FAILED_CHECK if results["outcomes"]["does not hold"] else OK


def _try(chosen: Sequence[Claim], out: Path, loss_tasks: int) -> dict[str, Any]:
    """Try the claims; whatever ends it, what was found until then is saved."""
    name = f"claims-{Run.new().id}"
    folder = out / name
    require_writable(folder)
    tried: list[tuple[Claim, Trial]] = []
    with ConsoleListener() as watching:
        lab = Lab(folder, watching, loss_tasks)
        try:
            for claim, trial in claims.trials(chosen, lab):
                tried.append((claim, trial))
                watching.phase(f"{claim.id} on {trial.on}: {trial.finding.outcome}")
        except BaseException:
            with suppress(OSError):
                _save(folder, claims.results(name, tried))
            raise
    results = claims.results(name, tried)
    _save(folder, results)
    return results


def _save(folder: Path, results: dict[str, Any]) -> None:
    (folder / JSON_NAME).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (folder / MARKDOWN_NAME).write_text(report.markdown(results), encoding="utf-8")


def _show_list(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        report.show_list(rows, Console(highlight=False))
