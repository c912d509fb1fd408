"""A model of Celery on Redis that knows the truth, and the history that poolproof would make of it.

It shares no code with the judge: the truth is kept as what really happened to each message and
attempt, not as counts of records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolproof.history.file import HistoryWriter
from poolproof_workers.contract import RECORD, Entry, Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAG = 0xABCDEF
RUN = f"20260101-000000-{TAG:08x}"
SIDE = "model"
BOOT = "boot"
#: Redis's Unix time minus the monotonic clock.
OFFSET_NS = 1_700_000_000_000_000_000
MS = 1_000_000


@dataclass
class Ring:
    name: str
    pid: int
    records: list[bytes] = field(default_factory=list)
    alive: bool = True
    erased: bool = False  #: deleted before anybody could say how much was in it


@dataclass
class Delivery:
    """One message in `unacked`, and what its worker does with it."""

    number: int
    taken_ns: int
    main: Ring  #: the process that took it
    state: str = "waiting"  #: waiting, running, cut, abandoned, ended, forgotten
    acked: bool = False
    acked_ns: int = 0
    out_of_reach: bool = False  #: the connection that it came by is gone: nothing goes back by it


@dataclass
class Slot:
    ring: Ring
    tid: int
    runs: Delivery | None = None


@dataclass
class Worker:
    name: str
    main: Ring
    slots: list[Slot]
    life: int = 1
    cut: dict[str, int] | None = None  #: while its network is down: ring -> records that had come
    unsent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  #: ops since then


@dataclass
class Fate:
    """The truth about a task."""

    successes: int = 0
    failures: int = 0
    cut: int = 0
    reported: bool = False
    last: str = ""  #: where it was when a process that had it died, if that was the last of it


class Model:
    """One side with some workers. Every method is a thing that can happen; an impossible one is not
    done."""

    def __init__(
        self, pool: str, policy: str, workers: int = 1, concurrency: int = 2, timeout_s: float = 5.0
    ) -> None:
        self.now_ns = 1_000_000 * MS
        self.pool, self.policy, self.timeout_s = pool, policy, timeout_s
        self.concurrency = concurrency
        self.tasks: list[Fate] = []
        self.queue: list[int] = []
        self.deliveries: list[Delivery] = []
        self.rings: list[Ring] = []
        self.ops: list[tuple[str, dict[str, Any]]] = []  #: (who wrote it, op)
        self.blocks = 0
        self.hangs = False  #: its workers live, and answer nobody
        self._pid = 100
        self.workers: list[Worker] = []
        self._op("producer", op="run-begin", run=RUN, tag=TAG, plan=None, machine={}, versions={})
        self._op("producer", op="clock", offset_ns=OFFSET_NS, error_ns=1000)
        self.workers = [self._worker(f"model-{index}@host") for index in range(workers)]
        for worker in self.workers:
            self._hello(worker)

    # --- what can happen --------------------------------------------------------------------------

    def enqueue(
        self, count: int, poison: dict[int, str] | None = None, *, measured: bool = False
    ) -> None:
        """A block of tasks; `poison` names the fault of a number."""
        first = len(self.tasks)
        place = {"block": self.blocks, "side": SIDE, "first": first, "count": count}
        work = {"workload": "square", "warmup": False, "measured": measured, "parameters": {}}
        self._op("producer", op="block-begin", **place, **work)
        faults = {"faults": {str(number): fault for number, fault in (poison or {}).items()}}
        self._op("producer", op="enqueued", begin_ns=self.now_ns, interval_ns=0, **place, **faults)
        self._op("producer", op="block-end", block=self.blocks, drained=True)
        self.blocks += 1
        self.tasks += [Fate() for _ in range(count)]
        self.queue += range(first, first + count)

    def wait(self, ms: int) -> None:
        self.now_ns += ms * MS

    def receive(self, worker: Worker, *, dies: bool = False) -> None:
        """The worker takes a message; `dies` between taking it and writing `unacked`."""
        if not self.queue or worker.cut is not None:
            return
        number = self.queue.pop(0)
        if dies:
            self.tasks[number].last = "fetched"
            self.kill(worker)
            return
        self._tick()
        self.deliveries.append(Delivery(number, self.now_ns, worker.main))
        self._record(worker.main, worker.main.pid, number, Event.RECEIVED)

    def start(self, worker: Worker, *, dies: bool = False) -> None:
        """A slot begins a task; `dies` between the early acknowledgement and the task."""
        waiting = [d for d in self.deliveries if d.main is worker.main and d.state == "waiting"]
        free = [slot for slot in worker.slots if slot.runs is None]
        if not waiting or not free:
            return
        delivery, slot = waiting[0], free[0]
        if self.policy == "early":
            self._ack(delivery)
            self.tasks[delivery.number].last = "acknowledged"
        if dies:
            self.kill(worker)
            return
        self.tasks[delivery.number].last = "interrupted"
        delivery.state, slot.runs = "running", delivery
        self._record(slot.ring, slot.tid, delivery.number, Event.STARTED)

    def end(self, worker: Worker, index: int, event: Event, *, dies: bool = False) -> None:
        """A slot ends its task; the worker `dies` before a late acknowledgement."""
        busy = [slot for slot in worker.slots if slot.runs]
        if not busy:
            return
        slot = busy[index % len(busy)]
        delivery = slot.runs
        assert delivery is not None
        fate = self.tasks[delivery.number]
        self._record(slot.ring, slot.tid, delivery.number, event)
        slot.runs = None
        fate.successes += event == Event.SUCCEEDED
        fate.failures += event == Event.FAILED
        if event == Event.ABANDONED:
            delivery.state = "abandoned"
            fate.cut += 1
        else:
            delivery.state = "ended"
        if dies:
            self.kill(worker)
        elif event != Event.ABANDONED:
            self._ack(delivery)

    def retry(self, worker: Worker, index: int) -> None:
        """A task asks for another attempt: its slot sends a message for it, and ends."""
        busy = [slot for slot in worker.slots if slot.runs]
        if not busy or worker.cut is not None:
            return
        slot = busy[index % len(busy)]
        assert slot.runs is not None
        self._record(slot.ring, slot.tid, slot.runs.number, Event.RETRIED)
        self.queue.append(slot.runs.number)
        self._ack(slot.runs)
        slot.runs.state, slot.runs = "ended", None

    def refuse(self, worker: Worker) -> None:
        """The task that waits first was revoked: it is thrown away instead of begun."""
        waiting = [d for d in self._live_deliveries(worker) if d.state == "waiting"]
        if waiting:
            waiting[0].state = "ended"
            self._ack(waiting[0])
            self._report(worker, waiting[0].number, Event.REVOKED)

    def end_by_force(self, worker: Worker, index: int, event: Event) -> None:
        """The main process ends a child over its task: REPORTED at its time limit, or REVOKED."""
        busy = [slot for slot in worker.slots if slot.runs]
        if self.pool != "prefork" or not busy:
            return
        slot = busy[index % len(busy)]
        assert slot.runs is not None
        delivery = slot.runs
        self.tasks[delivery.number].cut += 1
        delivery.state = "cut"
        self._ack(delivery)
        self._report(worker, delivery.number, event)
        self._gone(worker, slot.ring)
        worker.slots[worker.slots.index(slot)] = self._slot(worker.name)

    def strike(self, worker: Worker, number: int) -> None:
        """A running poison task does its fault: it takes its process along."""
        slot = next(s for s in worker.slots if s.runs and s.runs.number == number)
        self._record(slot.ring, slot.tid, number, Event.FAULT)
        if self.pool == "prefork":
            self.kill_slot(worker, worker.slots.index(slot))
        else:
            self.kill(worker)

    def kill_slot(self, worker: Worker, index: int) -> None:
        """A pool child dies and is replaced; threads have none."""
        if self.pool != "prefork":
            return
        position = index % len(worker.slots)
        slot = worker.slots[position]
        self._gone(worker, slot.ring)
        if slot.runs:
            self._lose(worker, slot.runs)
        worker.slots[position] = self._slot(worker.name)

    def kill(self, worker: Worker) -> None:
        """The worker dies whole, and is started again."""
        for slot in worker.slots:
            if slot.runs:
                slot.runs.state = "cut"
                self.tasks[slot.runs.number].cut += 1
        self._exit(worker, signal=9, asked=False)
        if worker.cut is None:
            self._read_broker("worker-exit")

    def stop(self, worker: Worker) -> None:
        """The worker leaves in order when nothing runs: gives back what waits."""
        if any(slot.runs for slot in worker.slots):
            return
        for delivery in self._live_deliveries(worker):
            if delivery.state == "waiting":
                self._give_back(delivery)
        self._exit(worker, signal=None, asked=True)

    def quit(self, worker: Worker) -> None:
        """The worker leaves without waiting for what runs: gives back all that is not acked."""
        for slot in worker.slots:
            if slot.runs:
                slot.runs.state = "cut"
                self.tasks[slot.runs.number].cut += 1
        for delivery in self._live_deliveries(worker):
            self._give_back(delivery)
        self._exit(worker, signal=None, asked=True)

    def cut(self, worker: Worker, *, on_the_way: bool = False) -> None:
        """The network between a worker's host and Redis goes down: neither acknowledgements nor
        records arrive any more, and what it holds runs nevertheless.

        `on_the_way`: the acknowledgements of the last moments are lost too.
        """
        if worker.cut is not None:
            return
        worker.cut = {r.name: len(r.records) for r in self.rings if self._owner(r) == worker.name}
        for delivery in self._live_deliveries(worker):
            delivery.acked &= not (on_the_way and self.now_ns - delivery.acked_ns < 5 * MS)
            delivery.out_of_reach = True

    def heal(self, worker: Worker, *, forgets: bool = False) -> None:
        """It is up again: all records come. `forgets`: the worker drops what waits in it."""
        if worker.cut is None:
            return
        for delivery in self._live_deliveries(worker):
            if delivery.state == "waiting" and forgets:
                delivery.state = "forgotten"
        worker.cut = None
        self.ops += worker.unsent
        worker.unsent = []

    def vanish(self, worker: Worker, *, orderly: bool = False) -> None:
        """The worker ends, by SIGKILL or in order, and nobody sees it: its supervisor is killed and
        its folder deleted. Another one begins anew."""
        rings = [worker.main, *(slot.ring for slot in worker.slots)]
        ops = len(self.ops)
        if orderly:
            self.quit(worker)
        else:
            self.kill(worker)
        for ring in rings:
            ring.erased = True
        up = self.ops[-1] if orderly else self.ops[-2]
        worker.life = up[1]["life"] = 1
        # A process opens its ring when it has been started.
        up[1]["t_ns"] = int(worker.main.name.rpartition("-")[2]) - 1
        self.ops[ops:] = [up]

    def sweep(self) -> None:
        """What was taken longer ago than the visibility timeout goes back to the queue."""
        for delivery in self.deliveries:
            if not delivery.acked and self.now_ns - delivery.taken_ns > self.timeout_s * 1e9:
                # Gone from `unacked`; its holder may run it nevertheless.
                delivery.acked = True
                self.queue.insert(0, delivery.number)

    # --- the truth --------------------------------------------------------------------------------

    def truth(self, number: int) -> str:
        fate = self.tasks[number]
        mine = [d for d in self.deliveries if d.number == number]
        living = [d for d in mine if d.main.alive]
        states = {d.state for d in living}
        copies = [d for d in mine if not d.acked]
        final = self._final(fate, is_running="running" in states)
        if final:
            return final
        if number in self.queue:
            return "queued"
        if any(d.state == "abandoned" for d in living if self._can_be_asked(d)) and (
            "waiting" not in states
        ):
            return "phantom"
        if "waiting" in states:
            return "queued"
        if copies:
            return "stranded"
        return "failed" if fate.reported else "lost"

    def _can_be_asked(self, delivery: Delivery) -> bool:
        """Whether Celery says what it takes to be running: behind a partition nobody can ask."""
        return any(w.main is delivery.main and w.cut is None for w in self.workers)

    def _final(self, fate: Fate, *, is_running: bool) -> str:
        if fate.successes >= 2 or (fate.successes and fate.failures):
            return "repeated"
        if is_running:
            return "running"
        if fate.successes:
            return "recovered" if fate.cut else "completed"
        return "failed" if fate.failures else ""

    # --- the history ------------------------------------------------------------------------------

    def close(self, *, answered: set[str] | None = None) -> None:
        """Ask all workers, or those that are named, for the last of their records."""
        self.wait(1)
        for worker in self.workers:
            if worker.cut is not None:
                for ring in self.rings:
                    if self._owner(ring) == worker.name:
                        del ring.records[worker.cut.get(ring.name, 0) :]
            elif answered is None or worker.name in answered:
                rings = {
                    r.name: len(r.records)
                    for r in self.rings
                    if self._owner(r) == worker.name and not r.erased
                }
                alive = [r.pid for r in self.rings if r.alive and self._owner(r) == worker.name]
                self._op(
                    worker.name,
                    op="flushed",
                    worker=worker.name,
                    token="t",
                    rings=rings,
                    alive=alive,
                    pid=worker.main.pid,
                )
        self._ask_celery()
        self._read_broker("end")
        self._op("producer", op="run-end", reason="done")
        self._op("collector", op="closed", complete=True, missing={})

    def _read_broker(self, reason: str) -> None:
        unacked = [
            [d.number, (d.taken_ns + OFFSET_NS) / 1e9] for d in self.deliveries if not d.acked
        ]
        held = {"queue": [[n, n] for n in sorted(set(self.queue))], "unacked": unacked}
        timing = {"visibility_timeout_s": self.timeout_s, "sweep_s": 1.0}
        self._op("collector", op="broker", side=SIDE, reason=reason, stable=True, **held, **timing)

    def _ask_celery(self) -> None:
        busy = {"running", "abandoned"}
        for worker in self.workers:
            living = [d for d in self.deliveries if d.main is worker.main]
            silent = self.hangs or worker.cut is not None
            self._op(
                "collector",
                op="celery",
                worker=worker.name,
                answered=not silent,
                active=[] if silent else [d.number for d in living if d.state in busy],
                reserved=[] if silent else [d.number for d in living if d.state == "waiting"],
            )

    def entries(self, sizes: list[int]) -> list[Entry]:
        """Return the history as it comes with nothing lost: rings in batches of these sizes.

        All that is recorded comes after the last task was enqueued, ring by ring.
        """
        found: list[Entry] = []
        sequences: dict[str, int] = {}
        for worker, op in self.ops:
            sequences[worker] = sequences.get(worker, 0) + 1
            found.append(Entry.of_op(worker, f"{worker}#1-1", sequences[worker], op))
        ring_entries = [entry for ring in self.rings for entry in self._batches(ring, sizes)]
        # The `enqueued` op of a task goes ahead of all that is recorded of it.
        last = max((i for i, (_, op) in enumerate(self.ops) if op["op"] == "enqueued"), default=0)
        return found[: last + 1] + ring_entries + found[last + 1 :]

    def entries_as_shipped(self) -> list[Entry]:
        """Return the history as it comes from a quiet fleet: all in the order of time."""
        records = [
            Entry("records", self._owner(ring), ring.name, sequence, record)
            for ring in self.rings
            for sequence, record in enumerate(ring.records, 1)
        ]
        ops = [entry for entry in self.entries([1]) if entry.kind == "op"]
        timed = [(RECORD.unpack(entry.data)[1], entry) for entry in records]
        timed += [(entry.op["t_ns"], entry) for entry in ops]
        return [entry for _, entry in sorted(timed, key=lambda each: each[0])]

    def _batches(self, ring: Ring, sizes: list[int]) -> Iterator[Entry]:
        first, turn = 0, 0
        while first < len(ring.records):
            size = sizes[turn % len(sizes)]
            data = b"".join(ring.records[first : first + size])
            yield Entry("records", self._owner(ring), ring.name, first + 1, data)
            first, turn = first + size, turn + 1

    # --- parts ------------------------------------------------------------------------------------

    def _owner(self, ring: Ring) -> str:
        return ring.name.partition("/")[0]

    def _tick(self) -> None:
        self.now_ns += MS

    def _op(self, writer: str, /, **op: Any) -> None:
        self._tick()
        worker = next((each for each in self.workers if each.name == writer), None)
        ops = self.ops if worker is None or worker.cut is None else worker.unsent
        ops.append((writer, {"t_ns": self.now_ns, "boot": BOOT, **op}))

    def _record(self, ring: Ring, tid: int, number: int, event: Event) -> None:
        self._tick()
        sequence = len(ring.records) + 1
        detail = number * number if event == Event.SUCCEEDED else 0
        ring.records.append(
            RECORD.pack(number, self.now_ns, detail, TAG, ring.pid, tid, event, 0, sequence)
        )

    def _ring(self, worker: str) -> Ring:
        self._tick()
        self._pid += 1
        ring = Ring(f"{worker}/{self._pid}-{self.now_ns}", self._pid)
        self.rings.append(ring)
        return ring

    def _slot(self, worker: str) -> Slot:
        ring = self._ring(worker)
        return Slot(ring, ring.pid)

    def _worker(self, name: str) -> Worker:
        main = self._ring(name)
        return Worker(name, main, self._slots(name, main))

    def _slots(self, name: str, main: Ring) -> list[Slot]:
        if self.pool == "prefork":
            return [self._slot(name) for _ in range(self.concurrency)]
        return [Slot(main, main.pid * 100 + index) for index in range(self.concurrency)]

    def _hello(self, worker: Worker) -> None:
        self._op(
            worker.name,
            op="hello",
            worker=worker.name,
            side=SIDE,
            pool=f"{self.pool}:{self.concurrency}",
            concurrency=self.concurrency,
            life=worker.life,
            pid=worker.main.pid,
            settings={"POOLPROOF_POLICY": self.policy},
            rings={},
            restart_delay_s=0.0,
            visibility_timeout_s=self.timeout_s,
            sweep_s=1.0,
        )

    def _ack(self, delivery: Delivery) -> None:
        if not delivery.out_of_reach and not delivery.acked:
            delivery.acked, delivery.acked_ns = True, self.now_ns

    def _give_back(self, delivery: Delivery) -> None:
        if not delivery.out_of_reach and not delivery.acked:
            delivery.acked = True
            self.queue.insert(0, delivery.number)

    def _live_deliveries(self, worker: Worker) -> list[Delivery]:
        return [d for d in self.deliveries if d.main is worker.main]

    def _lose(self, worker: Worker, delivery: Delivery) -> None:
        """The pool lost the slot of a delivery: what its policy does."""
        self.tasks[delivery.number].cut += 1
        delivery.state = "cut"
        if self.policy == "late-reject":
            self._give_back(delivery)
        elif self.policy == "late-retry" and worker.cut is None:
            self._record(worker.main, worker.main.pid, delivery.number, Event.RETRIED)
            self.queue.append(delivery.number)
        else:
            self._report(worker, delivery.number, Event.REPORTED)
        self._ack(delivery)

    def _report(self, worker: Worker, number: int, event: Event) -> None:
        self.tasks[number].reported = True
        self._record(worker.main, worker.main.pid, number, event)

    def _gone(self, worker: Worker, ring: Ring) -> None:
        ring.alive = False
        ring_ends = {"pid": ring.pid, "ring": ring.name, "written": len(ring.records)}
        self._op(worker.name, op="process-gone", worker=worker.name, **ring_ends)

    def _exit(self, worker: Worker, *, signal: int | None, asked: bool) -> None:
        life = {"worker": worker.name, "life": worker.life, "pid": worker.main.pid}
        code = None if signal else 0
        self._op(
            worker.name, op="worker-exit", code=code, signal=signal, asked=asked, stderr=[], **life
        )
        for ring in {id(r): r for r in [worker.main, *(s.ring for s in worker.slots)]}.values():
            self._gone(worker, ring)
        worker.main = self._ring(worker.name)
        worker.slots = self._slots(worker.name, worker.main)
        worker.life += 1
        life = {"worker": worker.name, "life": worker.life, "pid": worker.main.pid}
        self._op(worker.name, op="worker-restart", delay_s=0.0, by="supervisor", **life)
        self._op(worker.name, op="worker-up", side=SIDE, command=[], settings={}, **life)


def write(folder: Path, entries: list[Entry]) -> Path:
    """Write a run's folder."""
    head = Entry.of_op(
        "collector", "format", 1, {"op": "format", "version": 1, "t_ns": 0, "boot": BOOT}
    )
    with HistoryWriter(folder / "history.log") as writer:
        writer.append([("0-0", head), *((f"1-{i}", entry) for i, entry in enumerate(entries))])
    return folder
