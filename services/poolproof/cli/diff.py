"""The verb `diff`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from poolproof.cli import options
from poolproof.cli.report import find
from poolproof.judge.comparable import notes, reasons
from poolproof.judge.diff import diff
from poolproof.judge.summary import summarise
from poolproof.judge.thresholds import Threshold
from poolproof.report.diff import markdown, show
from poolproof_workers.errors import FAILED_CHECK, OK, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN: Final = 4


@click.command("diff")
@click.argument("base")
@click.argument("new")
@click.option(
    "--fail-if",
    "thresholds",
    multiple=True,
    metavar="THRESHOLD",
    help='Exit with 1 if it fires, like "threads:4 throughput < -5%". May be given more than once.',
)
@click.option(
    "--under-test",
    "tested",
    multiple=True,
    metavar="NAME",
    help="What may differ because it is what is tested: celery, policy, ... May be repeated.",
)
@click.option("--anyway", is_flag=True, help="Compare what must not be compared.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print it as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, and nothing else.")
@options.saved_runs
def command(  # noqa: PLR0913  click passes each option by its name
    base: str,
    new: str,
    *,
    thresholds: tuple[str, ...],
    tested: tuple[str, ...],
    anyway: bool,
    as_markdown: bool,
    as_json: bool,
    folder: Path,
) -> int:
    """Say what changed between two runs, and whether it is more than noise.

    BASE and NEW are folders of runs, or ids, or as much of an id as no other run has. Sides are
    matched by their names. Exit codes: 0 nothing fired, 1 a threshold fired, 2 the runs must not be
    compared (or an option is wrong). A threshold fires only if the whole interval of the change
    lies beyond it: where the noise is larger than that, it says so and does not fire.

    \b
      poolproof diff 20261122-203015 20261123-101112
      poolproof diff BASE NEW --fail-if "threads:4 throughput < -5%"
      poolproof diff BASE NEW --fail-if "prefork:4 square memory > 10%" --markdown
      poolproof diff BASE NEW --under-test celery --under-test kombu
    """  # noqa: D301  click looks for a real backspace
    limits = [Threshold.parse(text) for text in thresholds]
    runs = [_summary(name, folder) for name in (base, new)]
    differences = [each for each in reasons(*runs) if each.subject not in tested]
    if differences and not anyway:
        raise UsageError(_refusal([each.what for each in differences]))
    found = diff(*runs) | {
        "differences": [each.to_json() for each in differences],
        "notes": notes(*runs),
    }
    found["thresholds"] = [each for limit in limits for each in limit.judge(found["changes"])]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif as_markdown:
        click.echo(markdown(found), nl=False)
    else:
        show(found, Console(highlight=False))
    fired = any(each["outcome"] == "fires" for each in found["thresholds"])
    return FAILED_CHECK if fired else OK


def _summary(name: str, folder: Path) -> dict[str, Any]:
    """Judge a run again: what an older version saved may lack what is compared here."""
    return summarise(find(name, folder))


def _refusal(differences: list[str]) -> str:
    rest = len(differences) - _SHOWN
    more = f" And {rest} more." if rest > 0 else ""
    return (
        f"These runs must not be compared. {' '.join(differences[:_SHOWN])}{more} "
        "Say what is tested (--under-test NAME), or compare them --anyway."
    )
