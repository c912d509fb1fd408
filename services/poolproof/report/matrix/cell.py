"""A cell of a matrix in a few words: what one fault did to the innocent tasks of one pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.judge.faults.account import LINGERED_S, comes_back, cut_off

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json: TypeAlias = "Mapping[str, Any]"

#: Key of a cell -> how its number is said where it is not 0.
_HARM: Final = {
    "stranded": "{} stranded",
    "given_back": "{} given back",
    "waited": "{} waited for the timeout",
    "phantom": "{} phantom",
}
#: Cause of a loss, other than that they ran -> how its number is said.
_ON_THE_WAY: Final = {
    "acknowledged": "{} not begun yet",
    "fetched": "{} on the way to the worker",
}
#: Verdict on the poison -> what it means for those who run beside it.
_POISON: Final = {
    "running": "it runs on",
    "phantom": "counted as running",
    "stranded": "it comes back",
    "queued": "it comes back",
    "repeated": "it ran twice",
}


def verdict(cell: Json) -> str:
    """Say in a few words what a fault did to innocent tasks."""
    if cell["status"] == "missing":
        return "not run yet"
    if cell["status"] != "measured":
        return _without_figures(cell)
    parts = [
        *_cut(cell),
        *_hung(cell),
        *(words.format(cell[k]) for k, words in _HARM.items() if cell.get(k)),
        *_lost(cell),
        *_twice(cell),
    ]
    parts += [*_sights(cell), *_left(cell), *_lingered(cell)]
    ended = ["the worker ended"] if cell["worker_died"] and not parts else []
    return "; ".join([", ".join(parts) or "unharmed", *ended, *_poison(cell)])


def _without_figures(cell: Json) -> str:
    # Why a cell is broken takes more words than it has room for: they have a table of their own.
    return "BROKEN" if cell["status"] == "broken" else f"{cell['status']}: {cell['reason']}"


def strikes_again(cell: Json) -> bool:
    """Tell whether the poison was delivered more than once."""
    return bool(cell["poison"]) and int(cell["strikes"]) > int(cell["repeats"])


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


def _lost(cell: Json) -> list[str]:
    """Say how many innocents are lost, and where they were unless all of them ran."""
    if not cell["lost"]:
        return []
    causes = cell.get("lost_by") or {}
    where = [words.format(causes[k]) for k, words in _ON_THE_WAY.items() if causes.get(k)]
    return [f"{cell['lost']} lost" + (f" ({', '.join(where)})" if where else "")]


def _twice(cell: Json) -> list[str]:
    """Say how many innocents ran to their end twice; apart those that a longer timeout spares."""
    early = cell["overdue"]
    found = [f"{cell['repeated'] - early} twice"] if cell["repeated"] > early else []
    return found + ([f"{early} twice by the short timeout"] if early else [])


def _left(cell: Json) -> list[str]:
    """Say what innocents were not done, or went wrong, when the books were closed."""
    when = _when(cell)
    failed = cell["innocent"].get("failed")
    return [f"{count} left {word}{when}" for word, count in cell["left"].items()] + (
        [f"{failed} failed"] if failed else []
    )


def _when(cell: Json) -> str:
    """Say in how many of the repeats a deadline ended the wait for what comes back."""
    if not cut_off(cell["ended"]):
        return ""
    # A cell of before does not say in how many.
    count, repeats = cell.get("cut_off"), cell["repeats"]
    some = f" (in {count} of {repeats} at the deadline)"
    return " at the deadline" if count in {None, repeats} else some


def _lingered(cell: Json) -> list[str]:
    """Say how long a worker was still there that had no task any more."""
    lingered_s = cell.get("lingered_s") or 0.0
    return [f"left {lingered_s:.0f} s after its last task"] if lingered_s >= LINGERED_S else []


def _poison(cell: Json) -> list[str]:
    """Say what the poison still does, or seems to do, and how often it struck."""
    found = [words for verdict, words in _POISON.items() if cell["poison"].get(verdict)]
    if not strikes_again(cell):
        return list(dict.fromkeys(found))
    # What it is when the books are closed is a matter of the moment.
    struck = f"it struck {cell['strikes']} times"
    if comes_back(cell["ended"]):
        return [f"{struck} and comes back"]
    return [*dict.fromkeys(found), struck]
