"""The ledger's columns, and that many records at once leave what one after the other does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproof.history.columns import COMMON, RARE, Columns
from poolproof.history.ledger import Ledger
from poolproof.judge.run_data import gather
from poolproof.judge.verdicts.attempts import look_at
from poolproof_workers.contract import RECORD, Entry, Event
from tests.unit.celery_model import write

if TYPE_CHECKING:
    from pathlib import Path

_TAG = 7
_SIZE = 6
_COLUMNS = (
    *("first_received", "last_received", "first_start", "last_start", "last_end", "result"),
    *("last_source", "last_tid", "last_receiver", "block", "side", "poison", "settled"),
    *("enqueued_ns", "intended_ns"),
)

#: What rings hold.
_EVENTS = [*COMMON, *RARE, Event.FAULT]
#: (task, event, thread) as rings hold them, some of tasks that nobody enqueued.
_ring = st.lists(
    st.tuples(st.integers(0, _SIZE), st.sampled_from(_EVENTS), st.integers(1, 2)),
    max_size=30,
)


def _op(sequence: int, /, **op: object) -> Entry:
    return Entry.of_op("producer", "producer#1-1", sequence, {"t_ns": sequence, "boot": "b", **op})


def _history(rings: list[list[tuple[int, Event, int]]], size: int) -> list[Entry]:
    place = {"block": 0, "side": "s", "first": 0, "count": _SIZE}
    entries = [
        _op(1, op="run-begin", run="r", tag=_TAG),
        _op(2, op="enqueued", begin_ns=5, interval_ns=3, **place),
    ]
    for pid, ring in enumerate(rings, 1):
        for first in range(0, len(ring), size):
            data = b"".join(
                # The times of two rings run beside each other, and sometimes meet.
                RECORD.pack(number, 100 + i, i, _TAG, pid, tid, event, 0, i + 1)
                for i, (number, event, tid) in enumerate(ring[first : first + size], first)
            )
            entries.append(Entry("records", "w", f"w/{pid}-1", first + 1, data))
    return entries


def _state(ledger: Ledger) -> dict[str, Any]:
    sources = ledger.roster.sources.values()
    return (
        {name: ledger[name].tolist() for name in _COLUMNS}
        | {event.name: ledger.count(event).tolist() for event in (*COMMON, *RARE)}
        | {f"open of {s.name}": s.open for s in sources}
        | {f"unended of {s.name}": s.unended for s in sources}
        | {"settled of blocks": ledger.settled_of_block, "faults": ledger.faults}
        | {"unexpected": ledger.unexpected, "taken": [s.taken for s in sources]}
    )


@given(st.lists(_ring, max_size=3), st.integers(1, 6), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_records_taken_many_at_once_leave_what_they_do_one_entry_after_the_other(
    rings: list[list[tuple[int, Event, int]]], size: int, at_once: int
) -> None:
    entries = _history(rings, size)
    one, many = Ledger(), Ledger()

    for entry in entries:
        one.take(entry)
    ops = list(many.take_all(entries, at_once))

    assert _state(many) == _state(one)
    assert ops == entries[:2]


@given(_ring, st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_open_attempts_are_those_whose_slot_has_recorded_no_end_since(
    ring: list[tuple[int, Event, int]], at_once: int
) -> None:
    ledger = Ledger()
    list(ledger.take_all(_history([ring], 4), at_once))

    ends = {Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED}
    expected: dict[tuple[int, int], int] = {}
    for place, (number, event, tid) in enumerate(ring):
        if number < _SIZE and event == Event.STARTED:
            expected[number, tid] = 100 + place
        elif event in ends:
            expected.pop((number, tid), None)
    sources = ledger.roster.sources.values()
    assert {key: t_ns for source in sources for key, t_ns in source.open.items()} == expected


def test_times_of_sending_are_worked_out_for_any_rows() -> None:
    columns = Columns()
    columns.extend(10)
    columns.sent.add(6, 2, t_ns=900, begin_ns=700, interval_ns=0)
    columns.sent.add(1, 3, t_ns=500, begin_ns=100, interval_ns=10)

    assert columns.of("intended_ns", slice(None)).tolist() == [
        *(0, 100, 110, 120, 0, 0, 700, 700, 0, 0)
    ]
    assert columns.of("enqueued_ns", slice(2, 7)).tolist() == [500, 500, 0, 0, 900]
    assert columns.of("intended_ns", np.array([7, 3, 0])).tolist() == [700, 120, 0]
    assert columns.of("intended_ns", np.array([], np.int64)).tolist() == []


def test_a_task_that_ran_often_keeps_its_counts_when_the_columns_grow() -> None:
    columns = Columns()
    columns.extend(2)
    np.add.at(columns["STARTED"], np.array([1, 1]), 1)
    rows = columns.rows_of(np.array([1]))
    columns.more["FAILED"][rows] = 70_000

    columns.extend(5_000)
    columns.rows_of(np.arange(3_000))

    assert columns.of("STARTED", slice(0, 3)).tolist() == [0, 2, 0]
    assert columns.of("FAILED", slice(0, 3)).tolist() == [0, 70_000, 0]
    assert columns["first_start"][4_999] == columns["first_start"][0] > 0


def test_reading_again_for_some_tasks_finds_all_their_records_and_no_others(
    tmp_path: Path,
) -> None:
    ring = [(n, event, 1) for n in range(4) for event in (Event.STARTED, Event.SUCCEEDED)]
    evidence = gather(write(tmp_path, _history([ring, [(2, Event.RECEIVED, 9)]], 3)))

    seen = look_at(evidence, np.array([False, False, True, True, False, False]))

    assert sorted(zip(seen.number.tolist(), seen.event.tolist(), strict=True)) == [
        *((2, Event.RECEIVED), (2, Event.STARTED), (2, Event.SUCCEEDED)),
        *((3, Event.STARTED), (3, Event.SUCCEEDED)),
    ]
