"""What the history of a run says of the jobs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from poolproof.experiments.enqueue import Outcome, Result, outcomes
from poolproof.history.file import FILE_NAME, FORMAT, HistoryWriter
from poolproof_workers.contract import RECORD, Entry, Event

if TYPE_CHECKING:
    from pathlib import Path

TAG = 7
SECOND_NS = 1_000_000_000


class Log:
    """A history, written line by line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[tuple[str, Entry]] = []
        self.sequences: dict[str, int] = {}
        self.op("format", version=FORMAT)
        self.op("run-begin", run="r", tag=TAG)

    def op(self, op: str, **fields: Any) -> None:
        body = {"op": op, "t_ns": 0, "boot": "b"} | fields
        self.add("op", "producer", lambda at: Entry.of_op("p", "producer", at, body))

    def block(self, block: int, side: str, first: int, count: int, **fields: Any) -> None:
        place = {"block": block, "side": side, "first": first, "count": count}
        shown = {"workload": "square", "warmup": False, "measured": True, "parameters": {}}
        self.op("block-begin", **place, **(shown | fields))
        self.op("enqueued", **place, begin_ns=first * SECOND_NS, interval_ns=0)

    def succeeded(self, number: int, detail: int, at_s: float, tag: int = TAG) -> None:
        def record(at: int) -> Entry:
            t_ns = round(at_s * SECOND_NS)
            data = RECORD.pack(number, t_ns, detail, tag, 1, 1, Event.SUCCEEDED, 0, at)
            return Entry("records", "w", "ring", at, data)

        self.add("records", "ring", record)

    def add(self, _kind: str, source: str, make: Any) -> None:
        self.sequences[source] = self.sequences.get(source, 0) + 1
        self.entries.append(("1-0", make(self.sequences[source])))

    def read(self) -> tuple[Outcome, ...]:
        with HistoryWriter(self.folder / FILE_NAME) as writer:
            writer.append(self.entries)
        return outcomes(self.folder)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_results_come_in_the_order_in_which_the_tasks_ended(log: Log) -> None:
    log.block(0, "a", first=0, count=2)
    log.succeeded(1, 1, at_s=0.5)
    log.succeeded(0, 0, at_s=2.0)

    (outcome,) = log.read()

    assert outcome == Outcome("a", 2, (Result(1, 1, 0.5), Result(0, 0, 2.0)))
    assert (outcome.took_s, outcome.right) == (2.0, True)


def test_values_are_squared_in_place_of_the_numbers(log: Log) -> None:
    log.block(0, "a", first=4, count=2, parameters={"values": [30, 20]})
    log.succeeded(4, 900, at_s=5.0)
    log.succeeded(5, 400, at_s=6.0)

    (outcome,) = log.read()

    assert outcome.results == (Result(30, 900, 1.0), Result(20, 400, 2.0))


def test_blocks_keep_to_themselves_and_a_warm_up_does_not_count(log: Log) -> None:
    log.block(0, "a", first=0, count=1, measured=False)
    log.block(1, "a", first=1, count=1)
    log.block(2, "b", first=2, count=1)
    for number in range(3):
        log.succeeded(number, number * number, at_s=3.0)

    assert [(each.side, len(each.results)) for each in log.read()] == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("results", [[], [(0, 1)], [(0, 0), (0, 0)]])
def test_a_task_that_is_missing_wrong_or_doubled_is_not_right(
    log: Log, results: list[tuple[int, int]]
) -> None:
    log.block(0, "a", first=0, count=1)
    for number, detail in results:
        log.succeeded(number, detail, at_s=1.0)

    (outcome,) = log.read()

    assert not outcome.right


def test_tasks_of_another_run_are_passed_over(log: Log) -> None:
    log.block(0, "a", first=0, count=1)
    log.succeeded(0, 99, at_s=1.0, tag=TAG + 1)
    log.succeeded(0, 0, at_s=1.0)

    (outcome,) = log.read()

    assert outcome.right
