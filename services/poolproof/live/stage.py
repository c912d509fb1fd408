"""What a page shows of a run: every side's tasks by state, its lanes, and what befell it."""

from __future__ import annotations

import signal
from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from poolproof.collect.history import records
from poolproof.live.lanes import WINDOW_S, Lanes
from poolproof.live.series import Series
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof_workers.contract import Entry

_EVENTS: Final = 200
_FOREIGN: Final = -1


@dataclass(frozen=True, slots=True)
class Stretch:
    """The numbers that a block was given: from `first` to where the next stretch begins."""

    first: int
    side: str
    events: bool  #: Celery's task events were on


class State(IntEnum):
    """Where a task is, as far as the history says: every enqueued task is in exactly one."""

    QUEUED = 1
    PREFETCHED = 2
    RUNNING = 3
    COMPLETED = 4
    REPEATED = 5
    FAILED = 6
    CUT = 7  #: interrupted; whether a copy is left is not known yet
    STRANDED = 8  #: its worker is gone, its copy lies in `unacked`
    LOST = 9  #: interrupted, and when the broker was read after that no copy was left


#: States in which a task that is received or started again leaves.
_OPEN: Final = {State.QUEUED, State.PREFETCHED, State.CUT, State.STRANDED, State.LOST}


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that befell a side."""

    t_ns: int
    kind: str  #: "fault", "exit" (of the worker), "child" (of its pool), "up" or "ready"
    what: str  #: a fault, a signal or exit code, a pid, a worker
    cut: tuple[int, ...] = ()  #: innocent tasks that it interrupted


@dataclass(slots=True)
class Side:
    """One side of the run."""

    label: str
    pool: str = ""
    concurrency: int = 0
    counts: Counter[State] = field(default_factory=Counter)
    lanes: Lanes = field(default_factory=Lanes)
    series: Series = field(default_factory=Series)
    happened: deque[Happening] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    due_ns: dict[int, int] = field(default_factory=dict)  #: stranded task -> due, monotonic
    poison: dict[int, str] = field(default_factory=dict)
    poison_lost: int = 0  #: of those that are lost; the rest are innocent
    workload: str = ""

    @property
    def enqueued(self) -> int:
        """Tasks that this side was given: the sum of its books."""
        return sum(self.counts.values())


class Stage:
    """The present of a run, made from its entries one by one; forgets what is long over."""

    def __init__(self) -> None:
        self.run = ""
        self.sides: dict[str, Side] = {}
        self.phase = ""
        self.closed = False
        self.tag = _FOREIGN
        self.stretches: list[Stretch] = []
        self.news_ns = 0  #: when the latest op came about; workers are sampled about once a second
        self._states = bytearray()  # by number: a byte a task, so that hours of running fit
        self._side_of_worker: dict[str, str] = {}
        self._offset_ns: int | None = None  # Redis's Unix time - monotonic

    def take(self, entry: Entry) -> None:
        """Learn from an entry."""
        if entry.kind == "op":
            op = entry.op
            self.news_ns = max(self.news_ns, op.get("t_ns", 0))
            act = _ACTS.get(op["op"])
            if act is not None:
                act(self, entry.worker, op)
            return
        side = self.sides.get(self._side_of_worker.get(entry.worker, ""))
        if side is not None:
            self._records(side, entry)

    def states(self, first: int) -> bytes:
        """Return the state of each task from number `first` on; 0: no task has that number."""
        return bytes(self._states[first:])

    @property
    def end(self) -> int:
        """The number after the last that a task has."""
        return len(self._states)

    def forget_before(self, t_ns: int) -> None:
        """Drop what no plot shows any more."""
        for side in self.sides.values():
            side.lanes.drop_before(t_ns - round(WINDOW_S * 1e9))
            side.series.drop_before(t_ns)

    # --- records ------------------------------------------------------------------------------

    def _records(self, side: Side, entry: Entry) -> None:
        found = records(entry)
        columns = (
            found[name].tolist() for name in ("number", "tag", "event", "t_ns", "pid", "tid")
        )
        for number, tag, event, t_ns, pid, tid in zip(*columns, strict=True):
            if tag == self.tag and number < len(self._states) and self._states[number]:
                self._record(side, entry.source, number, event, t_ns, pid, tid)

    def _record(  # noqa: PLR0913, PLR0917  the fields of a record
        self, side: Side, ring: str, number: int, event: int, t_ns: int, pid: int, tid: int
    ) -> None:
        match event:
            case Event.RECEIVED:
                if self._states[number] in _OPEN:
                    self._put(side, number, State.PREFETCHED)
            case Event.STARTED:
                if self._states[number] in _OPEN:
                    self._put(side, number, State.RUNNING)
                lane = side.lanes.get(ring, pid, tid, t_ns)
                lane.start(number, t_ns, poison=number in side.poison)
            case Event.FAULT:
                name = side.poison.setdefault(number, "a fault")
                side.happened.append(Happening(t_ns, "fault", name))
            case Event.REVOKED | Event.REPORTED:
                if self._states[number] not in {State.COMPLETED, State.REPEATED}:
                    self._put(side, number, State.FAILED)
            case _:
                self._ended(side, ring, number, event, t_ns, pid, tid)

    def _ended(  # noqa: PLR0913, PLR0917
        self, side: Side, ring: str, number: int, event: int, t_ns: int, pid: int, tid: int
    ) -> None:
        state = _ENDS.get(event)
        if state is None:
            return
        bar = side.lanes.get(ring, pid, tid, t_ns).end(
            number, t_ns, state.name.lower(), "" if state is State.COMPLETED else "failed"
        )
        if bar is not None and state is State.COMPLETED:
            side.series.ended(t_ns, (t_ns - bar.start_ns) / 1e9)
        done = self._states[number] in {State.COMPLETED, State.REPEATED}
        if done and state is State.COMPLETED:
            self._put(side, number, State.REPEATED)
        elif not done:
            self._put(side, number, state)

    def _put(self, side: Side, number: int, state: State) -> None:
        before = self._states[number]
        if before == state:
            return
        side.counts[State(before)] -= 1
        side.counts[state] += 1
        self._states[number] = state
        if before == State.STRANDED:
            side.due_ns.pop(number, None)
        if number in side.poison:
            side.poison_lost += (state == State.LOST) - (before == State.LOST)

    # --- ops ----------------------------------------------------------------------------------

    def _begin(self, _worker: str, op: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.run, self.tag = op["run"], op["tag"]

    def _hello(self, worker: str, op: dict[str, Any]) -> None:
        self._side_of_worker[worker] = op["side"]
        side = self._side(op["side"])
        side.pool = op.get("pool") or side.pool
        side.concurrency = op.get("concurrency") or side.concurrency

    def _up(self, worker: str, op: dict[str, Any]) -> None:
        label = op.get("side") or self._side_of_worker.get(worker)
        if label:
            self._side_of_worker[worker] = label
            kind = "ready" if op["op"] == "worker-ready" else "up"
            self._side(label).happened.append(Happening(op["t_ns"], kind, worker))

    def _enqueued(self, _worker: str, op: dict[str, Any]) -> None:
        first, count = op["first"], op["count"]
        side = self._side(op["side"])
        # Numbers may have been given to a block that has not sent them yet: they are no tasks.
        self._states += bytes(max(0, first + count - len(self._states)))
        self._states[first : first + count] = bytes([State.QUEUED]) * count
        side.counts[State.QUEUED] += count
        side.poison |= {int(number): fault for number, fault in (op.get("faults") or {}).items()}

    def _block(self, _worker: str, op: dict[str, Any]) -> None:
        self._side(op["side"]).workload = op["workload"]
        self.stretches.append(Stretch(op["first"], op["side"], bool(op.get("events"))))

    def _exit(self, worker: str, op: dict[str, Any]) -> None:
        side = self.sides.get(self._side_of_worker.get(worker, ""))
        if side is None:
            return
        alive = [one for one in side.lanes if one.died_ns is None and one.born_ns < op["t_ns"]]
        cut = [number for lane in alive for number in self._die(side, lane, op["t_ns"])]
        if not op.get("asked"):
            number = op.get("signal")
            what = signal.Signals(number).name if number else f"exit code {op.get('code')}"
            side.happened.append(Happening(op["t_ns"], "exit", what, tuple(cut)))

    def _gone(self, worker: str, op: dict[str, Any]) -> None:
        side = self.sides.get(self._side_of_worker.get(worker, ""))
        if side is None:
            return
        alive = [lane for lane in side.lanes.of_ring(op["ring"]) if lane.died_ns is None]
        busy = any(lane.open for lane in alive)
        cut = [number for lane in alive for number in self._die(side, lane, op["t_ns"])]
        if busy:
            side.happened.append(Happening(op["t_ns"], "child", str(op["pid"]), tuple(cut)))

    def _die(self, side: Side, lane: Any, t_ns: int) -> list[int]:
        """End a lane; return the innocent tasks that it took along."""
        cut = []
        for bar in lane.die(t_ns):
            if self._states[bar.number] == State.RUNNING:
                self._put(side, bar.number, State.CUT)
                if bar.number not in side.poison:
                    cut.append(bar.number)
        return cut

    def _clock(self, _worker: str, op: dict[str, Any]) -> None:
        self._offset_ns = op["offset_ns"]

    def _broker(self, _worker: str, op: dict[str, Any]) -> None:
        """Learn which interrupted tasks have a copy left, and when it is due."""
        side = self._side(op["side"])
        held = {int(number): float(taken) for number, taken in op.get("unacked") or ()}
        queued = {n for first, last in op.get("queue") or () for n in range(first, last + 1)}
        wait_s = (op.get("visibility_timeout_s") or 0) + (op.get("sweep_s") or 0)
        gone = op.get("reason") == "worker-exit"
        for number, taken in held.items():
            if number >= len(self._states) or not self._states[number]:
                continue
            stale = gone and self._states[number] == State.PREFETCHED
            if self._states[number] == State.CUT or stale:
                self._put(side, number, State.STRANDED)
            if self._states[number] == State.STRANDED and self._offset_ns is not None:
                side.due_ns[number] = round((taken + wait_s) * 1e9) - self._offset_ns
        if op.get("reason") in {"worker-exit", "end"}:
            # What was acknowledged early may have been lost before its beginning was recorded.
            doubtful = self._in_state(side, State.CUT) + self._in_state(side, State.PREFETCHED)
            if op["reason"] == "end" and op.get("stable", True):
                # And a message that was taken, before it was kept: its worker died between the two.
                doubtful += self._in_state(side, State.QUEUED)
            for number in doubtful:
                copies = number in held or number in queued
                if self._states[number] == State.CUT or not copies:
                    self._put(side, number, State.STRANDED if copies else State.LOST)

    def _sample(self, worker: str, op: dict[str, Any]) -> None:
        side = self.sides.get(self._side_of_worker.get(worker, ""))
        used = op.get("pss_bytes") or op.get("rss_bytes")
        if side is not None and used:
            side.series.sampled(op["t_ns"], used - (op.get("ring_bytes") or 0))

    def _phase(self, _worker: str, op: dict[str, Any]) -> None:
        self.phase = op.get("name") or ""

    def _closed(self, _worker: str, _op: dict[str, Any]) -> None:
        self.closed = True

    # --- parts --------------------------------------------------------------------------------

    def _side(self, label: str) -> Side:
        if label not in self.sides:
            # In one order whoever comes first: a page must not change sides from run to run.
            self.sides = dict(sorted({**self.sides, label: Side(label)}.items()))
        return self.sides[label]

    def _in_state(self, side: Side, state: State) -> list[int]:
        """Return a side's tasks in a rare state, among the last that were enqueued."""
        if not side.counts[state]:
            return []
        found, at = [], self._states.find(state)
        while at >= 0:
            if self._owner(at) == side.label:
                found.append(at)
            at = self._states.find(state, at + 1)
        return found

    def _owner(self, number: int) -> str:
        return self.stretches[bisect_right(self.stretches, number, key=lambda s: s.first) - 1].side


_ENDS: Final = {
    int(Event.SUCCEEDED): State.COMPLETED,
    int(Event.FAILED): State.FAILED,
    int(Event.RETRIED): State.QUEUED,
    int(Event.ABANDONED): State.CUT,
}
_ACTS: Final[dict[str, Callable[[Stage, str, dict[str, Any]], None]]] = {
    "run-begin": Stage._begin,  # noqa: SLF001
    "hello": Stage._hello,  # noqa: SLF001
    "worker-up": Stage._up,  # noqa: SLF001
    "worker-ready": Stage._up,  # noqa: SLF001
    "worker-exit": Stage._exit,  # noqa: SLF001
    "process-gone": Stage._gone,  # noqa: SLF001
    "enqueued": Stage._enqueued,  # noqa: SLF001
    "block-begin": Stage._block,  # noqa: SLF001
    "broker": Stage._broker,  # noqa: SLF001
    "clock": Stage._clock,  # noqa: SLF001
    "sample": Stage._sample,  # noqa: SLF001
    "phase": Stage._phase,  # noqa: SLF001
    "closed": Stage._closed,  # noqa: SLF001
}
