"""The live page's books balance at every moment, and agree with what really happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings

from poolproof.live.stage import Stage, State
from poolproof.live.words import news
from poolproof_workers.contract import Entry
from tests.unit.celery_model import SIDE, TAG, Model
from tests.unit.test_verdicts import _models, _play, _sizes, _steps

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


def test_what_a_worker_took_and_died_of_before_it_could_keep_it_is_lost_in_the_end() -> None:
    model = Model("threads", "early")
    model.enqueue(2)
    model.receive(model.workers[0], dies=True)
    model.close()

    side = _stage(model.entries([9])).sides[SIDE]

    assert [model.truth(number) for number in range(2)] == ["lost", "queued"]
    assert (side.counts[State.LOST], side.counts[State.QUEUED]) == (1, 1)


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
