"""The statistics: medians, the interval of a ratio, the interval of a share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE: Final = 0.95
ENOUGH: Final = 5  #: values of a side that the bootstrap needs
#: What is less apart than this is never called different: processes of the same programme differ by
#: some tenths of a percent for reasons that no user asked about (decision 19).
LEAST: Final = 1.01
_RESAMPLES: Final = 10_000
_SEED: Final = 20_240_229
_Z: Final = 1.959963984540054  # two-sided 95 %
#: Observations that must lie beyond a percentile for it to be one.
_BEYOND: Final = 10
#: From so many rounds on the normal distribution stands in for that of the signed ranks.
_MANY: Final = 60

Winner = Literal["a", "b", "no difference shown"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    least: float = LEAST  #: what is less apart than this is not called different

    @property
    def precision(self) -> float:
        """How far the interval reaches to each side, as a share: 0.05 for 0.95 to 1.05."""
        return math.sqrt(self.high / self.low) - 1

    @property
    def smallest_detectable(self) -> float:
        """A ratio this far from 1, on the side of the measured one, would have shown.

        With an interval that reaches as far towards 1 as this one does. A true one of that size is
        measured beyond it, and shown, in half of such runs.
        """
        return self.least * (self.ratio / self.low if self.ratio >= 1 else self.high / self.ratio)

    @property
    def verdict(self) -> Winner:
        """Which of the two is larger by more than `least`, if the whole interval says so."""
        if self.low > self.least:
            return "a"
        return "b" if self.high < 1 / self.least else "no difference shown"


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """Return median(a) / median(b) and its percentile bootstrap interval (Efron 1979).

    Both are resampled independently. From five values each it holds the truth in 96 % of cases
    (simulated, log-normal); with fewer the range of all ratios stands in for it. None where the
    values are so few (`can_show`) that equal sides would be called different too often. Values must
    be above 0. Seeded: the same values always give the same interval.
    """
    if not can_show(len(a), len(b)):
        return None
    low, high = _interval(np.asarray(a, float), np.asarray(b, float))
    return Ratio(float(np.median(a) / np.median(b)), low, high)


def ratio_of_rounds(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """Return by how much `a` exceeds `b` round by round, and its signed-rank interval.

    The two values of a round are taken one right after the other, so what slows the machine down
    slows both: only their ratio counts. The estimate is the median of the geometric means of any
    two rounds' ratios, or of one (Hodges and Lehmann 1963); the interval has as many of these cut
    off at each end as Wilcoxon's signed ranks (1945) allow. It is exact where the noise of a
    logarithm is symmetric, as it is between equal sides that take turns. None for fewer than six
    rounds: in five of five one side is ahead by chance alone in 6 %. Values must be above 0.
    """
    cut = _cut(len(a))
    if cut is None:
        return None
    logs = np.log(a) - np.log(b)
    means = np.sort(np.add.outer(logs, logs)[np.triu_indices(len(logs))] / 2)
    ratio, low, high = (math.exp(each) for each in (np.median(means), means[cut], means[-1 - cut]))
    return Ratio(ratio, low, high)


@cache
def _cut(rounds: int) -> int | None:
    """Return how many of the means of two rounds lie outside of the interval, at each end."""
    tail, pairs = (1 - CONFIDENCE) / 2, rounds * (rounds + 1) // 2
    if rounds > _MANY:
        spread = math.sqrt(pairs * (2 * rounds + 1) / 12)
        return math.floor(pairs / 2 - _Z * spread)
    # In how many of the 2^n choices of signs the ranks of those that are positive have each sum.
    choices = np.zeros(pairs + 1)
    choices[0] = 1
    for rank in range(1, rounds + 1):
        choices[rank:] += choices[:-rank].copy()
    unlikely = int(np.count_nonzero(np.cumsum(choices) / 2**rounds <= tail))
    return unlikely - 1 if unlikely else None


def can_show(a: int, b: int) -> bool:
    """Tell whether so many values of each side can show a difference at all, at 95 %.

    The strongest that they can say is that all of one side lie above all of the other: by chance
    alone that happens in 2 of `comb(a + b, a)` orders. Three against three do it in 10 %.
    """
    return min(a, b) > 0 and 2 / math.comb(a + b, a) <= 1 - CONFIDENCE


def is_narrow(a: Sequence[float], b: Sequence[float], precision: float) -> bool:
    """Tell whether the interval of the ratio reaches at most `precision` (0.05) to each side.

    The values are of rounds. Where the interval lies plays no part, so whoever stops at this does
    not stop because of the verdict.
    """
    found = ratio_of_rounds(a, b)
    return found is not None and found.precision <= precision


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the bootstrap interval of a median, None for fewer than five values."""
    if len(values) < ENOUGH:
        return None
    medians = _resampled(np.asarray(values, float), np.random.default_rng(_SEED))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(medians, (tail, 100 - tail))
    return float(low), float(high)


def _interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    if min(len(a), len(b)) < ENOUGH:
        return float(a.min() / b.max()), float(a.max() / b.min())
    generator = np.random.default_rng(_SEED)
    ratios = _resampled(a, generator) / _resampled(b, generator)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(ratios, (tail, 100 - tail))
    return float(low), float(high)


def _resampled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    picks = generator.integers(0, len(values), (_RESAMPLES, len(values)))
    return np.asarray(np.median(values[picks], axis=1))


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share (Wilson 1927), None without trials."""
    if trials == 0:
        return None
    share, z2 = successes / trials, _Z * _Z
    centre = share + z2 / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    scale = 1 + z2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def percentile(values: np.ndarray, percent: float) -> float | None:
    """Return a percentile, None if fewer than ten values would lie beyond it."""
    # 100 - 99.9 is a little less than 0.1.
    if round(len(values) * min(percent, 100 - percent) / 100, 6) < _BEYOND:
        return None
    return float(np.percentile(values, percent))


def spread(values: Sequence[float]) -> float:
    """Return the range of values as a share of their median."""
    middle = float(np.median(values))
    return (max(values) - min(values)) / middle if middle else 0.0
