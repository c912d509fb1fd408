"""How steadily a core of this machine computes, and what it helps that two sides take turns."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import numpy as np

#: Each round notes how long these additions take, again and again, for so long.
_ADDITIONS: Final = 20_000
_SECONDS: Final = 60.0
#: What a side gets of a round, in how many blocks, and what lies between any two of them.
_SIDE_S: Final = 3.0
_TURNS: Final = (1, 2, 4, 7, 20)
_BETWEEN_S: Final = 0.05
#: Rounds are played into what was noted every so often.
_EVERY_S: Final = 0.2
#: A stretch is slow if it took so much longer than the fastest tenth did.
_SLOW: Final = 1.5
#: What is kept of a round: how many stretches were done in each so long.
_KEPT_S: Final = 0.1


def measure(rounds: int) -> dict[str, Any]:
    """Note the pace of a bare loop on one core, and play rounds of two equal sides into it.

    `scatter_N_turns`: the standard deviation of the logarithm of the ratio of two equal sides that
    each get 3 s, in N blocks, A B A B. `twenty_turns_to_one` is how much of it twenty turns leave.
    `slow_share`: of the loop's stretches, those that took 1.5 times as long as a fast one.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        ends = [_pace() for _ in range(rounds)]
    finally:
        os.sched_setaffinity(0, before)
    stretches = np.concatenate([np.diff(each) for each in ends])
    scatter = {turns: _scatter(ends, turns) for turns in _TURNS}
    figures = {
        "slow_share": float(np.mean(stretches > _SLOW * np.percentile(stretches, 10))),
        **{f"scatter_{turns}_turns": of for turns, of in scatter.items()},
        "twenty_turns_to_one": scatter[20] / scatter[1],
    }
    return {"bench": "pace", "figures": figures, "rounds": [_kept(each) for each in ends]}


def _pace() -> np.ndarray:
    """Return when each stretch of the loop was done, in seconds from the first one's begin."""
    found = [time.perf_counter()]
    while found[-1] - found[0] < _SECONDS:
        total = 0
        for number in range(_ADDITIONS):
            total += number
        found.append(time.perf_counter())
    return np.array(found) - found[0]


def _scatter(traces: list[np.ndarray], turns: int) -> float:
    block_s = _SIDE_S / turns
    turn_s = 2 * (block_s + _BETWEEN_S)
    logs: list[np.ndarray] = []
    for ends in traces:
        starts = np.arange(0, ends[-1] - turns * turn_s, _EVERY_S)
        begins = starts[:, None] + turn_s * np.arange(turns)
        a, b = (_done(ends, side, block_s) for side in (begins, begins + turn_s / 2))
        logs.append(np.log(a / b))
    return float(np.concatenate(logs).std(ddof=1))


def _done(ends: np.ndarray, begins: np.ndarray, block_s: float) -> np.ndarray:
    """Return the stretches that were done in all of a side's blocks, for each round."""
    numbers = np.arange(len(ends))
    done = np.interp(begins + block_s, ends, numbers) - np.interp(begins, ends, numbers)
    return np.asarray(done.sum(axis=1))


def _kept(ends: np.ndarray) -> dict[str, Any]:
    edges = np.arange(0, ends[-1], _KEPT_S)
    done = np.diff(np.interp(edges, ends, np.arange(len(ends))))
    return {"every_s": _KEPT_S, "stretches": [round(float(each), 1) for each in done]}
