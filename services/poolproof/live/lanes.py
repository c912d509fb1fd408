"""The lanes of a worker: what each slot ran lately, painted into one small image."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Columns of the image, and the time that they show.
COLUMNS: Final = 1_000
WINDOW_S: Final = 20.0
_COLUMN_NS: Final = round(WINDOW_S * 1e9 / COLUMNS)
#: Single tasks are kept for as long as they can be told apart: so many a lane.
_KEPT: Final = 256

#: What a column of a lane shows -> its colour, as the bytes R, G, B, A in memory.
COLOURS: Final = {
    "none": (0, 0, 0, 0),
    "idle": (128, 136, 148, 38),
    "innocent": (64, 132, 190, 255),
    "turn": (110, 165, 212, 255),
    "failed": (204, 121, 167, 255),
    "cut": (213, 94, 0, 255),
    "poison": (90, 20, 90, 255),
}
_NAMES: Final = {name: index for index, name in enumerate(COLOURS)}
_PALETTE: Final = np.array([COLOURS[name] for name in COLOURS], np.uint8).view(np.uint32).ravel()


@dataclass(slots=True)
class Bar:
    """One attempt at one task in one slot."""

    number: int
    start_ns: int
    look: str  #: a key of `COLOURS`
    end_ns: int | None = None  #: None: it still runs
    how: str = "running"


@dataclass(slots=True)
class Lane:
    """One slot: a thread of a process, and the columns that it has painted, as a ring."""

    pid: int
    tid: int
    born_ns: int
    died_ns: int | None = None
    newest_ns: int = 0  #: of what it shows: the last start or end
    open: dict[int, Bar] = field(default_factory=dict)
    bars: deque[Bar] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _columns: np.ndarray = field(default_factory=lambda: np.zeros(COLUMNS, np.uint8))
    _painted: int = 0  #: columns before this one are final, unless a task still runs in them
    _turn: int = 0

    @property
    def name(self) -> str:
        """How people tell it from others."""
        return f"pid {self.pid}" if self.tid == self.pid else f"pid {self.pid} · thread {self.tid}"

    def start(self, number: int, t_ns: int, *, poison: bool) -> None:
        """Begin an attempt."""
        self._turn ^= 1
        self.newest_ns = t_ns
        look = "poison" if poison else "turn" if self._turn else "innocent"
        bar = Bar(number, t_ns, look)
        self.open[number] = bar
        self.bars.append(bar)

    def end(self, number: int, t_ns: int, how: str, look: str = "") -> Bar | None:
        """End an attempt, and paint it; None if this lane never saw it begin."""
        bar = self.open.pop(number, None)
        if bar is not None:
            bar.end_ns, bar.how = t_ns, how
            self.newest_ns = t_ns
            bar.look = look if look and bar.look != "poison" else bar.look
            self._paint(bar.start_ns, t_ns, bar.look)
        return bar

    def die(self, t_ns: int) -> list[Bar]:
        """End the slot; return the attempts that it takes with it."""
        self.died_ns = t_ns if self.died_ns is None else min(self.died_ns, t_ns)
        return [bar for number in list(self.open) if (bar := self.end(number, t_ns, "cut", "cut"))]

    def forgot_after(self, t_ns: int) -> bool:
        """Tell whether a task that ended after this time is not kept any more."""
        return len(self.bars) == self.bars.maxlen and self.bars[0].start_ns > t_ns

    def columns(self, now_ns: int) -> np.ndarray:
        """Return what it shows in each column, the oldest first, as indices of the palette."""
        now = now_ns // _COLUMN_NS
        self._clear_up_to(now)
        shown = self._columns
        running = [bar for bar in self.open.values() if bar.end_ns is None]
        if running:
            shown = shown.copy()
            for bar in running:
                shown[_span(bar.start_ns // _COLUMN_NS, now, now)] = _NAMES[bar.look]
        rolled = np.roll(shown, -(now + 1) % COLUMNS)
        return self._within_life(rolled, now)

    def _within_life(self, columns: np.ndarray, now: int) -> np.ndarray:
        first = max(0, self.born_ns // _COLUMN_NS - (now - COLUMNS + 1))
        end = self.died_ns // _COLUMN_NS if self.died_ns is not None else now
        last = min(COLUMNS, end - (now - COLUMNS + 1) + 1)
        alive = columns[first : max(first, last)]
        alive[alive == 0] = _NAMES["idle"]
        return columns

    def _paint(self, start_ns: int, end_ns: int, look: str) -> None:
        last = end_ns // _COLUMN_NS
        self._clear_up_to(last)
        self._columns[_span(start_ns // _COLUMN_NS, last, self._painted)] = _NAMES[look]

    def _clear_up_to(self, column: int) -> None:
        """Forget the columns that come round again."""
        if column > self._painted:
            self._columns[_span(self._painted + 1, column, column)] = 0
            self._painted = column


def _span(first: int, last: int, newest: int) -> np.ndarray:
    """Return the places of columns `first` to `last`, as far as the ring still has them."""
    return np.arange(max(first, newest - COLUMNS + 1), last + 1) % COLUMNS


def worker_of(ring: str) -> str:
    """Return the worker whose ring it is: its name is WORKER/PID-OPENED_NS."""
    return ring.rpartition("/")[0]


class Lanes:
    """All lanes of a side, in the order in which they were born."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, int], Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def get(self, ring: str, pid: int, tid: int, t_ns: int) -> Lane:
        """Return the lane of a thread of the process behind a ring."""
        lane = self._lanes.get((ring, tid))
        if lane is None:
            lane = self._lanes[ring, tid] = Lane(pid, tid, t_ns)
        return lane

    def find(self, ring: str, tid: int) -> Lane | None:
        """Return the lane of a thread, if it was seen before."""
        return self._lanes.get((ring, tid))

    def of_worker(self, worker: str) -> list[Lane]:
        """Return the lanes of all processes of a worker."""
        return [lane for (ring, _), lane in self._lanes.items() if worker_of(ring) == worker]

    def of_ring(self, ring: str) -> list[Lane]:
        """Return the lanes of a process."""
        return [lane for (name, _), lane in self._lanes.items() if name == ring]

    def drop_before(self, t_ns: int) -> None:
        """Forget the lanes that died before."""
        for key, lane in list(self._lanes.items()):
            if lane.died_ns is not None and lane.died_ns < t_ns:
                del self._lanes[key]

    def newest(self) -> list[list[float]]:
        """Return (thread, seconds on the run's clock) of the newest event of each living lane."""
        return [[lane.tid, lane.newest_ns / 1e9] for lane in self if lane.died_ns is None]

    def image(self, now_ns: int) -> np.ndarray:
        """Return all lanes as RGBA, a row a lane; Bokeh draws the first row lowest."""
        rows = [_PALETTE[lane.columns(now_ns)] for lane in self] or [np.zeros(COLUMNS, np.uint32)]
        return np.array(rows[::-1], np.uint32)
