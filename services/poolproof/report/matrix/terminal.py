"""What the report of a matrix says: tables of words, for every format to lay out."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.report.crash_tables import ACKNOWLEDGED
from poolproof.report.figures import NOTHING, seconds
from poolproof.report.matrix.cell import verdict
from poolproof.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Json: TypeAlias = "Mapping[str, Any]"

_TIMES: Final = ("detect", "slot_back", "redelivered", "throughput_back")
_SHARES: Final = ("interrupted", "lost", "repeated")

#: Key of the settings -> name, how it is written, and what Celery's default of it means.
_SETTINGS: Final = {
    "visibility_timeout_s": ("visibility timeout", "an hour until it is back"),
    "sweep_s": ("looks for them every", "up to 100 s more"),
    "prefetch": ("prefetch multiplier", "so many wait for a slot"),
    "retry_delay_s": ("delay of late-retry", "3 min until a retry"),
    "restart_delay_s": ("worker restarted after", "a service has to"),
}


def title(matrix: Json) -> str:
    """Return the heading of the report."""
    return f"poolproof {matrix['matrix']}"


def state(matrix: Json) -> str:
    """Return how far it is, and whether there is a cell that shows nothing."""
    crashes, statuses = matrix["crashes"], matrix["statuses"]
    parts = [f"{crashes['done']} of {crashes['planned']} crashes"]
    parts += [f"{count} cells {status}" for status, count in sorted(statuses.items())]
    broken = f" · {statuses['broken']} CELLS ARE BROKEN" if statuses.get("broken") else ""
    return " · ".join(parts) + broken


def tables(matrix: Json, *, short: bool = False) -> tuple[Table, ...]:
    """Return all tables; with `short` those that fit a terminal."""
    found = [*overviews(matrix), effective(matrix), *exceptions(matrix)]
    if not short:
        found += [*details(matrix), *rates(matrix)]
    return tuple(table for table in found if table.rows)


def overviews(matrix: Json) -> Iterator[Table]:
    """Return one table for each policy and prefetch: a row a fault, a column a pool."""
    pools = list(matrix["plan"]["pools"])
    for setting, cells in _groups(matrix):
        policy = cells[0]["policy"]
        by_fault = groupby(cells, key=lambda cell: cell["fault"])
        rows = [(fault, *(verdict(cell) for cell in of)) for fault, of in by_fault]
        yield Table(
            f"{setting}: what became of innocent tasks",
            f"Acknowledged {ACKNOWLEDGED.get(policy, policy)}. x/y cut: x of the y that were "
            f"running were interrupted; hang: they never ended. x/y saw, suffered: x of the y that "
            f"ended later met what the fault had changed, went wrong by it.{_over(matrix)}",
            (Column("fault"), *(Column(pool) for pool in pools)),
            tuple(rows),
        )


def effective(matrix: Json) -> Table:
    """Return what decided on redelivery and restart, beside Celery's own defaults."""
    rows = [
        (name, _values(matrix["settings"][key]), _value(matrix["defaults"][key]), meaning)
        for key, (name, meaning) in _SETTINGS.items()
        if matrix["settings"].get(key)
    ]
    headings = ("here", "Celery's default", "by default")
    return Table(
        "Settings that decide",
        "Short here, so that what comes back is seen to.",
        (Column(), *(Column(heading) for heading in headings)),
        tuple(rows),
    )


def exceptions(matrix: Json) -> Iterator[Table]:
    """Return why cells have no figures."""
    for status, heading in (("broken", "BROKEN CELLS"), ("not applicable", "Does not apply")):
        found = [cell for cell in matrix["cells"] if cell["status"] == status]
        rows = dict.fromkeys((_name(cell, status), cell["pool"], cell["reason"]) for cell in found)
        yield Table(
            heading,
            "None of these is a pass.",
            (Column("fault"), Column("pool"), Column("reason")),
            tuple(rows),
        )


def details(matrix: Json) -> Iterator[Table]:
    """Return what was noticed, who restarted, and the recovery times; a table a policy."""
    headings = (
        "noticed",
        "restarted by",
        "poison",
        "ended because",
        "noticed after",
        "slots back",
        "redelivered",
        "90 % throughput",
        "due",
        "due by default",
        "timeline: report RUN --timeline",
    )
    for setting, cells in _groups(matrix):
        yield Table(
            f"{setting}: who noticed, and how long it took",
            "Seconds since the fault; the median over the repeats.",
            (Column("fault"), Column("pool"), *(Column(heading) for heading in headings)),
            tuple(_detail(cell) for cell in cells if cell["status"] == "measured"),
            detail=True,
        )


def rates(matrix: Json) -> Iterator[Table]:
    """Return the shares with their 95 % intervals; a table a policy."""
    for setting, cells in _groups(matrix):
        yield Table(
            f"{setting}: shares of innocent tasks, and of crashes",
            "95 % intervals by Wilson. Tasks of one crash share its fate: the crashes count more.",
            (
                Column("fault"),
                Column("pool"),
                Column("running, interrupted"),
                Column("affected, lost"),
                Column("affected, repeated"),
                Column("crashes that interrupt"),
                Column("crashes that lose"),
            ),
            tuple(_rates(cell) for cell in cells if cell["status"] == "measured"),
            detail=True,
        )


# --- parts ----------------------------------------------------------------------------------------


def _groups(matrix: Json) -> Iterator[tuple[str, list[Json]]]:
    for setting, cells in groupby(matrix["cells"], key=_setting):
        yield setting, list(cells)


def _setting(cell: Json) -> str:
    """Say under what settings a cell was measured."""
    text = f"{cell['policy']}, prefetch {cell['prefetch']}"
    if cell["workers"] == 1:
        return text
    restarts = "" if cell["restarts"] else ", the struck one not restarted"
    return f"{text}, {cell['workers']} workers{restarts}"


def _over(matrix: Json) -> str:
    repeats = matrix["plan"]["repeats"]
    return f" Added up over {repeats} repeats." if repeats > 1 else ""


def _name(cell: Json, status: str) -> str:
    if status != "broken":
        return str(cell["fault"])
    return f"{cell['fault']} ({cell['policy']}, {cell['prefetch']})"


def _values(values: Sequence[Any]) -> str:
    return ", ".join(map(_value, values))


def _value(value: Any) -> str:
    if value is None:
        return "never"
    return f"{value:g} s" if isinstance(value, float) else str(value)


def _detail(cell: Json) -> tuple[str, ...]:
    due = cell["due_s"]
    return (
        cell["fault"],
        cell["pool"],
        ", ".join(cell["noticed"]) or "nothing",
        ", ".join(cell["restarted_by"]) or NOTHING,
        ", ".join(_counted(cell["poison"])) or NOTHING,
        ", ".join(cell["ended"]) or NOTHING,
        *(seconds(cell["recovery_s"][name]) for name in _TIMES),
        f"{due['first']:.1f} - {due['last']:.1f} s" if due else NOTHING,
        f"{due['first_by_default']:.0f} - {due['last_by_default']:.0f} s" if due else NOTHING,
        ", ".join(cell["runs"]),
    )


def _counted(counts: Mapping[str, int]) -> list[str]:
    return [word if count == 1 else f"{count} {word}" for word, count in counts.items()]


def _rates(cell: Json) -> tuple[str, ...]:
    names = (*_SHARES, "crashes_with_interrupted", "crashes_with_lost")
    return (cell["fault"], cell["pool"], *(_share(cell["shares"][name]) for name in names))


def _share(share: Json) -> str:
    if share["share"] is None:
        return NOTHING
    low, high = share["low"], share["high"]
    return f"{share['share']:.0%} of {share['of']} ({low:.0%} - {high:.0%})"
