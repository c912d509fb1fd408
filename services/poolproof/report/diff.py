"""The report on what changed between two runs, for a terminal and as Markdown."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.outcome import NOISY, in_words
from poolproof.report.figures import NOTHING, rate, seconds, size
from poolproof.report.markdown import bullets, escaped, pipes
from poolproof.report.tables import Column, Table
from poolproof.report.terminal import show_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console

    Diff = Mapping[str, Any]

#: Measure -> how its values are written; all others are times.
_WRITTEN: Final[Mapping[str, Callable[[float], str]]] = {"throughput": rate, "memory": size}
_OUTCOMES: Final = {"fires": "FIRES", "holds": "holds", "not shown": "not shown"}


def title(diff: Diff) -> str:
    """Return what the report is called."""
    return f"{diff['new']} against {diff['base']}"


def show(diff: Diff, console: Console) -> None:
    """Print the report."""
    show_tables(title(diff), list(_lines(diff)), list(_tables(diff)), console)


def markdown(diff: Diff) -> str:
    """Return the report as Markdown, ending in a newline."""
    parts = [f"# {title(diff)}", *bullets([escaped(line) for line in _lines(diff)])]
    for table in _tables(diff):
        parts += [f"## {table.title}", escaped(table.note), pipes(table)]
    return "\n\n".join(parts) + "\n"


def _lines(diff: Diff) -> Iterator[str]:
    for each in diff["differences"]:
        yield f"Compared anyway: {each['what']}"
    yield from diff["notes"]
    for word in ("base", "new"):
        if sides := diff[f"only_{word}"]:
            yield f"Only in the {word} run: {', '.join(sides)}."
    if diff["thresholds"]:
        fired = sum(each["outcome"] == "fires" for each in diff["thresholds"])
        yield f"{fired} of {len(diff['thresholds'])} thresholds fired."


def _tables(diff: Diff) -> Iterator[Table]:
    if diff["thresholds"]:
        yield Table(
            "Thresholds",
            "One fires only if the whole interval of the change lies beyond it.",
            (Column(), Column("of"), Column("change", numbers=True), Column()),
            tuple(_threshold(each) for each in diff["thresholds"]),
        )
    headings = ("base", "new", "change", "between")
    groups = groupby(diff["changes"], key=lambda each: (each["side"], each["workload"]))
    for (side, workload), changes in groups:
        yield Table(
            f"{side}, {workload}",
            f"Medians of rounds, and the change's {diff['confidence'] * 100:.0f} % interval.",
            (Column(), *(Column(heading, numbers=True) for heading in headings), Column()),
            tuple(_change(each) for each in changes),
        )


def _threshold(each: Diff) -> tuple[str, ...]:
    return each["threshold"], each["workload"], _percent(each["ratio"]), _outcome(each)


def _outcome(each: Diff) -> str:
    said = f"{_OUTCOMES[each['outcome']]}, {_interval(each)}"
    if each["outcome"] != "not shown":
        return said
    if each["would_fire_at"] is None:
        return f"not shown: {each['why']}"
    return f"{said}: {_percent(each['would_fire_at'])} would have fired"


def _change(each: Diff) -> tuple[str, ...]:
    write = _WRITTEN.get(each["measure"], seconds)
    return (
        each["measure"],
        write(each["base"]),
        write(each["new"]),
        _percent(each["ratio"]),
        _interval(each),
        _verdict(each),
    )


def _verdict(each: Diff) -> str:
    if each["ratio"] is None:
        return f"not shown: {each['why']}"
    would = f" ({_share(each['smallest_detectable'] - 1)} would show)"
    return in_words(each) + (would if each["outcome"] == NOISY else "")


def _interval(each: Diff) -> str:
    if each["ratio"] is None:
        return NOTHING
    return f"{_percent(each['low'])} to {_percent(each['high'])}"


def _percent(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{(ratio - 1) * 100:+.1f} %"


def _share(share: float) -> str:
    return f"{share * 100:.1f} %"
