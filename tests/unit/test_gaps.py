"""A hole is where something may be missing, and nowhere else."""

from __future__ import annotations

from typing import Any

from poolproof.history.gaps import holes
from poolproof.history.ledger import Ledger
from poolproof_workers.contract import Entry

_WORKER = "threads-2@host"


def _holes(*ops: dict[str, Any]) -> list[tuple[int, int, str]]:
    ledger = Ledger()
    begin = {"op": "run-begin", "run": "r", "tag": 7}
    end = {"op": "flushed", "token": "t", "rings": {}, "alive": [], "pid": None}
    for number, op in enumerate([begin, *ops, end], 1):
        whole = {"t_ns": number * 10, "boot": "b", "worker": _WORKER, "side": "s", **op}
        ledger.take(Entry.of_op(_WORKER, f"{_WORKER}#1-1", number, whole))
    return [(hole.after_ns, hole.before_ns, hole.why) for hole in holes(ledger)]


def _hello(life: int, pid: int | None = None) -> dict[str, Any]:
    return {"op": "hello", "pool": "threads:2", "concurrency": 2, "life": life, "pid": pid}


def _up(life: int, pid: int) -> dict[str, Any]:
    return {"op": "worker-up", "life": life, "pid": pid}


def _ready(life: int, pid: int) -> dict[str, Any]:
    return {"op": "worker-ready", "life": life, "pid": pid}


def _exit(life: int, pid: int, signal: int | None) -> dict[str, Any]:
    return {"op": "worker-exit", "life": life, "pid": pid, "signal": signal, "code": None}


def test_a_life_of_which_only_the_end_is_known_recorded_nothing() -> None:
    # Its supervisor died before it could say that it had started it, and the next one found
    # the folder as it was left, without a ring of it.
    before = (_hello(1), _up(1, 10), _ready(1, 10), _exit(1, 10, 9))

    assert _holes(*before, _exit(2, 11, None), _hello(3), _up(3, 12)) == []


def test_a_life_whose_end_died_with_its_supervisor_is_no_hole_if_the_folder_is_there() -> None:
    before = (_hello(1), _up(1, 10), _ready(1, 10), _exit(1, 10, 9), _up(2, 11))

    assert _holes(*before, _hello(3), _up(3, 12)) == []


def test_a_life_that_was_ready_and_left_no_ring_is_a_hole_from_its_beginning() -> None:
    found = _holes(_hello(1), _up(1, 10), _ready(1, 10), _exit(1, 10, None), _hello(2), _up(2, 11))

    assert [why for *_, why in found] == ["it ended unseen, and its rings are gone"]


def test_a_folder_that_is_gone_hides_all_since_the_life_before_began() -> None:
    # The new supervisor counts from 1 again, and had begun no life when it said hello.
    (hole,) = _holes(_hello(1), _up(1, 10), _ready(1, 10), _hello(1), _up(1, 11))

    assert hole == (30, 60, "it ended unseen, and its rings are gone")
