"""What a page shows of a run: its sides, made from the entries of its history one by one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from poolproof.history.file import records
from poolproof.live.lanes import WINDOW_S, worker_of
from poolproof.live.measured import Measured
from poolproof.live.side import Happening, Side, State
from poolproof.live.tasks import NumberRange, Tasks
from poolproof_workers.contract import Event
from poolproof_workers.supervisor.celery_process import signal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from poolproof.live.lanes import Lane
    from poolproof_workers.contract import Entry

_FOREIGN: Final = -1


class Stage:
    """The present of a run, made from its entries one by one; forgets what is long over."""

    def __init__(self) -> None:
        self.run = ""
        self.sides: dict[str, Side] = {}
        self.plan = ""  #: its name: "compare", "crash", "demonstration"
        self.per_s: float | None = None  #: tasks a second, of a demonstration as it began
        self.phase = ""
        self.closed = False
        self.measured = Measured()
        self.tag = _FOREIGN
        self.tasks = Tasks()
        self.news_ns = 0  #: when the latest op came about; workers are sampled about once a second
        self._boot: str | None = None
        self._side_of_worker: dict[str, str] = {}
        self._kept: set[int] = set()  # what Celery, asked at the end, said that it has
        self._is_silent = False  # a worker did not answer then
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

    def clock(self, t_ns: int) -> str:
        """Return a time of the run as a clock on the wall shows it here; empty if not known."""
        if self._offset_ns is None:
            return ""
        unix_s, rest_ns = divmod(t_ns + self._offset_ns, 10**9)
        return f"{time.strftime('%H:%M:%S', time.localtime(unix_s))}.{rest_ns // 10**6:03d}"

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
            if tag == self.tag and number in self.tasks:
                self._record(side, entry.source, number, event, t_ns, pid, tid)

    def _record(  # noqa: PLR0913, PLR0917  the fields of a record
        self, side: Side, ring: str, number: int, event: int, t_ns: int, pid: int, tid: int
    ) -> None:
        match event:
            case Event.RECEIVED:
                self.tasks.receive(side, number, worker_of(ring))
            case Event.STARTED:
                lane = side.lanes.get(ring, pid, tid, t_ns)
                if number not in lane.open:
                    side.attempts[number] += 1
                lane.start(number, t_ns, poison=number in side.poison)
                self.measured.started(side.label, number, t_ns)
                self.tasks.run(side, number)
            case Event.FAULT:
                name = side.poison.setdefault(number, "a fault")
                side.happened.append(Happening(t_ns, "fault", name))
            case Event.REVOKED | Event.REPORTED:
                self.tasks.report(side, number)
            case _ if event in _ENDS:
                self._ended(side, ring, number, event, t_ns, tid)

    def _ended(  # noqa: PLR0913, PLR0917
        self, side: Side, ring: str, number: int, event: int, t_ns: int, tid: int
    ) -> None:
        state = _ENDS[event]
        look = "" if state is State.COMPLETED else "failed"
        lane = side.lanes.find(ring, tid)
        bar = lane.end(number, t_ns, state.name.lower(), look) if lane else None
        if bar is not None:
            self._close(side, number)
            if state is State.COMPLETED:
                side.series.ended(t_ns, (t_ns - bar.start_ns) / 1e9)
                self.measured.ended(side.label, number, t_ns)
        self.tasks.settle(side, number, state)

    def _close(self, side: Side, number: int) -> None:
        side.attempts[number] -= 1
        if not side.attempts[number]:
            del side.attempts[number]

    # --- ops ----------------------------------------------------------------------------------

    def _begin(self, _worker: str, op: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.run, self.tag, self._boot = op["run"], op["tag"], op.get("boot")
        plan = op.get("plan") or {}
        self.plan, self.per_s = plan.get("name") or "", plan.get("per_s")

    def _hello(self, worker: str, op: dict[str, Any]) -> None:
        self._side_of_worker[worker] = op["side"]
        side = self._side(op["side"])
        side.pool = op.get("pool") or side.pool
        side.concurrency = op.get("concurrency") or side.concurrency

    def _up(self, worker: str, op: dict[str, Any]) -> None:
        label = op.get("side") or self._side_of_worker.get(worker)
        if label:
            self._side_of_worker[worker] = label
            if op["op"] == "worker-up":
                # One life at a time: whoever starts one need not have seen the end of another.
                self._end_life(self._side(label), worker, op["t_ns"])
            kind = "ready" if op["op"] == "worker-ready" else "up"
            self._side(label).happened.append(Happening(op["t_ns"], kind, worker))

    def _enqueued(self, _worker: str, op: dict[str, Any]) -> None:
        side = self._side(op["side"])
        self.tasks.enqueue(side, op["first"], op["count"])
        side.poison |= {int(number): fault for number, fault in (op.get("faults") or {}).items()}

    def _block(self, _worker: str, op: dict[str, Any]) -> None:
        self._side(op["side"]).workload = op["workload"]
        self.tasks.stretches.append(NumberRange(op["first"], op["side"], bool(op.get("events"))))
        self.measured.begin(op)

    def _exit(self, worker: str, op: dict[str, Any]) -> None:
        side = self.sides.get(self._side_of_worker.get(worker, ""))
        if side is None:
            return
        cut = self._end_life(side, worker, op["t_ns"])
        if not op.get("asked"):
            side.happened.append(Happening(op["t_ns"], "exit", _cause(op), tuple(cut)))

    def _gone(self, worker: str, op: dict[str, Any]) -> None:
        side = self.sides.get(self._side_of_worker.get(worker, ""))
        if side is None:
            return
        alive = [lane for lane in side.lanes.of_ring(op["ring"]) if lane.died_ns is None]
        busy = any(lane.open for lane in alive)
        cut = [number for lane in alive for number in self._die(side, lane, op["t_ns"])]
        if busy:
            side.happened.append(Happening(op["t_ns"], "child", str(op["pid"]), tuple(cut)))

    def _end_life(self, side: Side, worker: str, t_ns: int) -> list[int]:
        """End all lanes of a worker; return the innocent tasks that they take along."""
        side.left |= {number for number, holder in side.holders.items() if holder == worker}
        alive = [
            lane
            for lane in side.lanes.of_worker(worker)
            if lane.died_ns is None and lane.born_ns < t_ns
        ]
        return [number for lane in alive for number in self._die(side, lane, t_ns)]

    def _die(self, side: Side, lane: Lane, t_ns: int) -> list[int]:
        """End a lane; return the innocent tasks that it took along, also if that was reported."""
        cut = [bar.number for bar in lane.die(t_ns)]
        for number in cut:
            self._close(side, number)
            self.tasks.settle(side, number, State.CUT)
        return [number for number in cut if number not in side.poison]

    def _clock(self, _worker: str, op: dict[str, Any]) -> None:
        if op.get("boot") == self._boot:  # the clock that the page shows
            self._offset_ns = op["offset_ns"]

    def _broker(self, _worker: str, op: dict[str, Any]) -> None:
        """Learn which interrupted tasks have a copy left, and when it is due."""
        side = self._side(op["side"])
        seen = [(int(number), float(taken)) for number, taken in op.get("unacked") or ()]
        held = {number: taken for number, taken in seen if number in self.tasks}
        queued = {n for first, last in op.get("queue") or () for n in range(first, last + 1)}
        # What was acknowledged early may have been lost before its beginning was recorded.
        for number in self.tasks.in_state(side, State.CUT) + sorted(side.left):
            if number in held:
                self.tasks.put(side, number, State.STRANDED)
            elif number in queued:
                self.tasks.put(side, number, State.QUEUED)
            elif op.get("reason") in {"worker-exit", "end"} and number not in self._kept:
                self.tasks.put(side, number, State.LOST)
        for number in self.tasks.in_state(side, State.STRANDED):
            if number in queued and number not in held:
                self.tasks.put(side, number, State.QUEUED)
        if op.get("reason") == "end":
            self._not_failed_yet(side, held, queued)
        self._note_due(side, held, op)
        if op.get("reason") == "end" and op.get("stable", True) and not self._is_silent:
            copies = self._kept.union(held, queued)
            waiting = [n for state in _WAITING for n in self.tasks.in_state(side, state)]
            side.missing = [number for number in waiting if number not in copies]

    def _not_failed_yet(self, side: Side, held: Container[int], queued: Container[int]) -> None:
        """Whoever was said to have failed, and has a copy left, will run again."""
        for number in self.tasks.only_reported(side):
            if number in queued:
                self.tasks.put(side, number, State.QUEUED)
            elif number in held:
                is_kept = number in self._kept
                self.tasks.put(side, number, State.PREFETCHED if is_kept else State.STRANDED)

    def _note_due(self, side: Side, held: dict[int, float], op: dict[str, Any]) -> None:
        wait_s = (op.get("visibility_timeout_s") or 0) + (op.get("sweep_s") or 0)
        for number, taken in held.items():
            if self.tasks.state_of(number) == State.STRANDED and self._offset_ns is not None:
                side.due_ns[number] = round((taken + wait_s) * 1e9) - self._offset_ns

    def _sample(self, worker: str, op: dict[str, Any]) -> None:
        side = self.sides.get(self._side_of_worker.get(worker, ""))
        used = op.get("pss_bytes") or op.get("rss_bytes")
        if side is not None and used:
            side.series.sampled(op["t_ns"], used - (op.get("ring_bytes") or 0))

    def _phase(self, _worker: str, op: dict[str, Any]) -> None:
        self.phase = op.get("name") or ""

    def _celery(self, _worker: str, op: dict[str, Any]) -> None:
        self._kept.update(op["active"], op["reserved"])
        self._is_silent = self._is_silent or not op["answered"]

    def _closed(self, _worker: str, op: dict[str, Any]) -> None:
        self.closed = True
        for side in self.sides.values():
            # Whoever had taken it died before that was recorded; a hole would explain it too.
            for number in side.missing if op.get("complete") else ():
                self.tasks.put(side, number, State.LOST)

    # --- parts --------------------------------------------------------------------------------

    def _side(self, label: str) -> Side:
        if label not in self.sides:
            # In one order whoever comes first: a page must not change sides from run to run.
            self.sides = dict(sorted({**self.sides, label: Side(label)}.items()))
        return self.sides[label]


def _cause(end: dict[str, Any]) -> str:
    """Say what ended a worker. Who came after a container that was killed does not know it."""
    if (number := end.get("signal")) is not None:
        return signal_name(number)
    if (code := end.get("code")) is not None:
        return f"exit code {code}"
    return "a cause that nobody was left to see"


_WAITING: Final = (State.QUEUED, State.PREFETCHED, State.STRANDED)
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
    "celery": Stage._celery,  # noqa: SLF001
    "closed": Stage._closed,  # noqa: SLF001
}
