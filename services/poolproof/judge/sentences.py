"""The result in a few plain sentences that a person can repeat to a colleague."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.faults.account import LINGERED_S, STILL, comes_back, cut_off
from poolproof.judge.faults.defaults import VISIBILITY_TIMEOUT_S
from poolproof.judge.hosts import apart
from poolproof.judge.outcome import (
    BUSY,
    CLOSE,
    LESS,
    MORE,
    NOISY,
    SAME,
    in_words,
    is_busy,
    why_busy,
    worst,
)
from poolproof.judge.performance.memory import measure
from poolproof.judge.warnings import percent, tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Summary = Mapping[str, Any]


_INVALID: Final = "The figures below are no benchmark result: see the warnings."
#: Memory of two sides that is nearer than this is as good as equal.
_MORE: Final = 1.05
#: A ratio that is nearer to 1 would be written as 1.00, or nearly.
_SEEN: Final = 0.01
#: Per cent from which on no decimals are written.
_WHOLE: Final = 10
#: From here on a time in ms would need four digits.
_SECOND: Final = 0.9995


def sentences(summary: Summary) -> list[str]:
    """Return the sentences, from a summary that may still lack its own."""
    return [
        *(_compared(summary) if summary["valid"] else (_INVALID,)),
        *_counters(summary),
        *(_crash(crash) for crash in summary["crashes"]),
        *(_observed(crash) for crash in summary["crashes"] if crash.get("observations")),
        *(_not_applicable(one) for one in summary.get("not_applicable", ())),
        *_books(summary),
    ]


def _compared(summary: Summary) -> Iterator[str]:
    """Say how the sides compare, of a run whose figures are to be believed."""
    yield from _comparisons(summary)
    yield from _concurrency(summary)
    yield from _noise(summary)
    yield from _waiting(summary)
    yield from _memory(summary)


def _concurrency(summary: Summary) -> Iterator[str]:
    """Say under which concurrency the sides are compared; nothing where none are."""
    if swept := summary.get("sweep"):
        *most, last = map(str, swept["concurrency"])
        slots = f"{', '.join(most)} and {last}" if most else last
        yield f"This is a sweep: each pool had {slots} slots, and only equal numbers are compared."
        return
    compared = {one[side] for one in summary["comparisons"] for side in ("a", "b")}
    slots_of = {
        side: of["concurrency"] for side, of in summary["pools"].items() if side in compared
    }
    where = _apart(summary, slots_of)
    if len(set(slots_of.values())) == 1:
        slots = _slots(next(iter(slots_of.values())))
        yield f"This is at equal concurrency{where}: {slots} a side."
    elif slots_of:
        listed = ", ".join(f"{side} had {_slots(slots)}" for side, slots in slots_of.items())
        yield f"This is not at equal concurrency{where}: {listed}."


def _apart(summary: Summary, sides: Iterable[str]) -> str:
    """Return what marks a sentence that compares sides on different machines."""
    return ", on different hosts" if apart(summary.get("hosts") or (), sides) else ""


def _slots(count: int) -> str:
    return "1 slot" if count == 1 else f"{count:,} slots"


def _comparisons(summary: Summary) -> Iterator[str]:
    for one in summary["comparisons"]:
        noise = " They are the same: so much is noise here." if _is_noise(one) else ""
        where = _apart(summary, (one["a"], one["b"]))
        said = _SAID[one["outcome"]](summary, one)
        yield f"For {one['workload']}{where and where + ','} {said}{noise}"


def _is_noise(one: Summary) -> bool:
    """Tell whether a difference is called between sides that differ in nothing."""
    return one["same"] and one["outcome"] in {MORE, LESS}


def _more(summary: Summary, one: Summary) -> str:
    rates = [_rate(summary, one[side], one["workload"]) for side in ("a", "b")]
    times = _times(one["ratio"], one["low"], one["high"])
    return (
        f"{one['a']} did {times[0]} times as many tasks a second as {one['b']} "
        f"(medians: {rates[0]} against {rates[1]}; between {times[1]} and {times[2]} times)."
    )


def _less(summary: Summary, one: Summary) -> str:
    turned = {"a": one["b"], "b": one["a"], "ratio": 1 / one["ratio"]}
    return _more(summary, {**one, **turned, "low": 1 / one["high"], "high": 1 / one["low"]})


def _same(_summary: Summary, one: Summary) -> str:
    return f"{one['a']} and {one['b']} did {SAME}: {_between_times(one)}."


def _noisy(_summary: Summary, one: Summary) -> str:
    would = _at_least(one["smallest_detectable"] - 1)
    shown = f"Half of such runs would show a difference of {would}."
    if in_words(one) == NOISY:
        return f"it is {NOISY}: {_between_times(one)}. {shown}"
    least, most = sorted(abs(one[end] - 1) for end in ("low", "high"))
    what = "more" if one["low"] > 1 else "fewer"
    return (
        f"it is {CLOSE}: as measured {one['a']} did {_shares(least, most)} {what} "
        f"tasks a second than {one['b']}, and what may be less than {percent(one['least'] - 1)} is "
        f"not called a difference. {shown}"
    )


def _busy(_summary: Summary, one: Summary) -> str:
    return f"{one['a']} and {one['b']} are {BUSY}: {why_busy(one)}."


_SAID: Final = {MORE: _more, LESS: _less, SAME: _same, NOISY: _noisy, BUSY: _busy}


def _between_times(one: Summary) -> str:
    low, high = _times(one["low"], one["high"])
    return f"{one['a']} did between {low} and {high} times as many tasks a second as {one['b']}"


def _times(*ratios: float) -> list[str]:
    """Write ratios with as many digits as tell them from 1."""
    nearest = min(abs(ratio - 1) for ratio in ratios)
    digits = 2 if nearest >= _SEEN else 3
    return [f"{ratio:.{digits}f}" for ratio in ratios]


def _shares(*shares: float) -> str:
    """Write two shares, of which the least is not written as none."""
    digits = 1 if min(shares) >= _SEEN / 10 else 2
    written = dict.fromkeys(f"{100 * share:.{digits}f}" for share in shares)
    return f"{' to '.join(written)} %"


def _at_least(share: float) -> str:
    """Write a share, rounded up: what would show is never said to be less than it is."""
    hundred = 100 * share
    return f"{math.ceil(hundred)} %" if hundred >= _WHOLE else f"{math.ceil(10 * hundred) / 10} %"


def _rate(summary: Summary, side: str, workload: str) -> str:
    rate: float = summary["pools"][side]["workloads"][workload]["throughput_per_s"]["median"]
    return _a_second(rate)


def _a_second(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _noise(summary: Summary) -> Iterator[str]:
    floors = summary.get("noise_floor") or {}
    if floors:
        listed = ", ".join(f"{percent(floor, 1)} for {w}" for w, floor in floors.items())
        same = [
            (one["a"], one["b"])
            for one in summary["comparisons"]
            if one["same"] and one["outcome"] != BUSY
        ]
        pairs = "; ".join(f"{a} and {b} are the same" for a, b in dict.fromkeys(same))
        yield (
            f"{pairs}, so what they differ by is noise. Smaller differences than this cannot be "
            f"told from it here: {listed}."
        )


def _waiting(summary: Summary) -> Iterator[str]:
    """Say, of each workload that was sent at a set rate, how long its tasks took from when due."""
    told: dict[str, dict[str, Summary]] = {}
    for side, of in summary["pools"].items():
        for workload, figures in of["workloads"].items():
            load = figures.get("open_loop") or {}
            if "p50" in load.get("latency_s", {}).get("total", {}) and not load["overloaded"]:
                told.setdefault(f"{_a_second(load['offered_per_s'])} {workload}", {})[side] = load
    for what, loads in told.items():
        yield f"At {what} tasks a second {_waits(summary, loads)}."


def _waits(summary: Summary, loads: Mapping[str, Summary]) -> str:
    taken = worst(load.get("taken_share") for load in loads.values())
    if len(loads) > 1 and is_busy(taken):
        return f"{' and '.join(loads)} are {BUSY}: {why_busy({'taken_share': taken})}"
    listed = "; ".join(f"{side} {_half_and_most(load)}" for side, load in loads.items())
    return f"half were done within this time{_apart(summary, loads)}: {listed}"


def _half_and_most(load: Summary) -> str:
    """Write the median, and the highest percentile that is known."""
    at = load["latency_s"]["total"]
    highest = [name for name in at if name.startswith("p") and name != "p50"][-1:]
    return _time(at["p50"]) + "".join(f", {name} {_time(at[name])}" for name in highest)


def _time(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= _SECOND else f"{1e3 * seconds:.3g} ms"


def _memory(summary: Summary) -> Iterator[str]:
    by = measure(summary["pools"])
    key = f"{by}_loaded_bytes"
    known = {
        side: of["memory"][key]
        for side, of in summary["pools"].items()
        if (of["memory"] or {}).get(key)
    }
    if len(known) < 2:
        return
    most, least = max(known, key=lambda side: known[side]), min(known, key=lambda side: known[side])
    if most == least or summary.get("sweep") or known[most] < _MORE * known[least]:
        return
    what = "memory" if by == "pss" else "unshared memory"
    yield (
        f"{most} needs {known[most] / known[least]:.1f} times the {what} of {least}"
        f"{_apart(summary, (most, least))} "
        f"({known[most] / 1e6:.0f} against {known[least] / 1e6:.0f} MB)."
    )


def _counters(summary: Summary) -> Iterator[str]:
    for side, figures in summary["pools"].items():
        for name, of in figures["workloads"].items():
            if (counter := of.get("counter")) is None:
                continue
            count = len(counter["processes"])
            whose = "the one counter" if count == 1 else f"the {count} counters, one a process,"
            lost = f"{counter['lost']:,} were lost" if counter["lost"] else "none was lost"
            yield (
                f"Of {counter['added']:,} additions by {name} on {side} {whose} "
                f"held {counter['counted']:,} in the end: {lost}."
            )


def _crash(crash: Summary) -> str:
    parts = [_taken_along(crash)]
    if crash.get("unknown"):
        unknown = tasks(crash["unknown"])
        parts.append(f"what it did to {unknown} is not known, since records are missing")
    if crash["stranded"]:
        parts.append(f"{_which(crash['stranded'])} waiting in the worker {_stranded(crash)}")
    if crash.get("given_back"):
        parts.append(f"{_which(crash['given_back'])} waiting in the worker went back to the queue")
    if crash.get("waited"):
        parts.append(_waited(crash))
    if crash.get("hung"):
        parts.append(f"{_count(crash['hung'])} still at it when the books were closed")
    if crash["lost"]:
        parts.append(f"{_count(crash['lost'])} lost for good{_causes(crash)}")
    if crash["repeated"]:
        parts.append(f"{crash['repeated']} ended more than once{_overdue(crash)}")
    what = f"One {crash['fault']} under {crash['pool']} {'; '.join(parts)}."
    return what + _back(crash) + _rescued(crash) + _end(crash)


#: Cause of a loss -> what is said of one that it took, and of several.
_CAUSES: Final = {
    "interrupted": "that ran",
    "acknowledged": "acknowledged and not begun yet",
    "fetched": "on the way from the queue to the worker",
}


def _causes(crash: Summary) -> str:
    """Say where the lost ones were, unless all of them ran."""
    known = {cause: count for cause, count in (crash.get("lost_by") or {}).items() if count}
    if not known.keys() - {"interrupted"}:
        return ""
    return f" ({', '.join(f'{count} {_CAUSES[cause]}' for cause, count in known.items())})"


def _overdue(crash: Summary) -> str:
    early = crash.get("overdue")
    if not early:
        return ""
    which = "" if early == crash["repeated"] else f"{early} of them "
    return f", {which}only since the visibility timeout is so short here"


def _waited(crash: Summary) -> str:
    return (
        f"{_which(crash['waited'])} waiting in the worker, which lived, stayed there until the "
        f"visibility timeout was over (Celery's own is {VISIBILITY_TIMEOUT_S:,.0f} s)"
    )


def _observed(crash: Summary) -> str:
    seen = crash["observations"]
    touched = seen["saw"] + seen["suffered"]
    parts = [f"{touched} of {tasks(seen['observers'])} that ended after it met what it had done"]
    if seen["suffered"]:
        parts.append(f"{seen['suffered']} of them went wrong")
    if seen["updates"]:
        parts.append(f"{seen['lost_updates']:,} of {seen['updates']:,} additions were lost")
    return f"Of {crash['fault']} under {crash['pool']}: {'; '.join(parts)}."


def _not_applicable(one: Summary) -> str:
    return f"{one['fault']} was not done to {one['pool']}: {one['reason']}."


def _taken_along(crash: Summary) -> str:
    interrupted, running = crash.get("interrupted_first", crash["interrupted"]), crash["running"]
    more = crash["interrupted"] - interrupted
    again = f", and {more} more when it struck again" if more else ""
    if not running:
        was = "is known to have been" if crash.get("unknown") else "was"
        return f"struck while no innocent task {was} running{again}"
    share = "none" if not interrupted else "all" if interrupted == running else str(interrupted)
    if running == 1:
        done = "did not interrupt" if not interrupted else "interrupted"
        return f"{done} the one innocent task that was running{again}"
    return f"interrupted {share} of the {running} innocent tasks that were running{again}"


def _which(count: int) -> str:
    return "one more that was" if count == 1 else f"{count} more that were"


def _count(count: int) -> str:
    return "1 task is" if count == 1 else f"{tasks(count)} are"


def _stranded(crash: Summary) -> str:
    verb = "was" if crash["stranded"] == 1 else "were"
    back_s = crash["recovery_s"]["redelivered"]
    if back_s is not None:
        return f"{verb} stranded in the broker, and began again after at most {back_s:.1f} s"
    due = crash["due_s"]
    if due is None:
        return f"{verb} stranded in the broker"
    return (
        f"{verb} stranded in the broker, due again between {due['first']:.0f} and "
        f"{due['last']:.0f} s after the fault"
    )


def _back(crash: Summary) -> str:
    """Say what became of the slots that the first strike took, and how often it struck."""
    gone = crash.get("slots_gone_first", crash["slots_gone"])
    back_s = crash["recovery_s"]["slot_back"]
    slots = "Its slot was" if gone == 1 else f"Its {gone} slots were"
    if not gone:
        said = ""
    elif back_s is None:
        said = f" {slots} not seen to work again."
    else:
        by = {"pool": "replaced by the pool itself", "supervisor": "restarted by the supervisor"}
        how = by.get(crash["restarted_by"], f"restarted by {crash['restarted_by']}")
        said = f" {slots} {how} and at work again after {back_s:.1f} s."
    return said + _struck(crash) + _lingered(crash)


def _struck(crash: Summary) -> str:
    if (strikes := crash.get("strikes", 1)) == 1:
        return ""
    more = crash["slots_gone"] - crash.get("slots_gone_first", crash["slots_gone"])
    took = f", and took {_slots(more)} more" if more else ""
    again = ", and comes back again" if comes_back([crash.get("ended") or ""]) else ""
    return f" It struck {strikes} times{took}{again}."


def _lingered(crash: Summary) -> str:
    lingered_s = crash.get("lingered_s") or 0.0
    if lingered_s < LINGERED_S:
        return ""
    return f" The worker left only {lingered_s:.1f} s after its last task was over."


def _end(crash: Summary) -> str:
    """Say why the wait for what comes back was over, and what was left, unless all was at rest."""
    why, left = crash.get("ended") or "", crash.get("left") or {}
    parts = [f"the wait for what comes back was cut off by {why}"] if cut_off([why]) else []
    parts += ["at the end nothing moved any more"] if why == STILL else []
    if left:
        listed = " and ".join(f"{count} {word}" for word, count in left.items())
        parts.append(f"of the innocent tasks there were left: {listed}")
    said = "; ".join(parts)
    return f" {said[0].upper()}{said[1:]}." if said else ""


def _rescued(crash: Summary) -> str:
    """Say who ran what the fault had taken from a worker."""
    parts = [
        f"the {who} began {tasks(of['tasks'])} of them {_between(of['first'], of['last'])}"
        for who, of in (crash.get("rescued") or {}).items()
    ]
    return f" What it took from a worker came back: {' and '.join(parts)}." if parts else ""


def _between(first_s: float, last_s: float) -> str:
    first, last = f"{first_s:.1f}", f"{last_s:.1f}"
    return f"after {last} s" if first == last else f"after {first} to {last} s"


def _books(summary: Summary) -> Iterator[str]:
    account = summary["books"]
    if account["balanced"] and not account["enqueued"]:
        yield "No task was enqueued."
        return
    words = {word: count for word, count in account["verdicts"].items() if count}
    listed = ", ".join(f"{count:,} {word}" for word, count in words.items())
    ends = "the books balance" if account["balanced"] else "the books do not balance"
    yield (
        f"Of {tasks(account['enqueued'])} every one is accounted for: {listed}; {ends}."
        if (account["balanced"])
        else f"Of {tasks(account['enqueued'])} not every one is accounted for; {ends}."
    )
