"""The history of a run on one quiet machine, built event by event: its truth is typed in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from poolproof.history.file import HistoryWriter
from poolproof_workers.contract import RECORD, Entry, Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change: TypeAlias = Callable[[Entry], Entry | None]

TAG = 0xABCDEF
MS = 1_000_000
S = 1_000 * MS


@dataclass
class Run:
    """Sides with one worker of two slots each. Times are in nanoseconds, given with each call."""

    sides: tuple[str, ...] = ("a", "b")
    plan: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    ops: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    records: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    lost: set[tuple[int, Event]] = field(default_factory=set)  #: records that never came
    numbers: int = 0
    blocks: int = 0

    def __post_init__(self) -> None:
        about = {"run": f"20260101-000000-{TAG:08x}", "tag": TAG, "machine": {}, "versions": {}}
        self.op("producer", "run-begin", 0, plan=self.plan, **about)
        for side in self.sides:
            own = {"POOLPROOF_POLICY": "early", "POOLPROOF_SIDE": side}
            self.worker(
                side, "hello", 1, pool="threads:2", concurrency=2, life=1, pid=1, rings={},
                settings=own | self.settings.get(side, {}), versions={"celery": "5.7.0"},
            )  # fmt: skip

    def op(self, writer: str, name: str, t_ns: int, **fields: Any) -> None:
        self.ops.append((writer, {"op": name, "t_ns": t_ns, "boot": "boot", **fields}))

    def worker(self, side: str, name: str, t_ns: int, **fields: Any) -> None:
        self.op(f"{side}@host", name, t_ns, worker=f"{side}@host", side=side, **fields)

    def block(
        self,
        side: str,
        begin_ns: int,
        times: list[tuple[int, int, int]],
        *,
        workload: str = "square",
        measured: bool = True,
        rate_per_s: float | None = None,
        sent: list[tuple[int, int]] | None = None,
        of_round: int | None = None,
        **costs: Any,
    ) -> None:
        """A block of tasks, each (received, started, ended); `sent` are batches (time, count)."""
        first, count, block = self.numbers, len(times), self.blocks
        self.op(
            "producer", "block-begin", begin_ns, block=block, side=side, workload=workload,
            first=first, count=count, warmup=False, measured=measured, events=False, round=of_round,
            parameters={"rate_per_s": rate_per_s}, **{name: of[0] for name, of in costs.items()},
        )  # fmt: skip
        at = first
        for when, how_many in sent or [(begin_ns, count)]:
            self.op(
                "producer", "enqueued", when, block=block, side=side, first=at, count=how_many,
                begin_ns=when, interval_ns=round(1e9 / rate_per_s) if rate_per_s else 0,
            )  # fmt: skip
            at += how_many
        for number, (received, started, ended) in enumerate(times, first):
            result = number * number
            for event, t_ns, detail in (
                (Event.RECEIVED, received, 0),
                (Event.STARTED, started, 0),
                (Event.SUCCEEDED, ended, result),
            ):
                self.records.setdefault(side, []).append((number, t_ns, detail, event))
        last = max(ended for _, _, ended in times)
        ends = {name: of[1] for name, of in costs.items()}
        self.op("producer", "block-end", last + MS, block=block, drained=True, **ends)
        self.numbers += count
        self.blocks += 1

    def write(self, folder: Path, change: Change = lambda entry: entry) -> Path:
        """Write the history as `change` leaves each of its entries: None is lost on the way."""
        folder.mkdir(parents=True, exist_ok=True)
        end_ns = 1 + max(op["t_ns"] for _, op in self.ops)
        self.op("producer", "run-end", end_ns, reason="done")
        for side in self.sides:
            rings = {f"{side}@host/1-0": len(self.records.get(side, []))}
            self.worker(side, "flushed", end_ns, token="t", rings=rings, alive=[1], pid=1)
            self.op(
                "collector", "broker", end_ns, side=side, reason="end", queue=[], unacked=[],
                foreign=0, stable=True,
            )  # fmt: skip
        self.op("collector", "closed", end_ns, complete=True, missing={})
        with HistoryWriter(folder / "history.log") as writer:
            list(writer.resume())
            changed = [change(entry) for entry in self._entries()]
            writer.append(list(enumerate_ids([each for each in changed if each is not None])))
        return folder

    def _entries(self) -> list[Entry]:
        entries = [Entry.of_op("collector", "collector#f", 1, _format())]
        sequences: dict[str, int] = {}
        ordered = sorted(self.ops, key=lambda each: each[1]["t_ns"])
        ends = [
            each for each in ordered if each[1]["op"] in {"run-end", "flushed", "broker", "closed"}
        ]
        for writer, op in [each for each in ordered if each not in ends]:
            entries.append(self._op_entry(writer, op, sequences))
        for side, records in self.records.items():
            entries += [
                Entry("records", f"{side}@host", f"{side}@host/1-0", sequence, data)
                for sequence, data in self._batches(sorted(records, key=_when))
            ]
        return entries + [self._op_entry(writer, op, sequences) for writer, op in ends]

    def _batches(self, records: list[tuple[int, ...]]) -> list[tuple[int, bytes]]:
        """Return (sequence of the first, records) of what came, without what was lost."""
        found: list[tuple[int, bytes]] = []
        is_new = True
        for sequence, (number, t_ns, detail, event) in enumerate(records, 1):
            data = RECORD.pack(number, t_ns, detail, TAG, 1, 1, int(event), 0, sequence)
            is_lost = (number, event) in self.lost
            if is_new and not is_lost:
                found.append((sequence, data))
            elif not is_lost:
                found[-1] = (found[-1][0], found[-1][1] + data)
            is_new = is_lost
        return found

    @staticmethod
    def _op_entry(writer: str, op: dict[str, Any], sequences: dict[str, int]) -> Entry:
        sequences[writer] = sequences.get(writer, 0) + 1
        return Entry.of_op(writer, f"{writer}#1", sequences[writer], op)


def _format() -> dict[str, Any]:
    return {"op": "format", "version": 1, "t_ns": 0, "boot": "boot"}


def _when(record: tuple[int, ...]) -> int:
    return record[1]


def enumerate_ids(entries: list[Entry]) -> Any:
    return ((f"{index}-0", entry) for index, entry in enumerate(entries, 1))
