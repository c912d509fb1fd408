"""Counters that only grow, read now and then: how much one grew in a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class CounterSeries:
    """Readings of one counter, by time. Between two it is taken to have grown evenly."""

    t_ns: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, readings: Iterable[tuple[int, float | None]]) -> CounterSeries:
        """Make it of (time, value); readings without a value are left out."""
        known = sorted((t_ns, value) for t_ns, value in readings if value is not None)
        times = np.array([t_ns for t_ns, _ in known], float)
        return cls(times, np.array([value for _, value in known], float))

    def covers(self, span: tuple[float, float]) -> bool:
        """Tell whether it was read before a span of time and after it."""
        return len(self.t_ns) > 1 and self.t_ns[0] <= span[0] and span[1] <= self.t_ns[-1]

    def grown(self, spans: Iterable[tuple[int, int]]) -> float | None:
        """Return by how much it grew in some spans of time; None if it was not read around them."""
        begins, ends = (np.array(column, float) for column in zip(*spans, strict=True))
        if not self.covers((begins.min(), ends.max())):
            return None
        grown = np.interp(ends, self.t_ns, self.values) - np.interp(begins, self.t_ns, self.values)
        return float(grown.sum())
