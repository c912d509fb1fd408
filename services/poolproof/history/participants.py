"""Who took part: the workers, as their supervisors' ops describe them, and the rings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: A time after all others: it did not happen, or not yet.
NEVER: Final = (1 << 63) - 1


@dataclass(slots=True)
class Source:
    """One ring: the process behind it, and the attempts that it has begun and not ended."""

    index: int
    name: str
    worker: str
    pid: int
    opened_ns: int  #: on the clock of its worker's host
    shift_ns: int = 0  #: what to add to times on that clock
    taken: int = 0  #: highest sequence
    last_ns: int = 0  #: time of the last record
    gone: bool = False  #: its process has ended
    gone_ns: int = NEVER  #: at this time at the latest
    accounted: bool = False  #: its supervisor said so, ring in hand
    written: int | None = None  #: records in the ring at its end, if the supervisor said so
    #: (number, native thread id) -> time of the start
    open: dict[tuple[int, int], int] = field(default_factory=dict)
    #: number -> attempts that must have ended, though their end was never recorded
    unended: Counter[int] = field(default_factory=Counter)
    #: native thread ids that have finished a task
    finished: set[int] = field(default_factory=set)

    @classmethod
    def parse(cls, index: int, name: str, worker: str) -> Source:
        """Read a ring's name, WORKER/PID-OPENED_NS; a name of another form gives pid 0."""
        pid, _, opened = name.rpartition("/")[2].partition("-")
        is_ring = pid.isdecimal() and opened.isdecimal()
        return cls(index, name, worker, int(pid) if is_ring else 0, int(opened) if is_ring else 0)

    @property
    def since_ns(self) -> int:
        """When it was opened, on the producer's clock: it holds nothing of before; 0: not known."""
        return self.opened_ns + self.shift_ns if self.opened_ns else 0


@dataclass(frozen=True, slots=True)
class Unseen:
    """A life of a worker that ended while no supervisor was there to see when and how."""

    main: int  #: pid of its main process
    after_ns: int  #: then it was seen to live
    before_ns: int  #: then it was over
    unread_ns: int  #: since then it may have recorded what never came
    was_ready: bool  #: it may have recorded anything at all


@dataclass(slots=True)
class Worker:
    """What is known of one worker so far."""

    name: str
    side: str = ""
    pool: str = ""
    concurrency: int = 0
    policies: set[str] = field(default_factory=set)  #: that it had in this run
    mains: set[int] = field(default_factory=set)  #: pids of Celery's main process, of all lives
    life: int = 0
    pid: int | None = None  #: of Celery's main process, None while there is none
    greeted: bool = False  #: it said `hello` in this run
    ready: bool = False
    exits: int = 0
    visibility_timeout_s: float | None = None
    sweep_s: float | None = None
    #: ring -> records that it held before this run
    rings_before: dict[str, int] = field(default_factory=dict)
    flushed: dict[str, Any] | None = None  #: its last `flushed` op
    took_tasks: bool = False  #: it was ready by then
    up_ns: int = 0  #: when its present life began
    main: int | None = None  #: pid of Celery's main process in the last life that has not ended
    main_life: int = 0  #: the number of that life
    was_ready: bool = False  #: that life has said that it takes tasks
    unseen: list[Unseen] = field(default_factory=list)
    #: (from, to) between which a process of it was not recorded; to NEVER if it may still live
    blind: list[tuple[int, int]] = field(default_factory=list)

    @property
    def acks_early(self) -> bool:
        """Whether all that it ran it acknowledged first."""
        return self.policies == {"early"} and self.can_ack_early

    @property
    def can_ack_early(self) -> bool:
        """Whether the policy decides: solo acknowledges a task after it ran, whatever that says."""
        return self.pool.partition(":")[0] != "solo"


class Participants:
    """The workers and the sources of a run, kept up to date by `take`."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.sources: dict[str, Source] = {}
        self._of_worker: dict[str, list[Source]] = {}
        #: Those that no end of a life has been said of.
        self._open: dict[str, list[Source]] = {}

    def worker(self, name: str) -> Worker:
        """Return what is known of a worker, to be filled in."""
        return self.workers.setdefault(name, Worker(name))

    def source(self, name: str, worker: str) -> Source:
        """Return a ring by its name."""
        found = self.sources.get(name)
        if found is None:
            found = self.sources[name] = Source.parse(len(self.sources), name, worker)
            for of in (self._of_worker, self._open):
                of.setdefault(worker, []).append(found)
        return found

    def sources_of(self, worker: str) -> list[Source]:
        """Return the rings of a worker."""
        return list(self._of_worker.get(worker, ()))

    def present(self) -> list[Source]:
        """Return the rings that no end of their worker's life has been said of."""
        return [source for rings in self._open.values() for source in rings]

    def side_of(self, source: Source) -> str:
        """Return the side whose tasks a source's process runs; empty if nobody said."""
        worker = self.workers.get(source.worker)
        return worker.side if worker else ""

    def take(self, op: dict[str, Any], t_ns: int) -> None:
        """Learn from an op that happened at `t_ns`; one about no worker is passed over."""
        change = _CHANGES.get(op["op"])
        if change is not None:
            change(self, self.worker(op["worker"]), op, t_ns)

    def _hello(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        if not worker.greeted:
            worker.rings_before = dict(op.get("rings") or {})
        worker.greeted = True
        worker.flushed = None  # an earlier supervisor's last word is not this one's
        worker.side = op["side"]
        worker.pool = op.get("pool", "")
        worker.concurrency = op.get("concurrency", 0)
        worker.visibility_timeout_s = op.get("visibility_timeout_s")
        worker.sweep_s = op.get("sweep_s")
        self._begin_life(worker, op, t_ns)
        worker.ready = worker.ready or worker.pid is not None
        worker.was_ready = worker.was_ready or worker.ready

    def _up(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        worker.side = op.get("side", worker.side)
        is_other = worker.main != op.get("pid") or t_ns > worker.up_ns > 0
        if worker.main is not None and is_other:
            # A worker has one life at a time, and nobody is left who saw the end of the other: this
            # is said before all else of a life, so a pid that comes again is another process's, in
            # a container that was made anew. Who counts on from the other found its folder: a ring
            # that is not there never was.
            gone = op.get("life", 0) <= worker.main_life
            self._end_unseen(worker, worker.main, op, t_ns, was_ready=gone)
            self._end_life(worker, op, t_ns)
        worker.was_ready = False
        self._begin_life(worker, op, t_ns)
        # Also if its number is that of another life: a worker whose folder is gone counts anew.
        worker.up_ns = t_ns

    def _begin_life(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        # A supervisor that has started nothing yet begins no life: the one before may not be over.
        if op.get("pid") is not None and (op.get("life") != worker.life or not worker.up_ns):
            worker.up_ns = t_ns
        worker.ready = worker.ready and op.get("pid") == worker.pid
        worker.life = op.get("life") or worker.life
        worker.pid = op.get("pid")
        if worker.pid is not None:
            worker.main, worker.main_life = worker.pid, worker.life
            worker.mains.add(worker.pid)
        if policy := (op.get("settings") or {}).get("POOLPROOF_POLICY"):
            worker.policies.add(policy)

    def _ready(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        self._begin_life(worker, op, t_ns)
        worker.ready = worker.was_ready = True

    def _exit(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        worker.exits += 1
        if worker.pid in {None, op.get("pid")}:
            worker.pid = None
            worker.ready = False
        if op.get("code") is None and op.get("signal") is None:
            # Whoever says so found the folder as it was left. Of a life that nobody had spoken of
            # before, a ring that is not there now never was.
            known = worker.main == op["pid"]
            self._end_unseen(worker, op["pid"], op, t_ns, was_ready=known and worker.was_ready)
        self._end_life(worker, op, t_ns)

    def _end_unseen(
        self, worker: Worker, main: int, op: dict[str, Any], t_ns: int, *, was_ready: bool
    ) -> None:
        last_ns = [each.last_ns for each in self._of_life(worker, op) if not each.gone]
        unread_ns, seen_ns = min(last_ns, default=worker.up_ns), max(last_ns, default=worker.up_ns)
        worker.unseen.append(Unseen(main, seen_ns, t_ns, unread_ns, was_ready))

    def _of_life(self, worker: Worker, op: dict[str, Any]) -> list[Source]:
        """Return the rings of the life that `op` ends."""
        # A process of the next life has not opened its ring yet.
        return [each for each in self._open.get(worker.name, ()) if each.opened_ns < op["t_ns"]]

    def _end_life(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        worker.main = None
        worker.blind = [(begin, min(end, t_ns)) for begin, end in worker.blind]
        for source in self._of_life(worker, op):
            # Its children end with it.
            source.gone = True
            source.gone_ns = min(source.gone_ns, t_ns)
        rest = [each for each in self._open.get(worker.name, ()) if each.opened_ns >= op["t_ns"]]
        self._open[worker.name] = rest

    def _gone(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        source = self.source(op["ring"], worker.name)
        source.shift_ns = t_ns - op["t_ns"]
        source.gone = source.accounted = True
        source.gone_ns = min(source.gone_ns, t_ns)
        source.written = op.get("written")

    def _flushed(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:  # noqa: ARG002
        worker.flushed = op
        worker.took_tasks = worker.ready

    def _blind(self, worker: Worker, op: dict[str, Any], t_ns: int) -> None:
        # It was noticed now; the process may be as old as this life of the worker.
        del op
        worker.blind.append((min(worker.up_ns, t_ns), NEVER))


_CHANGES: Final[dict[str, Callable[[Participants, Worker, dict[str, Any], int], None]]] = {
    "hello": Participants._hello,  # noqa: SLF001
    "worker-up": Participants._up,  # noqa: SLF001
    "worker-ready": Participants._ready,  # noqa: SLF001
    "worker-exit": Participants._exit,  # noqa: SLF001
    "process-gone": Participants._gone,  # noqa: SLF001
    "flushed": Participants._flushed,  # noqa: SLF001
    "blind": Participants._blind,  # noqa: SLF001
}
