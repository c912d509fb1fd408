"""Measures parts of poolproof itself: what `scripts/bench NAME` runs."""

from __future__ import annotations

import importlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.bounds import bound_of, missed, written
from poolproof.infra.machine import commit
from poolproof_workers import __version__
from poolproof_workers.errors import FAILED_CHECK, PoolproofError
from poolproof_workers.supervisor import host

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


DOCS: Final = Path(__file__).parents[1] / "docs"
FOLDER: Final = "benches"
PAGE: Final = "benches.md"
_HEAD: Final = """\
# What poolproof itself does

Each table is one call of `scripts/bench NAME --rounds N --keep`, which writes this page anew from
all that is kept in [benches](benches), raw rounds included. What each figure is:
[method.md](method.md#checks), and the docstring of `measure` in `benchmarks/NAME.py`.
A ratio is taken within one run; all else depends on the machine.
"""
#: Name of a bench -> what it measures. Its module is `NAME` beside this one.
BENCHES: Final = {
    "enqueue": "spliced, pipelined messages against apply_async and a bare LPUSH",
    "recorder": "a worker with the recorder against a bare one and one with task events",
    "collector": "records from the stream to the disk and the ledger",
    "live": "the live page in a browser: frames, lag from an event to the screen, memory",
    "pace": "how steadily this machine computes, and what it helps that sides take turns",
    "scale": "the ledger and the judge over ten million tasks",
    "verdict": "equal sides, a side slowed down by 5 %, and an onlooker's count",
}


@click.command(help="Measure one part: " + "; ".join(f"{n}: {w}" for n, w in BENCHES.items()) + ".")
@click.argument("name", type=click.Choice(list(BENCHES)))
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures and the raw rounds.")
@click.option(
    "--keep", "kept", is_flag=True, help="Keep it in docs, and write the page of all kept."
)
@click.option("--strict", is_flag=True, help="Exit with 1 if a figure misses its bound.")
def command(*, name: str, rounds: int, as_json: bool, kept: bool, strict: bool) -> None:
    """Run the bench and print its figures."""
    on = {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": os.getloadavg()[0], **_on()}
    try:
        measured = importlib.import_module(f"benchmarks.{name}").measure(rounds)
    except PoolproofError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(error.exit_code)
    result = {**measured, "what": BENCHES[name], "asked": rounds, **on}
    if kept:
        keep(result, DOCS)
    click.echo(json.dumps(result, indent=2) if as_json else as_text(result))
    if strict and missed(result["figures"]):
        sys.exit(FAILED_CHECK)


def _on() -> dict[str, Any]:
    """Return on what it is measured."""
    of = {"poolproof": __version__, "commit": commit()}
    return {"machine": host.machine(), "versions": {**host.versions(), **of}}


def as_text(result: dict[str, object]) -> str:
    """Return the figures of a bench as lines, each with its bound if it has one."""
    figures = result["figures"]
    if not isinstance(figures, dict):
        raise TypeError("a bench returns its figures as a dict")
    width = max(map(len, figures))
    return "\n".join(f"{n:{width}}  {written(v):>12}{_bound(n, v)}" for n, v in figures.items())


def _bound(name: str, value: float) -> str:
    found = bound_of(name, value)
    return f"  {found[1]}: {found[0]}" if found else ""


def keep(result: Mapping[str, Any], docs: Path) -> None:
    """Keep what a bench measured in the folder `docs`, and write its page. Raises OSError."""
    folder = docs / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{result['bench']}.json").write_text(json.dumps(result) + "\n", "utf-8")
    (docs / PAGE).write_text(page(docs), "utf-8")


def page(docs: Path) -> str:
    """Return the page of all that is kept, as Markdown."""
    kept = [json.loads(path.read_bytes()) for path in sorted((docs / FOLDER).glob("*.json"))]
    return "\n".join([_HEAD, *(line for result in kept for line in _section(result))])


def _section(result: Mapping[str, Any]) -> Iterator[str]:
    machine, versions = result["machine"], result["versions"]
    yield f"## {result['bench']}\n"
    yield f"{result['what'].capitalize()}: {result['asked']} rounds.\n"
    yield f"- begun {result['begun']}, when the 1-minute load was {result['load']:.1f}"
    yield f"- {machine['cpu']} · {machine['usable_cores']} cores · {machine['system']}"
    yield f"- Celery {versions['celery']} · Python {versions['python']}"
    yield f"- poolproof {versions['poolproof']} (commit {versions['commit']})\n"
    yield "| figure | value | must be | |\n|---|--:|---|---|"
    for name, value in result["figures"].items():
        yield f"| `{name}` | {written(value)} | {' | '.join(bound_of(name, value) or ('', ''))} |"
    yield ""


if __name__ == "__main__":
    command()
