"""The table of claims: what each says, what was seen, and whether it holds."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from poolproof.report.figures import count, seconds
from poolproof.report.machine import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    Results: TypeAlias = "Mapping[str, Any]"

_WIDTH: Final = 80
_STYLES: Final = {"holds": "green", "does not hold": "bold red", "not shown": "yellow"}
_HEADINGS: Final = (
    "claim",
    "says",
    "source",
    "on",
    "expected",
    "observed",
    "outcome",
    "s (at most)",
)


def show(results: Results, console: Console) -> None:
    """Print the results for a terminal. Without colour nothing is lost."""
    width = min(console.width, _WIDTH)
    for family, claims in _families(results["claims"]):
        console.print(Text(f"\n{family}", style="bold"))
        for claim in claims:
            console.print(
                _said(claim),
                Padding(_tried(claim), (0, 0, 0, 4), expand=False),
                width=width,
                sep="",
            )
    console.print(Text(f"\n{totals(results)}", style="bold"))
    for fact in facts(results):
        console.print(Text(fact, style="dim"), width=width)


def show_list(claims: Sequence[Results], console: Console) -> None:
    """Print claims that were not tried: what they say, where it comes from, how long they take."""
    for family, of in _families(claims):
        console.print(Text(f"\n{family}", style="bold"))
        for claim in of:
            console.print(_said(claim), width=min(console.width, _WIDTH))


def markdown(results: Results) -> str:
    """Return the results as Markdown with pipe tables, ending in a newline."""
    parts = [f"# Claims, tried in {results['run']}", f"**{totals(results)}**"]
    for family, claims in _families(results["claims"]):
        rows = [_marked(claim, trial) for claim in claims for trial in claim["trials"]]
        parts += [f"## {family}", "\n".join(_pipes([_HEADINGS, ["---"] * len(_HEADINGS), *rows]))]
    parts += ["## Ran on", "\n".join(f"- {fact}" for fact in facts(results))]
    return "\n\n".join(parts) + "\n"


def totals(results: Results) -> str:
    """Return how many trials had each outcome."""
    outcomes = results["outcomes"]
    tried = f"{count(len(results['claims']))} claims in {count(sum(outcomes.values()))} trials"
    return f"{tried}: " + ", ".join(f"{number} {word}" for word, number in outcomes.items())


def _families(claims: Sequence[Results]) -> Iterator[tuple[str, list[Results]]]:
    for family, of in groupby(claims, key=lambda claim: claim["family"]):
        yield family, list(of)


def _said(claim: Results) -> Padding:
    """Return what a claim says, and where it comes from."""
    text = Text(claim["id"], style="bold")
    text.append(f"\n{claim['claim']}", style="not bold")
    text.append(f"\nexpected: {claim['expected']}", style="not bold")
    where = f"{', '.join(claim['on'])}; at most {seconds(claim['at_most_s'])} each"
    text.append(f"\n{claim['source']}; on {where}", style="not bold dim")
    return Padding(text, (1, 0, 0, 2), expand=False)


def _tried(claim: Results) -> Grid:
    """Return a row a trial, as wide for every claim."""
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(width=len("does not hold"), no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(width=5, no_wrap=True, justify="right")
    grid.add_column()
    for trial in claim["trials"]:
        outcome = Text(trial["outcome"], style=_STYLES[trial["outcome"]])
        times = Text(f"{trial['seconds']:.0f} s", style="dim")
        grid.add_row(outcome, Text(trial["on"]), times, Text(_seen(trial)))
    return grid


def _seen(trial: Results) -> str:
    return "; ".join(part for part in (trial["why"], trial["observed"]) if part)


def _marked(claim: Results, trial: Results) -> tuple[str, ...]:
    outcome = f"**{trial['outcome']}**"
    times = f"{trial['seconds']:.0f} ({claim['at_most_s']:.0f})"
    words = (f"`{claim['id']}`", claim["claim"], claim["source"], trial["on"], claim["expected"])
    return *words, _seen(trial), outcome, times


def _pipes(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
