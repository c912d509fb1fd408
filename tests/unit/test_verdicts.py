"""Every task gets one verdict, and it is the truth or `unknown`."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolproof.judge.run import JudgedRun, consider
from poolproof.judge.verdicts.books import books
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.judge.verdicts.verdicts import _judge as _judged
from poolproof_workers.contract import Event
from tests.unit.celery_model import Model, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof_workers.contract import Entry

_ENDS = (Event.SUCCEEDED, Event.SUCCEEDED, Event.SUCCEEDED, Event.FAILED, Event.ABANDONED)

#: What happens, the likelier the more often it stands here.
_DEEDS = (
    "enqueue receive receive receive start start start end end end "
    "lose kill stop quit wait sweep die retry refuse limit terminate"
)
_steps = st.lists(
    st.tuples(st.sampled_from(_DEEDS.split()), st.integers(0, 3), st.integers(0, 5)),
    min_size=5,
    max_size=80,
)
_kinds = (
    st.sampled_from(["prefork", "threads"]),
    st.sampled_from(["early", "late", "late-reject", "late-retry"]),
)
_models = st.tuples(*_kinds, st.integers(1, 2))
_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
_settings = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _play(model: Model, steps: list[tuple[str, int, int]]) -> None:
    """Let the model do what the steps say: (what, which worker, which of it)."""
    model.enqueue(3)
    for deed, which, index in steps:
        worker = model.workers[which % len(model.workers)]
        deeds: dict[str, Callable[[], None]] = {
            "enqueue": partial(model.enqueue, 1 + index),
            "receive": partial(model.receive, worker),
            "start": partial(model.start, worker),
            "end": partial(model.end, worker, index, _ENDS[index % len(_ENDS)]),
            "lose": partial(model.kill_slot, worker, index),
            "kill": partial(model.kill, worker),
            "stop": partial(model.stop, worker),
            "quit": partial(model.quit, worker),
            "retry": partial(model.retry, worker, index),
            "refuse": partial(model.refuse, worker),
            "limit": partial(model.end_by_force, worker, index, Event.REPORTED),
            "terminate": partial(model.end_by_force, worker, index, Event.REVOKED),
            "wait": partial(model.wait, index * 1500),
            "sweep": model.sweep,
            "die": partial(_die_at_the_worst_moment, model, worker, index),
            "vanish": partial(model.vanish, worker, orderly=bool(index % 2)),
            "cut": partial(model.cut, worker, on_the_way=bool(index % 2)),
            "heal": partial(model.heal, worker, forgets=bool(index % 2)),
        }
        deeds[deed]()


def _die_at_the_worst_moment(model: Model, worker: Any, index: int) -> None:
    match index % 3:
        case 0:
            model.receive(worker, dies=True)
        case 1:
            model.start(worker, dies=True)
        case _:
            model.end(worker, 0, Event.SUCCEEDED, dies=True)


def _judge(entries: list[Entry]) -> JudgedRun:
    with tempfile.TemporaryDirectory() as folder:
        return consider(write(Path(folder), entries))


def _words(case: JudgedRun) -> list[str]:
    return [Verdict(verdict).word for verdict in case.verdicts]


def _differences(model: Model, case: JudgedRun) -> dict[int, tuple[str, str]]:
    """Return number -> (truth, verdict) where they differ."""
    pairs = enumerate(_words(case))
    return {n: (model.truth(n), word) for n, word in pairs if model.truth(n) != word}


@given(_models, _steps, _sizes)
@_settings
def test_with_whole_recordings_every_verdict_is_the_truth(
    kind: tuple[str, str, int], steps: list[tuple[str, int, int]], sizes: list[int]
) -> None:
    model = Model(*kind)
    _play(model, steps)
    model.close()

    case = _judge(model.entries(sizes))

    assert _differences(model, case) == {}
    assert books(case)["balanced"]


@given(_models, _steps, _sizes, st.data())
@_settings
def test_with_lost_recordings_every_verdict_is_the_truth_or_unknown(
    kind: tuple[str, str, int],
    steps: list[tuple[str, int, int]],
    sizes: list[int],
    data: st.DataObject,
) -> None:
    model = Model(*kind)
    _play(model, steps)
    model.close(answered=data.draw(st.sampled_from([None, None, {model.workers[0].name}])))
    entries = model.entries(sizes)
    lossy = [i for i, entry in enumerate(entries) if entry.kind == "records"]
    lost = data.draw(st.sets(st.sampled_from(lossy), max_size=3)) if lossy else set()

    case = _judge([entry for i, entry in enumerate(entries) if i not in lost])

    wrong = {n: pair for n, pair in _differences(model, case).items() if pair[1] != "unknown"}
    assert wrong == {}
    assert books(case)["balanced"]


@given(
    _models,
    st.lists(
        st.tuples(
            st.sampled_from([*(deed for deed in _DEEDS.split() if deed != "enqueue"), "vanish"]),
            st.integers(0, 3),
            st.integers(0, 5),
        ),
        min_size=5,
        max_size=80,
    ),
    _sizes,
    st.data(),
)
@_settings
def test_with_deleted_folders_every_verdict_is_the_truth_or_unknown(
    kind: tuple[str, str, int],
    steps: list[tuple[str, int, int]],
    sizes: list[int],
    data: st.DataObject,
) -> None:
    model = Model(*kind)
    model.enqueue(9)
    _play(model, steps)
    model.close()
    for ring in model.rings:
        if ring.erased:
            shipped = data.draw(st.integers(0, len(ring.records)))
            del ring.records[shipped:]

    case = _judge(model.entries(sizes))

    wrong = {n: pair for n, pair in _differences(model, case).items() if pair[1] != "unknown"}
    assert wrong == {}
    assert books(case)["balanced"]


@given(
    st.tuples(*_kinds, st.integers(1, 3)),
    st.lists(
        st.tuples(
            st.sampled_from([*_DEEDS.split(), "cut", "cut", "heal"]),
            st.integers(0, 3),
            st.integers(0, 5),
        ),
        min_size=5,
        max_size=80,
    ),
    _sizes,
)
@_settings
def test_behind_a_partition_every_verdict_is_the_truth_or_unknown(
    kind: tuple[str, str, int], steps: list[tuple[str, int, int]], sizes: list[int]
) -> None:
    model = Model(*kind)
    _play(model, steps)
    model.close()

    case = _judge(model.entries(sizes))

    wrong = {n: pair for n, pair in _differences(model, case).items() if pair[1] != "unknown"}
    assert wrong == {}
    assert books(case)["balanced"]


@pytest.mark.parametrize(("ends", "truth"), [(0, "queued"), (4, "completed")])
def test_what_a_worker_behind_a_partition_held_is_unknown_whatever_the_broker_holds(
    ends: int, truth: str
) -> None:
    model = Model("threads", "early", workers=2, timeout_s=3600.0)
    model.enqueue(10)
    for worker in model.workers:
        for _ in range(4):
            model.receive(worker)
        for _ in range(2):
            model.start(worker)
        model.cut(worker)
        for _ in range(ends):
            model.end(worker, 0, Event.SUCCEEDED)
            model.start(worker)
    model.close()

    words = _words(_judge(model.entries([9])))

    assert [model.truth(number) for number in (2, 3, 6, 7)] == [truth] * 4
    assert words == ["unknown"] * 8 + ["queued"] * 2


@pytest.mark.parametrize("then", ["nothing", "it lives again, behind a partition"])
def test_what_a_dead_worker_held_is_stranded_beside_a_partition_since_its_rings_are_whole(
    then: str,
) -> None:
    model = Model("threads", "early", workers=2, timeout_s=3600.0)
    model.enqueue(8)
    dead, away = model.workers
    for worker in (dead, away):
        for _ in range(3):
            model.receive(worker)
        model.start(worker)
    model.wait(2_000)
    model.kill(dead)
    model.cut(away)
    if then != "nothing":
        model.cut(dead)
    model.close()

    words = _words(_judge(model.entries([9])))

    assert words == ["lost", *["stranded"] * 2, *["unknown"] * 3, *["queued"] * 2]
    assert [model.truth(number) for number in range(3)] == words[:3]


@pytest.mark.parametrize("shipped", [0, 1, 2])
@pytest.mark.parametrize("policy", ["early", "late"])
def test_what_a_worker_began_and_gave_back_unseen_is_unknown(policy: str, shipped: int) -> None:
    model = Model("threads", policy)
    worker = model.workers[0]
    model.enqueue(1)
    model.receive(worker)
    model.start(worker)
    unread = worker.main
    model.vanish(worker, orderly=True)
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model.close()
    del unread.records[shipped:]

    case = _judge(model.entries([9]))

    assert model.truth(0) == ("recovered" if policy == "late" else "lost")
    assert _words(case) == ["unknown"]


def test_a_deleted_folder_leaves_what_came_after_it_known() -> None:
    model = Model("threads", "early")
    worker = model.workers[0]
    model.enqueue(1)
    model.receive(worker)
    model.start(worker)
    model.vanish(worker)
    model.wait(2_000)
    model.enqueue(1)
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model.close()
    old, new = (entry for entry in model.entries([9]) if entry.kind == "records")
    ops = [entry for entry in model.entries([9]) if entry.kind == "op"]
    up = next(i for i, entry in enumerate(ops) if entry.op["op"] == "worker-up")

    case = _judge([*ops[:up], old, *ops[up:-2], new, *ops[-2:]])

    assert _words(case) == ["unknown", "completed"]


@given(_models, _steps, st.randoms(use_true_random=False))
@_settings
def test_doubled_and_split_entries_change_nothing(
    kind: tuple[str, str, int], steps: list[tuple[str, int, int]], random: Any
) -> None:
    model = Model(*kind)
    _play(model, steps)
    model.close()
    entries = model.entries([3])
    doubled = [again for entry in entries for again in [entry] * random.choice([1, 1, 2])]
    # Sent again from the beginning, in larger pieces, before anything new.
    again = [entry for entry in model.entries([7]) if entry.kind == "records"]
    place = random.randrange(len(doubled) + 1)
    ops_first = next(
        (i for i, entry in enumerate(doubled) if entry.kind == "records"), len(doubled)
    )
    place = max(place, ops_first)

    case = _judge(doubled[:place] + again + doubled[place:])

    assert _differences(model, case) == {}


def test_a_number_that_was_never_enqueued_is_unexpected() -> None:
    model = Model("threads", "early")
    model.enqueue(2)
    model.queue.append(5)
    model.tasks += [model.tasks[0]] * 4
    worker = model.workers[0]
    for _ in range(3):
        model.receive(worker)
        model.start(worker)
        model.end(worker, 0, Event.SUCCEEDED)
    model.close()

    case = _judge(model.entries([9]))

    assert _words(case) == ["completed", "completed"]
    assert books(case)["unexpected"] == 1
    assert books(case)["enqueued"] == 2


def test_a_lost_ring_of_one_child_leaves_the_tasks_of_the_others_known() -> None:
    model = Model("prefork", "early", concurrency=2)
    model.enqueue(4)
    worker = model.workers[0]
    for _ in range(2):
        for _ in range(2):
            model.receive(worker)
            model.start(worker)
        for _ in range(2):
            model.end(worker, 0, Event.SUCCEEDED)
    model.close()
    hidden = worker.slots[0].ring.name

    case = _judge([entry for entry in model.entries([9]) if entry.source != hidden])

    assert sorted(_words(case)) == ["completed", "completed", "unknown", "unknown"]


def test_a_life_is_over_also_if_the_next_one_has_its_pid() -> None:
    model = Model("threads", "early", concurrency=1, timeout_s=3600.0)
    worker = model.workers[0]
    model.enqueue(2)
    for _ in range(2):
        model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model._pid -= 1  # a container that was made anew counts from the beginning
    before = worker.main.pid
    model.vanish(worker)
    assert worker.main.pid == before
    model.close()

    case = _judge(model.entries([9]))

    assert model.truth(1) == "stranded"
    assert _words(case)[1] in {"stranded", "unknown"}


def test_what_a_living_worker_was_asked_for_and_does_not_list_is_unknown() -> None:
    model = Model("prefork", "early", concurrency=1)
    worker = model.workers[0]
    model.enqueue(2)
    for _ in range(2):
        model.receive(worker)
    model.close()
    (said,) = (op for _, op in model.ops if op["op"] == "celery")
    assert said["reserved"] == [0, 1]
    said["reserved"] = [0]  # the other it forgot, when its connection broke

    assert _words(_judge(model.entries([9]))) == ["queued", "unknown"]


def test_what_a_worker_did_since_it_answered_for_the_last_time_is_unknown() -> None:
    model = Model("threads", "early", concurrency=1)
    worker = model.workers[0]
    model.enqueue(3)
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model.receive(worker)
    model.start(worker)
    model.close()
    closed = model.ops[-1][1]
    closed |= {"complete": False, "missing": {worker.name: "it did not answer within 10 s"}}

    assert _words(_judge(model.entries([9]))) == ["completed", "unknown", "queued"]


def test_without_a_reading_of_the_broker_what_never_began_is_unknown() -> None:
    model = Model("threads", "early")
    model.enqueue(3)
    worker = model.workers[0]
    model.receive(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model.close()
    entries = [e for e in model.entries([9]) if e.kind == "records" or e.op["op"] != "broker"]

    case = _judge(entries)

    assert _words(case) == ["completed", "unknown", "unknown"]


def test_the_due_time_of_a_stranded_task_is_known() -> None:
    model = Model("threads", "early")
    model.enqueue(1)
    model.receive(model.workers[0])
    taken_ns = model.deliveries[0].taken_ns
    model.kill(model.workers[0])
    model.close()

    case = _judge(model.entries([9]))

    assert _words(case) == ["stranded"]
    assert np.isclose(case.ending.taken_ns[0], taken_ns, atol=1000)


class Part:
    """As much of a ledger as a verdict is made from, of one task."""

    def __init__(self, counts: dict[Event, int], columns: dict[str, int]) -> None:
        self._counts = counts
        self._columns = {"block": 0, "last_received": 0, "last_start": 0, "last_end": 0} | columns

    def count(self, event: Event) -> np.ndarray:
        return np.array([self._counts.get(event, 0)], np.int32)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array([self._columns[name]])


_S, _F, _B, _A = Event.SUCCEEDED, Event.FAILED, Event.STARTED, Event.ABANDONED
_BEGUN = {"last_received": 3, "last_start": 5}
_AGAIN = {"last_received": 7, "last_start": 5}


@pytest.mark.parametrize(
    ("counts", "columns", "state", "verdict"),
    [
        ({}, {"block": -1}, "doubt", Verdict.NONE),
        *(
            ({event: 1}, {"block": -1}, "doubt", Verdict.UNEXPECTED)
            for event in (Event.RECEIVED, _B, _S, _F, _A, Event.REVOKED, Event.REPORTED)
        ),
        ({_S: 2}, {}, "doubt running", Verdict.UNKNOWN),
        ({_S: 2}, {}, "running cut", Verdict.REPEATED),
        ({_S: 1, _F: 1}, {}, "running cut", Verdict.REPEATED),
        ({_S: 1}, {}, "running cut", Verdict.RUNNING),
        ({}, {}, "running queued", Verdict.RUNNING),
        ({_S: 1}, {}, "cut queued unacked", Verdict.RECOVERED),
        ({_S: 1}, {}, "queued unacked", Verdict.COMPLETED),
        ({_F: 1}, {}, "cut queued", Verdict.FAILED),
        ({_F: 2}, {}, "", Verdict.FAILED),
        ({_B: 1}, _BEGUN, "queued active unacked", Verdict.QUEUED),
        ({_B: 1}, _BEGUN, "reserved active unacked", Verdict.QUEUED),
        ({}, {}, "unacked held", Verdict.QUEUED),
        ({_B: 1}, _AGAIN, "unacked held active", Verdict.QUEUED),
        ({_B: 1}, _AGAIN | {"last_end": 9}, "unacked held", Verdict.STRANDED),
        ({_B: 1}, {"last_received": 5, "last_start": 5}, "unacked held", Verdict.STRANDED),
        ({_B: 1}, _BEGUN, "unacked held active", Verdict.PHANTOM),
        ({_A: 1}, _BEGUN, "active", Verdict.PHANTOM),
        ({}, {}, "active", Verdict.QUEUED),
        ({_B: 1}, _BEGUN, "unacked held unclear", Verdict.UNKNOWN),
        ({}, {}, "unacked unclear", Verdict.UNKNOWN),
        ({}, {}, "unacked", Verdict.STRANDED),
        ({Event.REPORTED: 1}, _BEGUN, "unacked", Verdict.STRANDED),
        ({_B: 1, Event.REPORTED: 1}, _BEGUN, "unacked held", Verdict.FAILED),
        ({_B: 1, Event.REVOKED: 1}, _BEGUN, "unacked held", Verdict.FAILED),
        ({Event.REPORTED: 1}, {}, "unread", Verdict.FAILED),
        ({Event.REVOKED: 1}, {}, "unread", Verdict.FAILED),
        ({_B: 1}, _BEGUN, "unread kept", Verdict.UNKNOWN),
        ({}, {}, "kept maybe", Verdict.QUEUED),
        ({_B: 1}, _AGAIN, "kept maybe", Verdict.QUEUED),
        ({}, {}, "maybe", Verdict.UNKNOWN),
        ({_B: 1}, _AGAIN, "maybe", Verdict.UNKNOWN),
        ({_B: 1}, _BEGUN, "kept maybe", Verdict.LOST),
        ({_A: 1}, _BEGUN, "kept maybe", Verdict.LOST),
        ({}, {}, "", Verdict.LOST),
        ({Event.RETRIED: 1, Event.RECEIVED: 1}, {}, "", Verdict.LOST),
    ],
)
def test_the_first_rule_that_holds_is_the_verdict(
    counts: dict[Event, int], columns: dict[str, int], state: str, verdict: Verdict
) -> None:
    words = state.split()
    part: Any = Part(counts, columns)
    ending: Any = SimpleNamespace(
        running=np.array([int("running" in words)]),
        cut=np.array([int("cut" in words)]),
        **{
            name: np.array([name in words])
            for name in ("queued", "unacked", "held", "active", "reserved", "kept")
        },
        maybe_kept=np.array(["maybe" in words]),
        holder_known=np.array(["unclear" not in words]),
        broker_known=np.array(["unread" not in words]),
    )

    assert _judged(part, ending, np.array(["doubt" in words])).tolist() == [verdict]


def test_the_books_add_up_what_became_of_every_task() -> None:
    model = Model("prefork", "late", concurrency=2)
    worker = model.workers[0]
    model.enqueue(6, {1: "segfault", 2: "segfault"})
    for _ in range(4):
        model.receive(worker)
    model.start(worker)
    model.start(worker)
    model.end(worker, 0, Event.SUCCEEDED)
    model.deliveries[0].acked = False  # it comes once more
    model.strike(worker, 1)
    model.queue.remove(5)  # the broker lost it
    model.close()

    found = books(_judge(model.entries([3])))

    words = {"completed": 1, "failed": 1, "queued": 3, "lost": 1}
    assert {word: count for word, count in found["verdicts"].items() if count} == words
    assert set(found["verdicts"]) == {
        each.word for each in Verdict if each not in {Verdict.NONE, Verdict.UNEXPECTED}
    }
    assert found["by_pool"] == {"model": words}
    assert found["poison"] == {"failed": 1, "queued": 1}
    assert (found["enqueued"], found["balanced"], found["unexpected"]) == (6, True, 0)
    assert found["copies_left"] == 0

    model = Model("threads", "late", concurrency=1)
    model.enqueue(2)
    model.receive(model.workers[0])
    model.start(model.workers[0])
    model.end(model.workers[0], 0, Event.SUCCEEDED, dies=True)
    model.close()

    found = books(_judge(model.entries([3])))

    assert found["verdicts"]["completed"] == 1
    assert found["copies_left"] == 1


def test_books_of_a_producer_whose_word_is_not_whole_do_not_balance() -> None:
    model = Model("threads", "early", concurrency=1)
    model._op("producer", op="wait", seconds=1.0)
    model.enqueue(1)
    model.close()
    entries = [e for e in model.entries([1]) if e.kind != "op" or e.op["op"] != "wait"]

    found = books(_judge(entries))

    assert sum(found["verdicts"].values()) == found["enqueued"] == 1
    assert not found["balanced"]
