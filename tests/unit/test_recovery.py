"""How long a pool takes to recover, who ran what it had lost, and when its throughput is back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.judge.faults.events import strikes
from poolproof.judge.faults.impact import BlastRadii
from poolproof.judge.faults.recovery import due, recovery, rescue, throughput_back_s
from poolproof.judge.faults.window import FaultWindow
from poolproof.judge.performance.blocks import Block, blocks
from poolproof.judge.run_data import gather
from poolproof.judge.verdicts.attempts import deaths
from poolproof.judge.verdicts.final_state import all_holes
from poolproof_workers.contract import RECORD, Event
from tests.unit.celery_model import MS, Model, write

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.faults.impact import BlastRadius

SLOTS = 4
ROUND_NS = 300_000_000


@dataclass
class Ends:
    """As much of a ledger as is looked at."""

    last_end: np.ndarray

    def __getitem__(self, column: str) -> Any:
        return getattr(self, column)


def _block(count: int) -> Block:
    return Block(
        index=0,
        side="a",
        workload="sleep:300ms",
        first=0,
        count=count,
        measured=False,
        events=False,
        rate_per_s=None,
        values=None,
        begin_ns=0,
        end_ns=None,
        drained=True,
    )


def _back_s(slots_by_round: list[int], fault_after: float) -> float | None:
    """Rounds in which so many slots end a task together; the fault is so many rounds after 0."""
    ends = [
        (index + 1) * ROUND_NS + slot
        for index, slots in enumerate(slots_by_round)
        for slot in range(slots)
    ]
    ledger: Any = Ends(np.array(ends))
    return throughput_back_s(ledger, [_block(len(ends))], SLOTS, round(fault_after * ROUND_NS))


def test_a_pool_that_goes_on_as_before_was_never_away() -> None:
    assert _back_s([4] * 12, 5.5) == 0.0


@pytest.mark.parametrize("fault_after", [4.1, 4.5, 4.9])
def test_a_pool_that_lacks_a_slot_is_back_when_the_slot_is(fault_after: float) -> None:
    back = _back_s([4] * 4 + [3] * 6 + [4] * 8, fault_after)

    assert back == pytest.approx((10 - fault_after) * 0.3, abs=0.31)
    assert back is not None
    assert back > (9 - fault_after) * 0.3


def test_a_pool_that_never_gets_its_slot_back_is_not_back() -> None:
    assert _back_s([4] * 4 + [3] * 12, 4.5) is None


def test_too_few_tasks_before_the_fault_tell_nothing() -> None:
    assert _back_s([4] * 12, 1.5) is None


def _of_two_slots(ends_s: list[float], fault_s: float) -> float | None:
    ledger: Any = Ends(np.array([round(at * 1e9) for at in ends_s]))
    return throughput_back_s(ledger, [_block(len(ends_s))], 2, round(fault_s * 1e9))


@pytest.mark.parametrize(
    ("before", "every_s", "back"),
    [
        # One a second, from the end of the first round on: 1 to 3.
        ([0.1, 1, 2, 3], 1.0, 0.0),
        ([0.1, 1, 2, 3], 1.1, 0.0),
        ([0.1, 1, 2, 3], 1.2, None),
        # 90 % of it is enough.
        ([0.1, 1, 1.9, 2.8], 1.0, 0.0),
        ([0.1, 1, 1.9, 2.8], 1.01, None),
        # One more than a round tells a rate, and one round does not.
        ([0.1, 1, 2], 1.0, 0.0),
        ([0.1, 1], 1.0, None),
        ([1, 1, 1], 1.0, None),
    ],
)
def test_the_rate_before_is_that_from_the_end_of_the_first_round_on(
    before: list[float], every_s: float, back: float | None
) -> None:
    # The last end before is at the instant of the fault.
    after = [before[-1] + every_s * turn for turn in range(1, 13)]
    never_ended = [0.0] * 5

    assert _of_two_slots([*before, *after], before[-1]) == back
    assert _of_two_slots([*never_ended, *before, *after], before[-1]) == back


def test_throughput_is_back_at_the_end_from_which_on_it_lasts() -> None:
    slow = [3.0 + 3.0 * turn for turn in range(1, 4)]
    quick = [12.0 + turn for turn in range(1, 13)]

    assert _of_two_slots([0.1, 1, 2, 3, *slow, *quick], 3.0) == 9.0


def _struck(model: Model, **fields: Any) -> int:
    """The first worker is struck from outside; returns when."""
    name = model.workers[0].name
    op = {"op": "fault", "worker": name, "fault": "kill-worker", "pid": 1, "applied": True}
    model._op(name, **op | {"reason": None} | fields)
    return model.now_ns


def _scene(model: Model, folder: Path) -> tuple[FaultWindow, list[tuple[FaultEvent, BlastRadius]]]:
    """The records around the faults, and each fault with its toll."""
    if not any(op["op"] == "run-end" for _, op in model.ops):
        model.close()
    evidence = gather(write(folder, model.entries([3])))
    found = strikes(evidence)
    scene = FaultWindow(evidence, found, deaths(evidence))
    tolls = BlastRadii(scene, all_holes(evidence))
    return scene, [(strike, tolls.of(strike)) for strike in found]


def _threads(policy: str = "early", workers: int = 1, concurrency: int = 1) -> Model:
    """The first worker runs what it has slots for, and holds two more, taken a second apart."""
    model = Model("threads", policy, workers=workers, concurrency=concurrency)
    model.enqueue(concurrency + 2)
    for _ in range(concurrency + 2):
        model.receive(model.workers[0])
        model.wait(1_000)
    for _ in range(concurrency):
        model.start(model.workers[0])
    return model


def _hello(model: Model, index: int, timeout_s: float, sweep_s: float) -> None:
    model._hello(model.workers[index])
    model.ops[-1][1].update(visibility_timeout_s=timeout_s, sweep_s=sweep_s)


def test_stranded_tasks_are_due_by_what_their_worker_had_said_by_then(tmp_path: Path) -> None:
    model = _threads(workers=2)
    _hello(model, 0, 7.0, 2.0)
    _hello(model, 1, 70.0, 20.0)
    at_ns = _struck(model)
    model.ops[-3][1]["t_ns"] = at_ns  # that of the first worker, said at that very instant
    model.kill(model.workers[0])
    _hello(model, 0, 90.0, 30.0)

    scene, [(strike, toll)] = _scene(model, tmp_path)

    first, last = ((each.taken_ns - at_ns) / 1e9 for each in model.deliveries[1:])
    assert due(scene, strike, toll) == {
        "first": pytest.approx(first + 7.0, abs=1e-6),
        "last": pytest.approx(last + 7.0 + 2.0, abs=1e-6),
        "visibility_timeout_s": 7.0,
        "sweep_s": 2.0,
    }


def test_nothing_is_due_that_is_not_stranded_or_of_which_nobody_told_the_timeout(
    tmp_path: Path,
) -> None:
    model = _threads()
    _struck(model)
    scene, [(strike, toll)] = _scene(model, tmp_path)
    assert due(scene, strike, toll) is None

    model = _threads()
    _struck(model)
    model.kill(model.workers[0])
    (hello,) = (op for _, op in model.ops if op["op"] == "hello")
    hello["t_ns"] = model.now_ns
    (folder := tmp_path / "later").mkdir()
    scene, [(strike, toll)] = _scene(model, folder)
    assert toll.stranded == {1, 2}
    assert due(scene, strike, toll) is None


@pytest.mark.parametrize("policy", ["early", "late-retry"])
def test_recovery_of_a_slot_is_from_the_fault_to_the_report_and_to_its_next_task(
    tmp_path: Path, policy: str
) -> None:
    model = Model("prefork", policy, concurrency=2)
    model.enqueue(4)
    worker = model.workers[0]
    for _ in range(4):
        model.receive(worker)
    for _ in range(2):
        model.start(worker)
    times = []
    for index in range(2):
        at_ns = _struck(model, fault="kill-child")
        model.kill_slot(worker, index)
        reported_ns = model.ops[-1][1]["t_ns"] + MS
        model.wait(300)
        model.start(worker)
        times.append((at_ns, reported_ns, model.now_ns))

    scene, found = _scene(model, tmp_path)

    for (strike, toll), (at_ns, reported_ns, back_ns) in zip(found, times, strict=True):
        assert recovery(scene, strike, toll, toll.interrupted, []) == {
            "detect": (reported_ns - at_ns) / 1e9,
            "slot_back": (back_ns - at_ns) / 1e9,
            "redelivered": None,
            "throughput_back": None,
        }


def test_what_is_reported_after_the_next_fault_was_not_the_noticing_of_this_one(
    tmp_path: Path,
) -> None:
    model = Model("prefork", "early", workers=2, concurrency=2)
    model.enqueue(2)
    worker, other = model.workers
    for each in (worker, other):
        model.receive(each)
    _struck(model, fault="kill-child")
    model.kill_slot(worker, 1)  # it ran nothing: there is nothing to report
    model.start(worker)
    model.start(other)
    model.kill_slot(other, 0)  # another worker's report tells nothing of it
    _struck(model, fault="kill-child")
    model.kill_slot(worker, 0)

    scene, [(first, its), (second, others)] = _scene(model, tmp_path)

    assert (its.slots_gone, others.slots_gone) == (1, 1)
    assert recovery(scene, first, its, set(), [])["detect"] is None
    assert recovery(scene, second, others, set(), [])["detect"] is not None


def test_a_report_at_the_instant_of_a_fault_is_of_that_fault_and_not_of_the_one_before(
    tmp_path: Path,
) -> None:
    model = Model("prefork", "early", concurrency=2)
    model.enqueue(1)
    worker = model.workers[0]
    _struck(model, fault="kill-child")
    model.kill_slot(worker, 1)
    model.receive(worker)
    model.start(worker)
    _struck(model, fault="kill-child")
    model.kill_slot(worker, 0)
    reported_ns = model.ops[-1][1]["t_ns"]  # the process is gone, and the report says when
    second = [op for _, op in model.ops if op["op"] == "fault"][-1]
    record = list(RECORD.unpack(worker.main.records[-1]))
    second["t_ns"] = record[1] = reported_ns
    worker.main.records[-1] = RECORD.pack(*record)

    scene, [(first, its), (last, others)] = _scene(model, tmp_path)

    assert recovery(scene, first, its, set(), [])["detect"] is None
    assert recovery(scene, last, others, set(), [])["detect"] == 0.0


def test_a_fault_that_takes_no_slot_has_nothing_to_be_noticed_or_to_come_back(
    tmp_path: Path,
) -> None:
    model = _threads()
    _struck(model)
    model._report(model.workers[0], 0, Event.REPORTED)

    scene, [(strike, toll)] = _scene(model, tmp_path)

    found = recovery(scene, strike, toll, set(), [])
    assert (found["detect"], found["slot_back"]) == (None, None)


def test_a_new_process_after_a_death_that_was_not_the_faults_is_no_slot_that_is_back(
    tmp_path: Path,
) -> None:
    model = _threads()
    _struck(model)
    model.wait(11_000)
    model.kill(model.workers[0])
    model.queue.append(2)
    model.receive(model.workers[0])
    model.start(model.workers[0])

    scene, [(strike, toll)] = _scene(model, tmp_path)

    assert scene.slot_back(strike, strike.worker) is not None
    assert toll.slots_gone == 0
    assert recovery(scene, strike, toll, set(), [])["slot_back"] is None


def _died(policy: str = "early") -> tuple[Model, int, int]:
    """A worker of threads died with a task that ran and two that waited; when, and when struck.

    What is in `unacked` is in the queue again.
    """
    model = _threads(policy, workers=2)
    at_ns = _struck(model)
    model.kill(model.workers[0])
    (end,) = (op for _, op in model.ops if op["op"] == "worker-exit")
    model.wait(9_000)
    model.sweep()
    return model, at_ns, end["t_ns"]


def test_redelivery_lasts_until_the_last_stranded_task_was_begun_for_the_first_time(
    tmp_path: Path,
) -> None:
    model, at_ns, ended_ns = _died()
    worker = model.workers[0]
    begun = []
    for _ in range(2):
        model.receive(worker)
        model.start(worker)
        begun.append(model.now_ns)
        model.end(worker, 0, Event.SUCCEEDED)
        model.wait(500)
    # It runs once more, which is not when it came back.
    model.queue.append(model.deliveries[-1].number)
    model.receive(worker)
    model.start(worker)

    scene, [(strike, toll)] = _scene(model, tmp_path)

    assert toll.stranded == {1, 2}
    assert recovery(scene, strike, toll, toll.interrupted | toll.stranded, []) == {
        "detect": (ended_ns - at_ns) / 1e9,
        "slot_back": (begun[0] - at_ns) / 1e9,
        "redelivered": (begun[1] - at_ns) / 1e9,
        "throughput_back": None,
    }


def test_as_long_as_a_stranded_task_has_not_come_back_redelivery_is_not_over(
    tmp_path: Path,
) -> None:
    model, _, _ = _died()
    model.receive(model.workers[0])
    model.start(model.workers[0])

    scene, [(strike, toll)] = _scene(model, tmp_path)

    found = recovery(scene, strike, toll, toll.interrupted | toll.stranded, [])
    assert found["redelivered"] is None
    assert found["slot_back"] is not None


def test_who_ran_what_a_dead_worker_had_is_told_with_when_it_began(tmp_path: Path) -> None:
    model, at_ns, _ = _died("late")
    restarted, survivor = model.workers
    begun = []
    for worker in (restarted, survivor, restarted):
        model.receive(worker)
        model.start(worker)
        begun.append((model.now_ns - at_ns) / 1e9)
        model.end(worker, 0, Event.SUCCEEDED)
        model.wait(500)
    # The first of them runs again, of its own: it had been begun before.
    model.queue.append(model.deliveries[3].number)
    model.receive(survivor)
    model.start(survivor)

    scene, [(strike, toll)] = _scene(model, tmp_path)

    assert (toll.interrupted, toll.stranded) == ({0}, {1, 2})
    assert rescue(scene, strike, toll, set()) == {
        "restarted worker": {"tasks": 2, "first": begun[0], "last": begun[2]},
        "surviving worker": {"tasks": 1, "first": begun[1], "last": begun[1]},
    }


def test_only_what_began_after_the_death_came_back(tmp_path: Path) -> None:
    model = Model("threads", "late", concurrency=2)
    worker = model.workers[0]
    model.enqueue(5)
    for _ in range(4):
        model.receive(worker)
    model.start(worker)
    at_ns = _struck(model, fault="term-worker")
    model.start(worker)  # task 1: between the signal and the death
    model.kill(worker)
    model.wait(6_000)
    model.sweep()
    model.queue[:] = [2, 3, 1, 4]  # 4 is new, and 0 is left out
    begun = []
    for _ in range(4):
        model.receive(worker)
        model.start(worker)
        begun.append((model.now_ns - at_ns) / 1e9)
        model.end(worker, 0, Event.SUCCEEDED)
        model.wait(500)

    scene, [(strike, toll)] = _scene(model, tmp_path)

    assert (toll.interrupted, toll.stranded) == ({0, 1}, {2, 3})
    affected = toll.interrupted | toll.stranded
    assert recovery(scene, strike, toll, affected, [])["redelivered"] == begun[2]
    assert rescue(scene, strike, toll, set()) == {
        "restarted worker": {"tasks": 3, "first": begun[0], "last": begun[2]}
    }


def test_what_nobody_began_again_has_no_rescuer(tmp_path: Path) -> None:
    model, _, _ = _died("late")

    scene, [(strike, toll)] = _scene(model, tmp_path)

    assert rescue(scene, strike, toll, set()) == {}


def test_slots_of_all_workers_of_the_side_decide_what_is_enough_to_tell(tmp_path: Path) -> None:
    model = Model("threads", "early", workers=2, concurrency=2)
    model.enqueue(40)

    def run(rounds: int) -> None:
        for _ in range(rounds):
            for worker in model.workers:
                for _ in range(2):
                    model.receive(worker)
                    model.start(worker)
            for worker in model.workers:
                for _ in range(2):
                    model.end(worker, 0, Event.SUCCEEDED)

    run(3)
    _struck(model, fault="quit-worker")
    run(7)

    scene, [(strike, toll)] = _scene(model, tmp_path)
    fed = blocks(scene.evidence)

    found = recovery(scene, strike, toll, set(), fed)
    whole = throughput_back_s(scene.ledger, fed, 4, strike.t_ns)
    assert found["throughput_back"] == whole == 0.0
