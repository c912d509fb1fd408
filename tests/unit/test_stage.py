"""The live page's books balance at every moment, and agree with what really happened."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings

from poolproof.live.side import State
from poolproof.live.stage import Stage
from poolproof.live.words import news
from poolproof_workers.contract import RECORD, Entry, Event
from tests.unit.celery_model import SIDE, TAG, Model
from tests.unit.test_verdicts import _judge, _models, _play, _sizes, _steps, _words

if TYPE_CHECKING:
    from collections.abc import Iterable


def _stage(entries: Iterable[Entry]) -> Stage:
    stage = Stage()
    for entry in entries:
        stage.take(entry)
        for side in stage.sides.values():
            assert min(side.counts.values(), default=0) >= 0
    return stage


@given(_models, _steps, _sizes)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_task_is_in_one_state_and_what_ran_to_its_end_is_known(
    kind: tuple[str, str, int], steps: list[tuple[str, int, int]], sizes: list[int]
) -> None:
    model = Model(*kind)
    _play(model, steps)
    model.close()
    side = _stage(model.entries(sizes)).sides[SIDE]

    assert side.enqueued == len(model.tasks)
    fates = list(model.tasks.values()) if isinstance(model.tasks, dict) else list(model.tasks)
    done = side.counts[State.COMPLETED] + side.counts[State.REPEATED]
    assert done == sum(fate.successes > 0 for fate in fates)
    assert side.counts[State.REPEATED] == sum(fate.successes > 1 for fate in fates)


#: Verdict -> what the page may say of the task once the books are closed.
_FITS = {
    "completed": {State.COMPLETED},
    "recovered": {State.COMPLETED},
    "repeated": {State.REPEATED},
    "failed": {State.FAILED},
    "lost": {State.LOST},
    "stranded": {State.STRANDED},
    "queued": {State.QUEUED, State.PREFETCHED},
    "running": {State.RUNNING},
    "phantom": {State.CUT, State.STRANDED},
}


#: Its first delivery went back to the queue, and then it was ended by its time limit.
_ENDED_WITH_A_COPY = [
    ("receive", 0, 0),
    ("start", 0, 0),
    ("wait", 0, 4),
    ("sweep", 0, 0),
    ("limit", 0, 0),
]


#: Its second delivery was thrown away while a slot still ran the first.
_REFUSED_WHILE_IT_RAN = [
    ("receive", 0, 0),
    ("start", 0, 0),
    ("wait", 0, 4),
    ("sweep", 0, 0),
    ("receive", 0, 0),
    ("refuse", 0, 0),
]


@example(("prefork", "late", 1), _REFUSED_WHILE_IT_RAN)
@example(("prefork", "late", 1), _ENDED_WITH_A_COPY)
@given(_models, _steps)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_once_the_books_are_closed_the_page_says_what_the_judge_says(
    kind: tuple[str, str, int], steps: list[tuple[str, int, int]]
) -> None:
    model = Model(*kind)
    _play(model, steps)
    model.close()
    entries = model.entries_as_shipped()

    stage, verdicts = _stage(entries), _words(_judge(entries))

    states = [stage.tasks.state_of(number) for number in range(len(verdicts))]
    pairs = zip(verdicts, states, strict=True)
    assert [pair for pair in pairs if pair[1] not in _FITS[pair[0]]] == []
    assert +stage.sides[SIDE].counts == {state: states.count(state) for state in set(states)}


def _two_workers() -> tuple[Model, Stage]:
    """Each of two workers runs one task and holds another; the first is killed."""
    model = Model("threads", "late", workers=2, concurrency=1)
    model.enqueue(4)
    for worker in model.workers:
        for _ in range(2):
            model.receive(worker)
        model.start(worker)
    model.kill(model.workers[0])
    return model, _stage(model.entries_as_shipped())


def test_the_end_of_one_worker_takes_nothing_of_another_along() -> None:
    _, stage = _two_workers()

    states = [stage.tasks.state_of(number) for number in range(4)]
    assert states == [State.STRANDED, State.STRANDED, State.RUNNING, State.PREFETCHED]


def test_an_innocent_task_that_died_with_its_child_is_told_also_if_celery_reported_it_first() -> (
    None
):
    model = Model("prefork", "early")
    model.enqueue(1)
    worker = model.workers[0]
    model.receive(worker)
    model.start(worker)
    model.kill_slot(worker, 0)
    ops = [entry for entry in model.entries([9]) if entry.kind == "op"]
    gone = next(index for index, entry in enumerate(ops) if entry.op["op"] == "process-gone")
    records = [entry for entry in model.entries([9]) if entry.kind == "records"]

    # A supervisor ships what was recorded ahead of what it has to say.
    stage = _stage([*ops[:gone], *records, *ops[gone:]])

    assert "1 innocent task died" in news(stage.sides[SIDE], model.now_ns)
    assert stage.tasks.state_of(0) == State.FAILED


def test_what_a_lost_slot_had_and_is_in_the_queue_again_is_not_stranded() -> None:
    model = Model("prefork", "late-reject")
    model.enqueue(1)
    worker = model.workers[0]
    model.receive(worker)
    model.start(worker)
    model.kill_slot(worker, 0)
    model.close()

    stage = _stage(model.entries_as_shipped())

    assert stage.tasks.state_of(0) == State.QUEUED


def test_that_the_main_process_retries_a_task_makes_it_no_slot() -> None:
    model = Model("prefork", "late-retry", concurrency=1)
    model.enqueue(1)
    worker = model.workers[0]
    model.receive(worker)
    model.start(worker)
    model.kill_slot(worker, 0)

    stage = _stage(model.entries_as_shipped())

    assert worker.main.pid not in {lane.pid for lane in stage.sides[SIDE].lanes}


def _crashed(pool: str) -> tuple[Model, Stage]:
    """Let a poison and one innocent task run, and the poison end its process."""
    model = Model(pool, "early")
    model.enqueue(4)
    worker = model.workers[0]
    for _ in range(2):
        model.receive(worker)
        model.start(worker)
    model.wait(100)
    model.strike(worker, 0)
    model.wait(200)
    model.close()
    return model, _stage(model.entries([9]))


def test_under_threads_the_sentence_says_who_died() -> None:
    model, stage = _crashed("threads")

    said = news(stage.sides[SIDE], model.now_ns)

    assert "lost its worker" in said
    assert "1 innocent task died" in said


def test_an_end_that_nobody_saw_is_told_in_plain_words() -> None:
    model, stage = _crashed("threads:2")
    end = {"op": "worker-exit", "t_ns": model.now_ns, "code": None, "signal": None, "asked": False}
    stage.take(Entry.of_op(model.workers[0].name, "s#1", 1, end))

    said = news(stage.sides[SIDE], model.now_ns)

    assert said.startswith(f"{SIDE} lost its worker to a cause that nobody was left to see")


def test_under_prefork_the_sentence_says_that_nobody_else_died() -> None:
    model, stage = _crashed("prefork")

    said = news(stage.sides[SIDE], model.now_ns)

    assert "lost one child process" in said
    assert "no innocent task died" in said


def test_numbers_that_were_given_away_but_not_sent_are_no_tasks() -> None:
    stage = Stage()
    ops = [
        {"op": "run-begin", "run": "r", "tag": TAG, "t_ns": 1},
        {"op": "block-begin", "block": 0, "side": "a", "workload": "square", "first": 0, "t_ns": 1},
        {"op": "block-begin", "block": 1, "side": "b", "workload": "square", "first": 9, "t_ns": 1},
        {"op": "enqueued", "block": 1, "side": "b", "first": 9, "count": 2, "t_ns": 2},
        {"op": "enqueued", "block": 0, "side": "a", "first": 0, "count": 3, "t_ns": 3},
    ]
    for number, op in enumerate(ops, 1):
        stage.take(Entry.of_op("producer", "producer#1-1", number, op))

    assert {label: side.enqueued for label, side in stage.sides.items()} == {"a": 3, "b": 2}


def test_a_run_that_begins_leaves_nothing_of_the_one_before() -> None:
    _, stage = _crashed("threads")

    begin = {"op": "run-begin", "run": "next", "tag": 7, "t_ns": 1}
    stage.take(Entry.of_op("producer", "producer#2-2", 1, begin))

    assert stage.run == "next"
    assert stage.sides == {}


def _ran_into_its_end(unacked: list[tuple[int, float]]) -> Stage:
    """Let a worker take three tasks, and end while one runs and a slot is to begin another."""
    model = Model("threads", "early", concurrency=2)
    model.enqueue(3)
    worker = model.workers[0]
    for _ in range(3):
        model.receive(worker)
    model.start(worker)
    stage = _stage(model.entries([9]))
    exit_op = {"op": "worker-exit", "signal": 11, "t_ns": model.now_ns + 1}
    reading = {"op": "broker", "side": SIDE, "reason": "worker-exit", "unacked": unacked}
    stage.take(Entry.of_op(worker.name, "supervisor#9-9", 1, exit_op))
    stage.take(Entry.of_op("producer", "producer#9-9", 1, reading | {"queue": []}))
    return stage


def test_what_was_acknowledged_and_had_not_begun_is_lost_with_its_worker() -> None:
    side = _ran_into_its_end(unacked=[(2, 1.0)]).sides[SIDE]

    # 0 ran, 1 was taken by a slot, and 2 is still held.
    assert (side.counts[State.LOST], side.counts[State.STRANDED]) == (2, 1)
    assert side.counts[State.PREFETCHED] == 0


_HOUR = 3_600


def _op(stage: Stage, name: str, **fields: object) -> None:
    stage.take(Entry.of_op("w", "w#1-1", 1, {"op": name, "side": SIDE, "t_ns": 1, **fields}))


def _run_for_an_hour(stage: Stage, hour: int) -> None:
    """Run a task a second in a child that is replaced every minute."""
    _op(stage, "enqueued", first=hour * _HOUR, count=_HOUR)
    for second in range(hour * _HOUR, (hour + 1) * _HOUR):
        pid, now_ns = 100 + second // 60, second * 1_000_000_000
        for event, t_ns in ((Event.STARTED, now_ns), (Event.SUCCEEDED, now_ns + 500_000_000)):
            record = RECORD.pack(second, t_ns, 0, TAG, pid, pid, event, 0, 1)
            stage.take(Entry("records", "w", f"w/{pid}-1", 1, record))
        _op(stage, "sample", t_ns=now_ns, pss_bytes=1)
        if second % 60 == 59:
            _op(stage, "process-gone", t_ns=now_ns + 600_000_000, ring=f"w/{pid}-1", pid=pid)
        stage.sides[SIDE].series.waiting(now_ns, 1)
        stage.forget_before(now_ns)


def test_hours_of_running_cost_a_byte_a_task() -> None:
    stage, held = Stage(), []
    _op(stage, "run-begin", run="r", tag=TAG)
    _op(stage, "hello")
    for hour in range(3):
        _run_for_an_hour(stage, hour)
        held.append(len(pickle.dumps(stage)))

    assert stage.sides[SIDE].counts[State.COMPLETED] == 3 * _HOUR
    assert held[2] - held[1] < 1.1 * _HOUR
