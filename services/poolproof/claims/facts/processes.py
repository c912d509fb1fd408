"""Textbook claims about processes and threads, in plain Python: no Celery takes part."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING, Final

from poolproof.claims.claim import (
    TEXTBOOK,
    Claim,
    Finding,
    not_shown,
    of_ratio,
    shown,
    unless_busy,
)
from poolproof.judge.performance.statistics import ratio_of_medians
from poolproof_workers.supervisor.host import cores, gil

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.claims.lab import Lab

_MEASURE_S: Final = 60.0
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
#: Share of two cores below which a result is about who else was there.
_OURS: Final = 0.8
_NO_GIL: Final = "this Python has no GIL"
_ONE_CORE: Final = "only one core is usable here"


def _ratio(
    measurement: str, a: str, b: str, *, at_least: float = 0.0, at_most: float = float("inf")
) -> Callable[[Lab, str], Finding]:
    """Return a check that the ratio of two arms of a measurement lies between bounds."""

    def check(lab: Lab, _on: str) -> Finding:
        if measurement in {"switching", "memory"} and sys.platform != "linux":
            return not_shown("it is measured with what only Linux has")
        arms = lab.measure(measurement, _MEASURE_S)
        write = _size if measurement == "memory" else _time
        observed = f"{a} {write(median(arms[a]))}, {b} {write(median(arms[b]))}"
        ratio = ratio_of_medians(arms[a], arms[b])
        found = of_ratio(ratio, observed, at_least=at_least, at_most=at_most)
        if measurement == "memory":
            return found
        return unless_busy(found, lab.taken_share(measurement))

    return check


def _only_if(
    possible: Callable[[], bool], why: str, check: Callable[[Lab, str], Finding]
) -> Callable[[Lab, str], Finding]:
    return lambda lab, on: check(lab, on) if possible() else not_shown(why)


def _each(
    measurement: str, arm: str, meaning: str, right: Callable[[float], bool]
) -> Callable[[Lab, str], Finding]:
    """Return a check that every round of an arm came out right."""

    def check(lab: Lab, _on: str) -> Finding:
        values = lab.measure(measurement, _MEASURE_S)[arm]
        listed = ", ".join(f"{value:.3g}" for value in values)
        return shown(f"{meaning}: {listed}", holds=all(map(right, values)), rounds=values)

    return check


def _lost_updates(lab: Lab, _on: str) -> Finding:
    shares = lab.measure("sharing", _MEASURE_S)["lost with a call between"]
    observed = f"lost in each round: {', '.join(f'{share:.1%}' for share in shares)}"
    if not any(shares):
        # A race that was not lost may still be one.
        return not_shown("no round lost one", observed, rounds=shares)
    return shown(observed, holds=True, rounds=shares)


def _two_processes(lab: Lab, on: str) -> Finding:
    if cores() < 2:
        return not_shown(_ONE_CORE)
    found = _ratio("speedup", "cpu one", "cpu processes", at_least=1.3)(lab, on)
    if found.why:
        return found
    share = median(lab.measure("speedup", _MEASURE_S)["cpu share"])
    if share < _OURS:
        why = f"something else was using the cores: two processes got {share:.0%} of two cores"
        return not_shown(why, found.observed, **found.figures)
    return found


def _time(seconds: float) -> str:
    scale, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds / scale:.3g} {unit}"


def _size(number: float) -> str:
    return f"{number / 1e6:.2g} MB" if number >= 1e5 else f"{number / 1e3:.2g} kB"


def _has_gil() -> bool:
    return gil() is not False


CLAIMS: Final = (
    Claim(
        "create-fork",
        "Creating a process by fork costs more than creating a thread.",
        TEXTBOOK,
        "a forked process at least 3 times a thread, start to end",
        _MEASURE_S,
        _ratio("creation", "fork", "thread", at_least=3),
    ),
    Claim(
        "create-spawn",
        "Spawning a new Python costs much more than forking the one that there is.",
        TEXTBOOK,
        "spawn at least 5 times fork",
        _MEASURE_S,
        _ratio("creation", "spawn", "fork", at_least=5),
    ),
    Claim(
        "switch",
        "Switching between two processes costs more than switching between two threads.",
        TEXTBOOK,
        "at least 1.05 times, both through a pipe on one core",
        _MEASURE_S,
        _ratio("switching", "processes", "threads", at_least=1.05),
    ),
    Claim(
        "memory-fork",
        "An idle process takes far more memory than an idle thread, even forked.",
        TEXTBOOK,
        "a forked child at least 10 times a thread (PSS: shared pages counted once)",
        _MEASURE_S,
        _ratio("memory", "fork", "thread", at_least=10),
    ),
    Claim(
        "memory-spawn",
        "A spawned process takes more memory than a forked one, which shares pages.",
        TEXTBOOK,
        "a spawned child at least 2 times a forked one (PSS)",
        _MEASURE_S,
        _ratio("memory", "spawn", "fork", at_least=2),
    ),
    Claim(
        "pass-byte",
        "Handing even one byte to a process and back costs more than to a thread.",
        TEXTBOOK,
        "1 B to a process at least 2 times 1 B to a thread",
        _MEASURE_S,
        _ratio("passing", "process 1", "thread 1", at_least=2),
    ),
    Claim(
        "pass-large",
        "What is handed to a process is copied, so its cost grows with its size.",
        TEXTBOOK,
        "10 MB to a process at least 20 times 1 B to a process",
        _MEASURE_S,
        _ratio("passing", "process 10000000", "process 1", at_least=20),
    ),
    Claim(
        "pass-reference",
        "A thread is handed a reference: 10 MB cost it a small part of what they cost a process.",
        TEXTBOOK,
        "10 MB to a process at least 50 times 10 MB to a thread",
        _MEASURE_S,
        _ratio("passing", "process 10000000", "thread 10000000", at_least=50),
    ),
    Claim(
        "cpu-processes",
        "Two processes do CPU-bound Python faster than one, on two cores.",
        TEXTBOOK,
        "one slot takes at least 1.3 times as long as two processes",
        _MEASURE_S,
        _two_processes,
    ),
    Claim(
        "cpu-threads",
        "Two threads do CPU-bound Python no faster than one: the GIL lets one run at a time.",
        TEXTBOOK,
        "one slot takes at most 1.2 times as long as two threads",
        _MEASURE_S,
        _only_if(_has_gil, _NO_GIL, _ratio("speedup", "cpu one", "cpu threads", at_most=1.2)),
    ),
    Claim(
        "io-threads",
        "Two threads wait twice as fast as one: waiting lets go of the GIL.",
        TEXTBOOK,
        "one slot takes 1.8 to 2.1 times as long as two threads",
        _MEASURE_S,
        _ratio("speedup", "io one", "io threads", at_least=1.8, at_most=2.1),
    ),
    Claim(
        "io-processes",
        "For waiting, two processes have no advantage over two threads.",
        TEXTBOOK,
        "threads take at most 1.05 times as long as processes",
        _MEASURE_S,
        _ratio("speedup", "io threads", "io processes", at_most=1.05),
    ),
    Claim(
        "isolation-processes",
        "A process that segfaults leaves its neighbours alone.",
        TEXTBOOK,
        "the neighbour lives on (1) in every round",
        _MEASURE_S,
        _each("isolation", "processes", "survived, a round", lambda value: value == 1),
    ),
    Claim(
        "isolation-threads",
        "A thread that segfaults takes all threads of its process along.",
        TEXTBOOK,
        "the neighbour lives on (1) in no round",
        _MEASURE_S,
        _each("isolation", "threads", "survived, a round", lambda value: value == 0),
    ),
    Claim(
        "lock-fork",
        "A lock that another thread holds at a fork is held for ever in the child.",
        f"{TEXTBOOK}; celery #10339",
        "the child gets it (1) in no round, long after the thread let go",
        _MEASURE_S,
        _each("inheriting", "fork", "got the lock, a round", lambda value: value == 0),
    ),
    Claim(
        "lock-spawn",
        "A process that is spawned has a lock of its own.",
        f"{TEXTBOOK}; celery #10339",
        "the child gets it (1) in every round",
        _MEASURE_S,
        _each("inheriting", "spawn", "got the lock, a round", lambda value: value == 1),
    ),
    Claim(
        "shared-threads",
        "Threads see what each of them adds to a list in the module.",
        TEXTBOOK,
        "4 of 4 results in every round",
        _MEASURE_S,
        _each("sharing", "seen threads", "results seen of 4", lambda value: value == 4),
    ),
    Claim(
        "shared-processes",
        "Processes do not see what another adds to a list in the module.",
        TEXTBOOK,
        "0 of 4 results in every round",
        _MEASURE_S,
        _each("sharing", "seen processes", "results seen of 4", lambda value: value == 0),
    ),
    Claim(
        "race-call",
        "Threads that read, call something and write a shared counter lose updates.",
        TEXTBOOK,
        "some of 400,000 increments are lost",
        _MEASURE_S,
        _lost_updates,
    ),
    Claim(
        "race-plain",
        "The textbook's `counter += 1` loses hardly any update on CPython 3.10 and later.",
        "measured by us, against the textbook",
        "less than 0.1 % of 400,000 increments are lost, on a Python with a GIL",
        _MEASURE_S,
        _only_if(
            _has_gil,
            _NO_GIL,
            _each("sharing", "lost plain", "share lost", lambda value: value < 0.001),
        ),
    ),
    Claim(
        "race-lock",
        "With a lock around it no update of a shared counter is lost.",
        TEXTBOOK,
        "none of 400,000 increments is lost",
        _MEASURE_S,
        _each("sharing", "lost with a lock", "share lost", lambda value: value == 0),
    ),
)
