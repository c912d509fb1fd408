"""What others on a host do to a comparison, in a model: two cores that processes share evenly."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np

from poolproof.judge.outcome import MOST_TAKEN, outcome
from poolproof.judge.performance.statistics import ratio_of_rounds

_CORES: Final = 2.0
_HOGS: Final = 2  #: other programmes, each of which would use a core
_ROUNDS, _TURNS, _STEPS = 10, 20, 15  #: a block is so many steps of 10 ms
_STEP_S: Final = 0.01
#: On a quiet host both do as much.
_ONE: Final = (1.0,)
_TWO: Final = (0.5, 0.5)


class _Compared(NamedTuple):
    taken: float
    is_called: bool


def _shared(demands: tuple[float, ...]) -> list[float]:
    """Return what each process gets: an even share of the cores, or what it needs if it is less."""
    left, got = _CORES, [0.0] * len(demands)
    by_demand = sorted(range(len(demands)), key=lambda place: demands[place])
    for waiting, place in zip(range(len(demands), 0, -1), by_demand, strict=True):
        got[place] = min(demands[place], left / waiting)
        left -= got[place]
    return got


def _speeds(side: tuple[float, ...]) -> np.ndarray:
    """Return how much of the cores a side gets beside 0, 1, ... hogs, and what these get."""
    shares = [_shared((*side, *[1.0] * hogs)) for hogs in range(_HOGS + 1)]
    return np.array([(sum(of[: len(side)]), sum(of[len(side) :])) for of in shares])


def _hogs(generator: np.random.Generator, duty: float, burst_s: float) -> np.ndarray:
    """Return how many hogs are at work in each step of each block, by round, turn and side."""
    steps = _ROUNDS * _TURNS * 2 * _STEPS
    running = np.zeros(steps, int)
    for _ in range(_HOGS):
        at, is_on = 0, generator.random() < duty
        while at < steps:
            mean_s = burst_s if is_on else burst_s * (1 - duty) / duty
            length = 1 + int(generator.exponential(mean_s) / _STEP_S)
            running[at : at + length] += is_on
            at, is_on = at + length, not is_on
    return running.reshape(_ROUNDS, _TURNS, 2, _STEPS)


def _compare(
    generator: np.random.Generator, sides: tuple[tuple[float, ...], ...], duty: float
) -> _Compared:
    running = _hogs(generator, duty, float(generator.choice([0.05, 0.3, 2.0, 15.0])))
    # The first of each pair of rounds is drawn by lot, the second is the other way round.
    first = np.repeat(generator.integers(2, size=_ROUNDS // 2), 2) ^ (np.arange(_ROUNDS) % 2)
    rates, taken = [], []
    for place, side in enumerate(sides):
        beside = running[np.arange(_ROUNDS), :, place ^ first]
        ours, theirs = _speeds(side)[beside].mean(axis=(1, 2)).T
        rates.append((ours * np.exp(generator.normal(0, 0.02, _ROUNDS))).tolist())
        taken.append(theirs.mean() / _CORES)
    ratio = ratio_of_rounds(*rates)
    assert ratio is not None
    return _Compared(max(taken), outcome(ratio) in {"more", "less"})


@cache
def _compared(sides: tuple[tuple[float, ...], ...]) -> list[_Compared]:
    generator = np.random.default_rng(3)
    duties = np.geomspace(0.01, 0.9, 15)
    return [_compare(generator, sides, duty) for duty in duties for _ in range(20)]


def _called(sides: tuple[tuple[float, ...], ...], least: float, most: float) -> float:
    """Return how often sides are called different, by their interval, where others took so much."""
    calls = [each.is_called for each in _compared(sides) if least <= each.taken < most]
    assert len(calls) > 25
    return sum(calls) / len(calls)


def test_equal_sides_are_not_called_different_however_busy_the_host() -> None:
    assert _called((_ONE, _ONE), 0.0, MOST_TAKEN) < 0.05
    assert _called((_ONE, _ONE), MOST_TAKEN, 1.0) < 0.05


def test_sides_of_different_processes_are_called_different_above_twice_the_bound_only() -> None:
    sides = (_ONE, _TWO)

    assert _called(sides, 0.0, MOST_TAKEN) < 0.05
    assert _called(sides, 2 * MOST_TAKEN, 1.0) > 0.5
