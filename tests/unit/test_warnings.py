"""Every warning of the closed list can be raised, by what it warns of and by nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproof.judge.performance.counter_series import CounterSeries
from poolproof.judge.performance.host import Hosts, surroundings
from poolproof.judge.run import consider
from poolproof.judge.summary import summarise
from poolproof.judge.warnings import WARNINGS, ranked, warning
from poolproof.report.publish import publish
from poolproof_workers.contract import RECORD, RECORD_BYTES, Entry, Event
from poolproof_workers.errors import FAILED_CHECK, OK
from tests.unit.measured_run import MS, TAG, Run, S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.measured_run import Change

    #: Writes a run with one thing wrong.
    Case: TypeAlias = Callable[[Path], Path]


def _even(begin_ns: int, count: int, every_ns: int = 10 * MS) -> list[tuple[int, int, int]]:
    """Tasks of 5 ms that are received and begun one `every_ns` after the other."""
    starts = [begin_ns + MS + index * every_ns for index in range(count)]
    return [(start - MS, start, start + 5 * MS) for start in starts]


def _quiet(blocks: int = 5, sides: tuple[str, ...] = ("a",), **costs: Any) -> Run:
    """A run with which nothing is wrong: blocks of 100 tasks in a second."""
    run = Run(sides, plan={"fresh": True})
    for turn in range(blocks * len(sides)):
        begin = (10 + 2 * turn) * S
        run.block(sides[turn % len(sides)], begin, _even(begin, 100), **costs)
    return run


def _with_op(name: str, **fields: Any) -> Change:
    """Change the fields of the ops of a name."""

    def change(entry: Entry) -> Entry:
        if entry.kind == "op" and entry.op["op"] == name:
            return replace(entry, data=json.dumps(entry.op | fields).encode())
        return entry

    return change


def _without(name: str) -> Change:
    """Lose the ops of a name."""
    return lambda e: None if e.kind == "op" and e.op["op"] == name else e


def _without_records(first: int, last: int) -> Change:
    """Lose the records of a ring but those before the first and after the last, counted from 0."""

    def change(entry: Entry) -> Entry | None:
        if entry.kind != "records":
            return entry
        begin, end = first * RECORD_BYTES, last * RECORD_BYTES
        if first:
            return replace(entry, data=entry.data[:begin])
        return replace(entry, sequence=entry.sequence + last, data=entry.data[end:])

    return change


def _damaged(folder: Path) -> Path:
    """A byte of what the collector cost is wrong: no task is in doubt."""
    run = _quiet()
    run.op("collector", "cost", 1, cpu_s=0.0)
    path = run.write(folder) / "history.log"
    path.write_bytes(path.read_bytes().replace(b'"op":"cost"', b'"op":"coSt"'))
    return folder


# --- the cases ------------------------------------------------------------------------------------


def _missing_row(folder: Path) -> Path:
    """A number was given to two tasks: only one of them has a row."""
    run = _quiet(blocks=6)
    run.numbers -= 1
    run.block("a", 40 * S, _even(40 * S, 3), measured=False)
    return run.write(folder)


def _producer_gap(folder: Path) -> Path:
    """What the producer wrote when it had enqueued its last block is lost: so are all its tasks."""
    run = _quiet(blocks=6)
    lost = max(op["t_ns"] for _, op in run.ops if op["op"] == "enqueued")
    return run.write(
        folder,
        lambda e: (
            None if e.kind == "op" and "enqueued" in e.op["op"] and e.op["t_ns"] == lost else e
        ),
    )


def _wrong_results(folder: Path) -> Path:
    run = _quiet(blocks=6)
    number, t_ns, detail, event = run.records["a"][-1]
    run.records["a"][-1] = (number, t_ns, detail + 1, event)
    return run.write(folder)


def _not_completed(folder: Path) -> Path:
    run = _quiet(blocks=6)
    run.records["a"][-1] = (*run.records["a"][-1][:3], Event.FAILED)
    return run.write(folder)


def _not_completed_unmeasured(folder: Path) -> Path:
    """It is not a task that is measured, but nothing was done to it either."""
    run = _quiet()
    run.block("a", 40 * S, _even(40 * S, 3), measured=False)
    run.records["a"][-1] = (*run.records["a"][-1][:3], Event.FAILED)
    return run.write(folder)


def _unexpected(folder: Path) -> Path:
    run = _quiet()
    run.records["a"] += [(10_000, 30 * S, 0, Event.STARTED), (10_000, 31 * S, 1, Event.SUCCEEDED)]
    return run.write(folder)


def _blind(folder: Path) -> Path:
    """A process came without a ring when all was done: no task is in doubt."""
    run = _quiet()
    run.worker("a", "blind", 40 * S, pid=7, reason="no ring")
    return run.write(folder)


def _copy_left(folder: Path) -> Path:
    return _quiet().write(folder, _with_op("broker", queue=[[3, 3]]))


def _unasked_exit(folder: Path) -> Path:
    run = _quiet()
    run.worker("a", "worker-exit", 30 * S, life=1, pid=1, code=1, signal=None, asked=False)
    return run.write(folder)


def _unstable(folder: Path) -> Path:
    run = _quiet()
    run.block("a", 30 * S, _even(30 * S, 100, 14 * MS))
    return run.write(folder)


def _events_unknown(folder: Path) -> Path:
    run = _quiet()
    for when in (2, 30):
        run.op("producer", "events", when * S, on=False, answers={"a@host": None})
    return run.write(folder)


def _overload(folder: Path) -> Path:
    run = Run(("a",))
    for turn in range(5):
        begin = (10 + 4 * turn) * S
        run.block("a", begin, _even(begin, 100, 20 * MS), rate_per_s=100.0)
    return run.write(folder)


def _sent_late(folder: Path, count: int = 50) -> Path:
    """Tasks that are due every 10 ms, and from the middle on sent 15 ms late.

    Of so few the ninth decile is not known.
    """
    run = Run(("a",))
    for turn in range(5):
        begin, half = (10 + 4 * turn) * S, count // 2
        late = [15 * MS if index >= half else 0 for index in range(count)]
        times = [
            tuple(t_ns + late[i] for t_ns in task) for i, task in enumerate(_even(begin, count))
        ]
        run.block("a", begin, times, rate_per_s=100.0)
        (whole,) = [op for op in run.ops if op[1]["op"] == "enqueued" and op[1]["block"] == turn]
        run.ops.remove(whole)
        for index, late_ns in enumerate(late):
            due_ns = begin + index * 10 * MS
            one = {"first": whole[1]["first"] + index, "count": 1, "begin_ns": due_ns}
            run.ops.append(("producer", {**whole[1], **one, "t_ns": due_ns + late_ns}))
    return run.write(folder)


def _sent_late_of_many(folder: Path) -> Path:
    return _sent_late(folder, 200)


def _harness_limited(folder: Path) -> Path:
    return _quiet(own_cpu_s=(1.0, 1.99)).write(folder)


def _host(folder: Path, **counters: float) -> Path:
    """A host whose counters grew by this while it was measured."""
    run = _quiet(own_cpu_s=(0.0, 0.0), redis_cpu_s=(0.0, 0.0))
    quiet = {"cpu_s": 0, "idle_s": 0, "steal_s": 0, "swapped_pages": 0, "load": 1}
    quiet |= {"periods": 0, "throttled": 0}
    common = {"processes": 1, "ctx_voluntary": 0, "ctx_involuntary": 0, "own_cpu_s": 0.0}
    for t_ns, host in ((5 * S, quiet), (105 * S, quiet | {"idle_s": 195, "cpu_s": 200} | counters)):
        run.op("collector", "cost", t_ns, cpu_s=0.0)
        run.worker("a", "effort", t_ns, cpu_s=t_ns / 1e11, host=host, **common)
    return run.write(folder)


def _steal(folder: Path) -> Path:
    return _host(folder, idle_s=100, steal_s=95)


def _busy(folder: Path) -> Path:
    return _host(folder, idle_s=100)


def _swapping(folder: Path) -> Path:
    return _host(folder, swapped_pages=1_000_000)


def _throttled(folder: Path) -> Path:
    return _host(folder, periods=1_000, throttled=500)


def _noise(folder: Path) -> Path:
    run = Run()
    for turn in range(10):
        begin = (10 + 2 * turn) * S
        run.block("ab"[turn % 2], begin, _even(begin, 100, (10 + turn % 2) * MS))
    return run.write(folder)


def _same_workers(folder: Path, *, fresh: bool = False, percent: int = 3) -> Path:
    """Two pools that differ a little."""

    def change(entry: Entry) -> Entry:
        if entry.kind == "op" and entry.worker == "b@host" and entry.op["op"] == "hello":
            return replace(entry, data=json.dumps(entry.op | {"pool": "solo"}).encode())
        return entry

    run = Run(plan={"fresh": fresh})
    for turn in range(10):
        begin, every_ns = (10 + 2 * turn) * S, (100 + percent * (turn % 2)) * MS // 10
        run.block("ab"[turn % 2], begin, _even(begin, 100, every_ns))
    return run.write(folder, change)


def _short_redelivery(folder: Path) -> Path:
    run = _quiet()
    run.worker("a", "fault", 31 * S, fault="pause-worker", pid=1, applied=True)
    return run.write(folder, _with_op("hello", visibility_timeout_s=4.0, sweep_s=1.0))


def _different_hosts(folder: Path) -> Path:
    run = _quiet(sides=("a", "b"))
    run.op("producer", "clock", 2, offset_ns=S, error_ns=MS)
    run.worker("b", "clock", 3, offset_ns=S, error_ns=MS)

    def change(entry: Entry) -> Entry:
        if entry.kind == "op" and entry.worker == "b@host":
            return replace(entry, data=json.dumps(entry.op | {"boot": "another"}).encode())
        return entry

    return run.write(folder, change)


def _fixed_sweep(folder: Path) -> Path:
    run = _quiet()
    run.worker("a", "fault", 31 * S, fault="pause-worker", pid=1, applied=True)
    told = {"POOLPROOF_RESTORE_INTERVAL_S": "1.0", "POOLPROOF_RESTORE_THROTTLE": "1"}
    versions = {"celery": "5.4.0", "kombu": "5.4.2"}
    return run.write(folder, _with_op("hello", sweep_s=100.0, settings=told, versions=versions))


def _fault_not_done(folder: Path) -> Path:
    run = _quiet()
    run.op("producer", "strike", 31 * S, side="a", fault="segfault", after_s=0.1)
    return run.write(folder)


def _foreign(folder: Path) -> Path:
    """The worker also took a task of somebody else's."""

    def change(entry: Entry) -> Entry:
        if entry.kind == "op":
            return entry
        last = entry.sequence + entry.count
        theirs = RECORD.pack(7, 25 * S, 0, TAG + 1, 1, 1, int(Event.RECEIVED), 0, last)
        return replace(entry, data=entry.data + theirs)

    return _quiet().write(folder, change)


def _no_pss(folder: Path) -> Path:
    run = _quiet()
    for t_ns in (5 * S, 10 * S + 500 * MS):
        run.worker(
            "a", "sample", t_ns, processes=1, pss_bytes=None, uss_bytes=70, rss_bytes=100,
            ring_bytes=0, cpu_s=0.0, ctx_voluntary=0, ctx_involuntary=0,
        )  # fmt: skip
    return run.write(folder)


def _ops(name: str, **fields: Any) -> Case:
    return lambda folder: _quiet().write(folder, _with_op(name, **fields))


def _elsewhere(folder: Path) -> Path:
    """A worker on another host, and no `clock` op that says how far its clock is from ours."""

    def change(entry: Entry) -> Entry:
        if entry.kind == "op" and entry.worker == "a@host":
            return replace(entry, data=json.dumps(entry.op | {"boot": "other"}).encode())
        return entry

    return _quiet().write(folder, change)


#: Code of a warning -> runs that it is raised in.
_CASES: Final[dict[str, tuple[Case, ...]]] = {
    "damaged": (_damaged,),
    "books_unbalanced": (_missing_row, _producer_gap),
    "wrong_results": (_wrong_results,),
    "not_completed": (_not_completed, _not_completed_unmeasured),
    "unknown_tasks": (lambda folder: _quiet(blocks=6).write(folder, _without_records(1790, 1800)),),
    "unexpected_tasks": (_unexpected,),
    "foreign_tasks": (_foreign,),
    "not_closed": (lambda folder: _quiet().write(folder, _without("closed")),),
    "fault_not_done": (_fault_not_done,),
    "not_done": (_ops("run-end", reason="interrupted"),),
    "not_at_rest": (_ops("broker", stable=False),),
    "incomplete": (_blind,),
    "records_lost": (lambda folder: _quiet(blocks=6).write(folder, _without_records(0, 10)),),
    "copies_left": (_copy_left,),
    "unasked_exit": (_unasked_exit,),
    "unstable_blocks": (_unstable,),
    "few_blocks": (lambda folder: _quiet(blocks=4).write(folder),),
    "events_on": (_ops("block-begin", events=True),),
    "events_unknown": (_events_unknown,),
    "overload": (_overload,),
    "sent_late": (_sent_late, _sent_late_of_many),
    "harness_limited": (_harness_limited,),
    "cpu_steal": (_steal,),
    "busy_host": (_busy,),
    "swapping": (_swapping,),
    "throttled": (_throttled,),
    "noise_shown": (_noise,),
    "same_workers": (_same_workers,),
    "short_redelivery": (_short_redelivery,),
    "different_hosts": (_different_hosts,),
    "fixed_sweep": (_fixed_sweep,),
    "no_pss": (_no_pss,),
    "clock_unknown": (_elsewhere,),
}
#: What cannot come alone: code -> what comes with it.
_TOGETHER: Final[dict[str, set[str]]] = {
    "damaged": {"incomplete"},
    "books_unbalanced": {"not_completed", "unknown_tasks", "unexpected_tasks"},
    "unknown_tasks": {"not_completed"},
    "records_lost": {"not_completed", "unknown_tasks"},
}


def _codes(folder: Path) -> set[str]:
    return {each["code"] for each in summarise(folder)["warnings"]}


def test_what_made_rounds_differ_is_not_claimed_to_be_known(tmp_path: Path) -> None:
    (found,) = [
        each
        for each in summarise(_unstable(tmp_path))["warnings"]
        if each["code"] == "unstable_blocks"
    ]

    assert found["advice"].startswith("Rounds differ by ")
    assert ": a busy machine, or the pool itself. " in found["advice"]


def test_what_a_host_told_is_put_in_order_once_however_often_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = consider(_busy(tmp_path))
    hosts = Hosts.of(case)
    monkeypatch.setattr(CounterSeries, "of", None)

    found = surroundings(case, hosts)["a@host"]

    assert found["others_share"] > 0.1
    shares = [hosts.taken_share(["a@host"], [(begin * S, 18 * S)]) for begin in (10, 12)]
    assert shares == pytest.approx([found["others_share"] + found["steal_share"]] * 2)


def test_a_quiet_run_raises_none(tmp_path: Path) -> None:
    assert _codes(_quiet(sides=("a", "b")).write(tmp_path)) == set()


def test_only_a_small_difference_may_be_one_of_processes_and_none_on_fresh_workers(
    tmp_path: Path,
) -> None:
    assert _codes(_same_workers(tmp_path / "small")) == {"same_workers"}
    assert _codes(_same_workers(tmp_path / "large", percent=8)) == set()
    assert _codes(_same_workers(tmp_path / "fresh", fresh=True)) == set()


def test_every_warning_has_a_run_that_it_is_raised_in() -> None:
    assert _CASES.keys() == WARNINGS.keys()


@given(st.permutations(list(WARNINGS)))
def test_what_takes_back_a_headline_comes_first(codes: list[str]) -> None:
    found = [each["code"] for each in ranked(warning(code, *"abcd") for code in codes)]

    assert found == list(WARNINGS)
    first = found[: found.index("overload")]
    assert {"busy_host", "cpu_steal", "harness_limited", "same_workers", "noise_shown"} < set(first)
    assert found.index("wrong_results") < found.index("busy_host") < found.index("unstable_blocks")
    assert found.index("unstable_blocks") < found.index("short_redelivery")


def test_a_run_has_its_warnings_in_that_order(tmp_path: Path) -> None:
    run = _quiet(blocks=4, own_cpu_s=(1.0, 1.99))
    run.worker("a", "fault", 31 * S, fault="pause-worker", pid=1, applied=True)
    folder = run.write(tmp_path, _with_op("hello", visibility_timeout_s=4.0, sweep_s=1.0))

    found = [each["code"] for each in summarise(folder)["warnings"]]

    assert found == ["harness_limited", "few_blocks", "short_redelivery"]


@pytest.mark.parametrize(
    ("code", "case"), [(code, case) for code, cases in _CASES.items() for case in cases]
)
def test_a_warning_is_raised_by_what_it_warns_of(tmp_path: Path, code: str, case: Case) -> None:
    found = _codes(case(tmp_path))

    assert code in found
    assert found - {code} <= _TOGETHER.get(code, set())


@pytest.mark.parametrize("case", _CASES["books_unbalanced"])
def test_a_run_whose_books_do_not_balance_fails_and_says_so(
    tmp_path: Path, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    code = publish(case(tmp_path))

    assert code == FAILED_CHECK
    assert "THE BOOKS DO NOT BALANCE" in capsys.readouterr().out


def test_a_quiet_run_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = publish(_quiet(sides=("a", "b")).write(tmp_path))

    assert code == OK
    assert "NOT BALANCE" not in capsys.readouterr().out


def test_a_task_that_a_fault_took_does_not_spoil_what_was_measured(tmp_path: Path) -> None:
    run = _quiet()
    run.block("a", 40 * S, _even(40 * S, 3), measured=False)
    run.records["a"][-1] = (*run.records["a"][-1][:3], Event.FAILED)
    run.op("producer", "strike", 40 * S, side="a", fault="os-exit", after_s=0.0)

    summary = summarise(run.write(tmp_path))

    assert summary["valid"]
    assert "not_completed" not in {each["code"] for each in summary["warnings"]}
