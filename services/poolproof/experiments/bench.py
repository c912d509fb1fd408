"""Measures parts of poolproof itself: what `scripts/bench NAME` runs."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Final

import click

from poolproof_workers.errors import FAILED_CHECK, PoolproofError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Name of a bench -> what it measures. Its module is `bench_NAME` beside this one.
BENCHES: Final = {
    "enqueue": "spliced, pipelined messages against apply_async and a bare LPUSH",
    "recorder": "a worker with the recorder against a bare one and one with task events",
    "collector": "records from the stream to the disk and the ledger",
    "live": "the live page in a browser: frames, lag from an event to the screen, memory",
    "scale": "the ledger and the judge over ten million tasks",
    "verdict": "equal sides, a side slowed down by 5 %, and an onlooker's count",
}

#: Figure -> what it must be. A figure that misses is printed as such, and fails with --strict.
BOUNDS: Final = {
    "ratio_to_apply_async": ("at least", 50.0),
    "ratio_to_bare_lpush": ("at least", 0.7),
    "cpu_ratio_to_bare": ("at most", 1.02),
    "records_per_s": ("at least", 500_000.0),
    "bytes_per_task": ("at most", 128.0),
    "ten_million_s": ("at most", 10.0),
    "ten_million_peak_bytes": ("at most", 1e9),
    "growth_from_one_million": ("at most", 1.25),
    "summary_bytes": ("at most", 100_000.0),
    "equal_called_different_share": ("at most", 0.05),
    "planted_found_share": ("at least", 0.9),
    "outside_deviation": ("at most", 0.01),
    "frames_per_s": ("at least", 50.0),
    "lag_p99_s": ("at most", 0.25),
    "worker_lag_p99_s": ("at most", 0.25),
    "server_bytes_per_task": ("at most", 2.0),
    "stuck_growth_bytes": ("at most", 16e6),
    "stuck_ratio_to_watched": ("at least", 0.95),
}


@click.command(help="Measure one part: " + "; ".join(f"{n}: {w}" for n, w in BENCHES.items()) + ".")
@click.argument("name", type=click.Choice(list(BENCHES)))
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures and the raw rounds.")
@click.option("--strict", is_flag=True, help="Exit with 1 if a figure misses its bound.")
def command(*, name: str, rounds: int, as_json: bool, strict: bool) -> None:
    """Run the bench and print its figures."""
    try:
        result = importlib.import_module(f"poolproof.experiments.bench_{name}").measure(rounds)
    except PoolproofError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(json.dumps(result, indent=2) if as_json else as_text(result))
    if strict and missed(result["figures"]):
        sys.exit(FAILED_CHECK)


def missed(figures: Mapping[str, float]) -> list[str]:
    """Return the figures that miss their bounds."""
    return [name for name, value in figures.items() if name in BOUNDS and not _holds(name, value)]


def _holds(name: str, value: float) -> bool:
    word, bound = BOUNDS[name]
    return value >= bound if word == "at least" else value <= bound


def as_text(result: dict[str, object]) -> str:
    """Return the figures of a bench as lines, each with its bound if it has one."""
    figures = result["figures"]
    if not isinstance(figures, dict):
        raise TypeError("a bench returns its figures as a dict")
    width = max(map(len, figures))
    return "\n".join(f"{n:{width}}  {_figure(v):>12}{_bound(n, v)}" for n, v in figures.items())


def _figure(value: float) -> str:
    return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _bound(name: str, value: float) -> str:
    if name not in BOUNDS:
        return ""
    word, bound = BOUNDS[name]
    return f"  {'holds' if _holds(name, value) else 'MISSED'}: {word} {bound:,g}"


if __name__ == "__main__":
    command()
