"""What one fault did to a side, over all its repeats: the account that reports and cells share."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.faults.defaults import by_default
from poolproof.judge.performance.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Json = Mapping[str, Any]

#: Of a crash: numbers of innocent tasks and of slots, added up over the repeats.
_COUNTS: Final = (
    "running",
    "interrupted_first",
    "interrupted",
    "unknown",
    "hung",
    "stranded",
    "given_back",
    "waited",
    "others",
    "recovered",
    "lost",
    "repeated",
    "overdue",
    "slots_gone_first",
    "slots_gone",
    "strikes",
    "worker_died",
)
#: What a fault did to innocents: of these some are lost, or ran twice.
AFFECTED: Final = ("interrupted", "stranded", "waited", "others")
#: Counts of the first strike alone -> what they are at most, and are taken for where a summary of
#: before does not have them.
_OF_FIRST: Final = {
    "interrupted_first": ("interrupted", "running"),
    "slots_gone_first": ("slots_gone",),
}
#: A worker that is there for longer than this after its last task has something to say of it.
LINGERED_S: Final = 5.0
#: Why a wait was over in which something may never end.
STILL: Final = "nothing moved any more"
_TIMES: Final = ("detect", "slot_back", "redelivered", "throughput_back")


def account(repeats: Sequence[Sequence[Json]]) -> dict[str, Any]:
    """Return the figures of a fault; each repeat may have struck more than one worker."""
    crashes = [crash for repeat in repeats for crash in repeat]
    sums = {name: sum(_count(crash, name) for crash in crashes) for name in _COUNTS}
    books = [crash.get("books") or {} for crash in crashes]
    innocent = _added(each.get("innocent", {}) for each in books)
    affected = sum(sums[name] for name in AFFECTED)
    return {
        **sums,
        "crashes": len(crashes),
        "lost_by": dict(_added(crash.get("lost_by") or {} for crash in crashes)),
        "fates": dict(_added(crash.get("fates") or {} for crash in crashes)),
        "left": dict(_added(map(_left, crashes))),
        "phantom": innocent["phantom"],
        "innocent": dict(innocent),
        "poison": dict(_added(each.get("poison", {}) for each in books)),
        "enqueued": sum(each.get("enqueued", 0) for each in books),
        "noticed": _each_once(name for crash in crashes for name in crash.get("noticed") or ()),
        "restarted_by": _each_once(c["restarted_by"] for c in crashes if c["restarted_by"]),
        "ended": _each_once(crash["ended"] for crash in crashes if crash.get("ended")),
        "cut_off": sum(cut_off(c.get("ended", "") for c in repeat) for repeat in repeats),
        "lingered_s": _typical(crash.get("lingered_s") for crash in crashes),
        "recovery_s": {
            name: _typical(crash["recovery_s"].get(name) for crash in crashes) for name in _TIMES
        },
        "due_s": _due(crashes),
        "shares": {
            "interrupted": _share(sums["interrupted_first"], sums["running"]),
            "lost": _share(sums["lost"], affected),
            "repeated": _share(sums["repeated"], affected),
            # Tasks of one crash share their fate; crashes do not.
            "crashes_with_interrupted": _in_how_many(repeats, "interrupted"),
            "crashes_with_lost": _in_how_many(repeats, "lost"),
            "crashes_with_repeated": _in_how_many(repeats, "repeated"),
        },
        "ways": _each_once(
            crash["way"] for crash in crashes if crash.get("way", "plain") != "plain"
        ),
        "observations": _observed(crashes),
    }


def left_undone(innocent: Mapping[str, int], hung: int) -> dict[str, int]:
    """Return verdict -> how many innocents were not done when the books were closed.

    Without the `hung`, which ran at the fault and run still: those are told apart.
    """
    counts = {word: innocent.get(word, 0) for word in ("stranded", "queued", "running")}
    counts["running"] -= hung
    return {word: count for word, count in counts.items() if count > 0}


def cut_off(ended: Iterable[str]) -> bool:
    """Tell whether a deadline ended a wait in which more may have come back."""
    return any(why.startswith("the deadline") for why in ended)


def comes_back(ended: Iterable[str]) -> bool:
    """Tell whether a wait was given up since the poison strikes again and again."""
    return any(why.endswith("comes back again") for why in ended)


def _observed(crashes: Sequence[Json]) -> dict[str, int] | None:
    """Return what innocents saw or suffered of changed state; None if no fault changed any."""
    known = [crash["observations"] for crash in crashes if crash.get("observations")]
    return {name: sum(each[name] for each in known) for name in known[0]} if known else None


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum((Counter(each) for each in counts), Counter[str]())


def _each_once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _left(crash: Json) -> Mapping[str, int]:
    # A summary of before does not say it.
    innocent = (crash.get("books") or {}).get("innocent") or {}
    found: Mapping[str, int] = crash.get("left", left_undone(innocent, crash.get("hung", 0)))
    return found


def _count(crash: Json, name: str) -> int:
    if name in crash:
        return int(crash[name])
    return min((int(crash.get(bound, 0)) for bound in _OF_FIRST.get(name, ())), default=0)


def _typical(times: Iterable[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return median(known) if known else None


def _share(part: int, whole: int) -> dict[str, Any]:
    interval = wilson(part, whole)
    low, high = interval or (None, None)
    return {"of": whole, "share": part / whole if whole else None, "low": low, "high": high}


def _in_how_many(repeats: Sequence[Sequence[Json]], name: str) -> dict[str, Any]:
    return _share(sum(any(crash[name] for crash in repeat) for repeat in repeats), len(repeats))


def _due(crashes: Sequence[Json]) -> dict[str, float] | None:
    """Return when stranded tasks had to come back, here and with Celery's defaults."""
    known = [crash["due_s"] for crash in crashes if crash.get("due_s")]
    if not known:
        return None
    first, last = min(each["first"] for each in known), max(each["last"] for each in known)
    later = by_default(known[0] | {"first": first, "last": last})
    return {"first": first, "last": last, "first_by_default": later[0], "last_by_default": later[1]}
