"""Plays seeds, several at a time, and prints a table of what came of each.

\b
scripts/chaos --seeds 1-100
scripts/chaos --seeds 17        one alone, step by step; its folder stays
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from .seeds import parse
from .sequence import Sequence
from .trial import play

_DEADLINE_S = 240.0


def _seeds(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter("write numbers and ranges, like 1-20,31.") from error


@click.command(help=__doc__)
@click.option(
    "--seeds",
    default="1-100",
    show_default=True,
    callback=_seeds,
    help="Numbers and ranges: 1-20,31.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Seeds that are played at a time.",
)
@click.option(
    "--out",
    default=Path("runs/chaos"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Gets a folder for each seed; that of a seed that passed is removed, unless --keep.",
)
@click.option("--keep", is_flag=True, help="Keep the folders of seeds that passed too.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--alone", type=int, hidden=True, help="Play this seed in this process.")
def main(
    seeds: list[int], jobs: int, out: Path, *, keep: bool, as_json: bool, alone: int | None
) -> None:
    if alone is not None:
        sys.exit(bool(play(alone, out).complaints))
    began = time.monotonic()
    click.echo("seed  result  took     pool       policy       acts | at the closing", err=as_json)
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda seed: _tell(_play_apart(seed, out), as_json), seeds))
    failed = [result for result in results if result["complaints"]]
    shown = failed if len(results) > 1 else results
    for result in shown:
        _show(result)
    for result in results:
        if not keep and result not in shown:
            shutil.rmtree(result["folder"], ignore_errors=True)
    if as_json:
        click.echo(json.dumps(results, indent=2))
    took_s = time.monotonic() - began
    click.echo(f"{len(results) - len(failed)} of {len(results)} passed in {took_s:.0f} s", err=True)
    if failed:
        again = ",".join(str(result["seed"]) for result in failed)
        click.echo(f"again: scripts/chaos --seeds {again}", err=True)
    sys.exit(bool(failed))


def _play_apart(seed: int, out: Path) -> dict[str, Any]:
    """Play a seed in a process of its own: only a main thread may start what dies with it."""
    words = [sys.executable, "-m", __package__, "--alone", str(seed), "--out", str(out)]
    folder = out.resolve() / f"seed-{seed}"
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=_DEADLINE_S
        )
        if done.returncode in {0, 1} and (folder / "result.json").is_file():
            result: dict[str, Any] = json.loads((folder / "result.json").read_text())
            return result
        said = f"it ended with {done.returncode}: {done.stderr[-2000:]}"
    except subprocess.TimeoutExpired:
        said = f"it did not end within {_DEADLINE_S:.0f} s"
    return {
        "seed": seed,
        "complaints": [said],
        "verdicts": {},
        "took_s": _DEADLINE_S,
        "folder": str(folder),
    }


def _tell(result: dict[str, Any], as_json: bool) -> dict[str, Any]:
    sequence = Sequence.of(result["seed"])
    acts = "; ".join("+".join(step.acts) for step in sequence.steps)
    closing = f" | {sequence.at_closing}" if sequence.at_closing else ""
    verdicts = ", ".join(f"{count} {word}" for word, count in sorted(result["verdicts"].items()))
    click.echo(
        f"{result['seed']:4}  {'FAILED' if result['complaints'] else 'passed'}"
        f"  {result['took_s']:5.1f} s  {sequence.pool:9}  {sequence.policy:11}"
        f"  {acts}{closing}  ({verdicts})",
        err=as_json,
    )
    return result


def _show(result: dict[str, Any]) -> None:
    journal = Path(result["folder"]) / "journal.txt"
    click.echo(f"\n== seed {result['seed']}: {result['folder']}", err=True)
    click.echo(journal.read_text() if journal.is_file() else "no journal", err=True)


main()
