"""What the report of a matrix says: tables of words, for every format to lay out, and the CSV."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.report.crash_tables import ACKNOWLEDGED
from poolproof.report.figures import NOTHING, seconds
from poolproof.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Json: TypeAlias = "Mapping[str, Any]"

#: Key of a cell -> how its number is said where it is not 0.
_HARM: Final = {
    "stranded": "{} stranded",
    "given_back": "{} given back",
    "lost": "{} lost",
    "phantom": "{} phantom",
}
_TIMES: Final = ("detect", "slot_back", "redelivered", "throughput_back")
#: Verdict on the poison -> what it means for those who run beside it.
_POISON: Final = {
    "running": "it runs on",
    "phantom": "counted as running",
    "stranded": "it comes back",
    "queued": "it comes back",
    "repeated": "it ran twice",
}
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


def verdict(cell: Json) -> str:
    """Say in a few words what a fault did to innocent tasks."""
    if cell["status"] == "missing":
        return "not run yet"
    if cell["status"] != "measured":
        return _without_figures(cell)
    parts = [
        *_cut(cell),
        *_hung(cell),
        *(words.format(cell[k]) for k, words in _HARM.items() if cell[k]),
        *_twice(cell),
    ]
    parts += [*_sights(cell), *_left(cell)]
    ended = ["the worker ended"] if cell["worker_died"] and not parts else []
    return "; ".join([", ".join(parts) or "unharmed", *ended, *_poison(cell)])


def _without_figures(cell: Json) -> str:
    # Why a cell is broken takes more words than it has room for: they have a table of their own.
    return "BROKEN" if cell["status"] == "broken" else f"{cell['status']}: {cell['reason']}"


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


def _sights(cell: Json) -> list[str]:
    seen = cell["observations"]
    if not seen:
        return []
    met = [key for key in ("saw", "suffered") if seen[key]] or ["saw"]
    words = [f"{seen[key]}/{seen['observers']} {key}" for key in met]
    return words + ([f"{seen['lost_updates']} updates lost"] if seen["lost_updates"] else [])


def _cut(cell: Json) -> list[str]:
    """Say how many innocents were interrupted: at the first strike, and by all of them."""
    first, all_ = cell["interrupted_first"], cell["interrupted"]
    if not all_:
        return []
    again = f" ({all_} in {cell['strikes']} strikes)" if all_ != first else ""
    return [f"{first}/{cell['running']} cut{again}"]


def _hung(cell: Json) -> list[str]:
    """Say how many innocents that ran at the fault ran on, or seemed to, to the end."""
    return [f"{cell['hung']}/{cell['running']} hang"] if cell["hung"] else []


def _twice(cell: Json) -> list[str]:
    """Say how many innocents ran to their end twice; apart those that a longer timeout spares."""
    early = cell["overdue"]
    found = [f"{cell['repeated'] - early} twice"] if cell["repeated"] > early else []
    return found + ([f"{early} twice by the short timeout"] if early else [])


def _left(cell: Json) -> list[str]:
    """Say what innocents were not done, or went wrong, when the books were closed."""
    innocent: Counter[str] = Counter(cell["innocent"])
    innocent["running"] -= cell["hung"]
    waiting = [
        f"{innocent[word]} left {word}"
        for word in ("stranded", "queued", "running")
        if innocent[word] > 0
    ]
    return waiting + ([f"{innocent['failed']} failed"] if innocent["failed"] else [])


def _poison(cell: Json) -> list[str]:
    """Say what the poison still does, or seems to do, and how often it struck."""
    found = [words for verdict, words in _POISON.items() if cell["poison"].get(verdict)]
    if not strikes_again(cell):
        return list(dict.fromkeys(found))
    # What it is when the books are closed is a matter of the moment.
    loops = any(why.endswith("comes back again") for why in cell["ended"])
    struck = f"struck {cell['strikes']} times"
    return [f"it {struck} and comes back"] if loops else [*dict.fromkeys(found), f"it {struck}"]


def strikes_again(cell: Json) -> bool:
    """Tell whether the poison was delivered more than once."""
    return bool(cell["poison"]) and int(cell["strikes"]) > int(cell["repeats"])


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
