"""What changes over time on one side: throughput, time a task takes, memory, backlog."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

#: Width of a point of a series, and how far back they go.
BIN_S: Final = 0.5
SPAN_S: Final = 120.0
_BIN_NS: Final = round(BIN_S * 1e9)
_POINTS: Final = round(SPAN_S / BIN_S)
#: Times kept of one bin for its percentiles: enough for them, however fast the tasks go.
_TIMES: Final = 512


class Series:
    """Points of the last minutes, in bins of half a second on the run's clock."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}
        self._times: dict[int, list[float]] = {}
        self._medians: dict[int, tuple[int, float]] = {}  # of so many times of a bin, in ms
        self._memory: deque[tuple[int, int]] = deque(maxlen=_POINTS)
        self._backlog: dict[int, int] = {}

    def ended(self, t_ns: int, took_s: float) -> None:
        """Count a task that came to its end."""
        place = t_ns // _BIN_NS
        self._ended[place] = self._ended.get(place, 0) + 1
        times = self._times.setdefault(place, [])
        if len(times) < _TIMES:
            times.append(took_s)

    def sampled(self, t_ns: int, used_bytes: int) -> None:
        """Note the memory of its processes."""
        self._memory.append((t_ns, used_bytes))

    def waiting(self, t_ns: int, count: int) -> None:
        """Note how many tasks wait in its queue."""
        self._backlog[t_ns // _BIN_NS] = count

    def drop_before(self, now_ns: int) -> None:
        """Forget what is older than the span."""
        oldest = now_ns // _BIN_NS - _POINTS
        for bins in (self._ended, self._times, self._medians, self._backlog):
            for place in [place for place in bins if place < oldest]:
                del bins[place]

    def throughput(self, now_ns: int) -> tuple[list[float], list[float]]:
        """Return seconds before now, and tasks that ended a second; without the bin in progress."""
        first, last = self._places(now_ns)
        places = range(first, last)
        return _ages(places, now_ns), [self._ended.get(place, 0) / BIN_S for place in places]

    def latency(self, now_ns: int) -> tuple[list[float], list[float]]:
        """Return seconds before now, and the median time that tasks ran, in ms."""
        places = [place for place in range(*self._places(now_ns)) if self._times.get(place)]
        return _ages(places, now_ns), [self._median_ms(place) for place in places]

    def memory(self, now_ns: int) -> tuple[list[float], list[float]]:
        """Return seconds before now, and megabytes."""
        return [(t - now_ns) / 1e9 for t, _ in self._memory], [b / 1e6 for _, b in self._memory]

    def backlog(self, now_ns: int) -> tuple[list[float], list[float]]:
        """Return seconds before now, and tasks that waited."""
        places = sorted(self._backlog)
        return _ages(places, now_ns), [float(self._backlog[place]) for place in places]

    def _median_ms(self, place: int) -> float:
        """Return a bin's median; it is worked out anew only when the bin has got more times."""
        times = self._times[place]
        count, median_ms = self._medians.get(place, (0, 0.0))
        if count != len(times):
            median_ms = 1e3 * float(np.median(times))
            self._medians[place] = len(times), median_ms
        return median_ms

    def _places(self, now_ns: int) -> tuple[int, int]:
        last = now_ns // _BIN_NS
        first = min(self._ended, default=last)
        return max(first, last - _POINTS), last


def _ages(places: range | list[int], now_ns: int) -> list[float]:
    return [((place + 1) * _BIN_NS - now_ns) / 1e9 for place in places]
