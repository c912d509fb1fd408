"""What somebody else wrote is told from what a history may hold; it never stops a collector."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest

from poolproof.cli.collect import _Judge
from poolproof.collect import broker
from poolproof.collect.celery_inspect import _numbers
from poolproof.collect.collector import Collector
from poolproof.collect.progress import progress
from poolproof.history.file import FILE_NAME, read
from poolproof.history.form import TASKS, is_run, well_formed
from poolproof.history.recording import Recording
from poolproof_workers.contract import Entry, Keys, task_id

if TYPE_CHECKING:
    from pathlib import Path

_KEYS: Final = Keys()

_PLACE: Final = {"block": 0, "side": "s", "first": 0, "count": 1}
_ENQUEUED: Final = {"op": "enqueued", **_PLACE, "begin_ns": 0, "interval_ns": 0}


def _entry(op: dict[str, Any], sequence: int = 1) -> Entry:
    return Entry.of_op("producer", "producer#1-1", sequence, {"t_ns": 1, "boot": "b", **op})


@pytest.mark.parametrize(
    "op",
    [
        {"op": "cost", "cpu_s": 10**400},
        {"op": "cost", "cpu_s": -(10**400)},
        {"op": "cost", "cpu_s": 1 << 61},
        _ENQUEUED | {"faults": {"1" * 5000: "x"}},
        _ENQUEUED | {"faults": {"-1": "x"}},
    ],
    ids=["huge", "less than any", "too much", "a key of 5000 digits", "a negative key"],
)
def test_a_number_that_no_run_has_is_refused_and_nothing_is_raised(op: dict[str, Any]) -> None:
    assert not well_formed(_entry(op))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_what_is_no_finite_number_is_refused(number: bytes) -> None:
    data = b'{"op":"cost","t_ns":1,"boot":"b","cpu_s":' + number + b"}"

    assert not well_formed(Entry("op", "w", "w#1", 1, data))


# --- names of runs --------------------------------------------------------------------------------

_NO_RUNS: Final = ("", ".", "..", "../../x", "a/b", "/a", ".a", "-a", "a\n", "a b", "é", "a" * 101)


@pytest.mark.parametrize("value", [*_NO_RUNS, None, 7, ["r"]])
def test_what_is_no_name_of_a_folder_names_no_run(value: object) -> None:
    assert not is_run(value)
    assert not well_formed(_entry({"op": "run-begin", "run": value, "tag": 1}))


@pytest.mark.parametrize("value", ["20260101-000000-0000002a", "r", "soak_2.1"])
def test_a_name_of_a_folder_names_a_run(value: str) -> None:
    assert is_run(value)
    assert well_formed(_entry({"op": "run-begin", "run": value, "tag": 1}))


def _redis(**progress: Any) -> Any:
    values = {_KEYS.progress: json.dumps(progress).encode()}
    return SimpleNamespace(get=values.get)


@pytest.mark.parametrize("run", _NO_RUNS)
def test_a_progress_that_names_no_run_leads_nobody_out_of_the_folder(
    tmp_path: Path, run: str
) -> None:
    runs = tmp_path / "a" / "runs"
    runs.mkdir(parents=True)
    for folder in (tmp_path / "x", runs, runs.parent):
        folder.mkdir(exist_ok=True)
        (folder / FILE_NAME).touch()

    open_run, closed = _redis(run=run, closed=False), _redis(run=run, closed=True, judges=True)

    assert Collector(open_run, _KEYS, runs)._resume() is None
    assert _Judge(closed, _KEYS, runs, prints=False, once=True).left() is None


def test_a_progress_without_a_run_is_none(tmp_path: Path) -> None:
    assert Collector(_redis(closed=False), _KEYS, tmp_path)._resume() is None
    assert (
        _Judge(_redis(closed=True, judges=True), _KEYS, tmp_path, prints=False, once=True).left()
        is None
    )


# --- batches --------------------------------------------------------------------------------------


def _take(folder: Path, *ops: dict[str, Any]) -> Recording:
    recording = Recording(folder)
    for sequence, op in enumerate([{"op": "run-begin", "run": "r", "tag": 7}, *ops], 1):
        recording.take(f"{sequence}-0", _entry(op, sequence))
    return recording


def test_a_batch_of_no_task_is_refused() -> None:
    assert well_formed(_entry(_ENQUEUED))
    assert not well_formed(_entry(_ENQUEUED | {"count": 0}))


def test_a_fault_of_a_task_that_is_not_of_the_batch_is_ignored(tmp_path: Path) -> None:
    faults = {"2": "x", "0": "x", "3": "x", "2000000000": "x"}
    recording = _take(tmp_path, _ENQUEUED, _ENQUEUED | {"first": 1, "count": 2, "faults": faults})
    recording.close()

    assert recording.ledger.fault_names == {2: "x"}
    assert recording.ledger["poison"].tolist() == [0, 0, 1]
    assert progress(recording)["poison_open"] == 1


def test_a_batch_far_beyond_all_tasks_is_noted_as_foreign_and_passed_over(tmp_path: Path) -> None:
    recording = _take(tmp_path, _ENQUEUED, _ENQUEUED | {"first": 1 << 30}, _ENQUEUED | {"first": 1})
    recording.save()
    recording.close()

    assert recording.ledger.size == 2
    assert recording.rows_of_block == {0: (0, 2)}
    ops = [entry.op for _, entry in read(tmp_path / FILE_NAME)]
    assert [op["entry"] for op in ops if op["op"] == "foreign"] == ["3-0"]
    assert [op["first"] for op in ops if op["op"] == "enqueued"] == [0, 1]
    # What its number stood for is missing.
    assert [loss.gap.first for loss in recording.ledger.losses] == [3]
    successor = Recording(tmp_path)
    assert successor.ledger.size == 2
    successor.close()


# --- messages -------------------------------------------------------------------------------------

_OUR_TAG: Final = 0x2A
_BEYOND: Final = (
    task_id(_OUR_TAG, TASKS + 1),
    task_id(_OUR_TAG, (1 << 48) - 1),
    "0000002a-0000-8000-8000--00000000001",
)


@pytest.mark.parametrize("name", _BEYOND)
def test_a_message_with_a_number_that_no_task_has_is_foreign(name: str) -> None:
    message = json.dumps({"headers": {"id": name}}).encode()
    held = broker._holding([broker._number(message, _OUR_TAG)], [({}, [])], _OUR_TAG)

    assert held.fields() == {"queue": [], "unacked": [], "foreign": 1}
    assert _numbers([{"id": name}], _OUR_TAG) == ()


def test_the_highest_number_is_one_of_ours() -> None:
    name = task_id(_OUR_TAG, TASKS)

    assert broker._number(json.dumps({"id": name}).encode(), _OUR_TAG) == TASKS
    assert _numbers([{"id": name}], _OUR_TAG) == (TASKS,)


@pytest.mark.parametrize("when", [float("inf"), float("-inf"), 1e300])
def test_a_message_that_was_taken_at_no_time_is_foreign(when: float) -> None:
    message = json.dumps({"id": task_id(_OUR_TAG, 1)}).encode()
    held = broker._holding([], [({b"tag": message}, [(b"tag", when)])], _OUR_TAG)

    assert held.fields() == {"queue": [], "unacked": [], "foreign": 1}
    assert well_formed(_entry({"op": "broker", "side": "s", "reason": "x", **held.fields()}))
