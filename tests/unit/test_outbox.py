"""The ops of a supervisor until they are saved."""

from __future__ import annotations

import pytest

from poolproof_workers.supervisor.outbox import Outbox


@pytest.fixture
def outbox() -> Outbox:
    return Outbox("worker")


def ship(outbox: Outbox) -> list[int]:
    entries = outbox.unsent()
    outbox.mark_sent(entries)
    return [entry.sequence for entry in entries]


def fill(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        outbox.add("sample")


def test_ops_are_numbered_from_one_and_sent_once(outbox: Outbox) -> None:
    fill(outbox, 2)

    assert ship(outbox) == [1, 2]
    fill(outbox, 1)
    assert ship(outbox) == [3]
    assert ship(outbox) == []


def test_an_op_has_name_time_boot_and_worker(outbox: Outbox) -> None:
    outbox.add("worker-exit", t_ns=5, code=1)

    (entry,) = outbox.unsent()
    assert entry.kind == "op"
    assert entry.source.startswith("worker#")
    assert entry.op.pop("boot")
    assert entry.op | {"boot": ""} == {
        "op": "worker-exit",
        "t_ns": 5,
        "boot": "",
        "worker": "worker",
        "code": 1,
    }


@pytest.mark.parametrize(("saved", "again"), [(0, [1, 2, 3]), (2, [3]), (3, [])])
def test_a_rewind_sends_again_what_is_not_saved(
    outbox: Outbox, saved: int, again: list[int]
) -> None:
    fill(outbox, 3)
    ship(outbox)

    outbox.rewind(saved)

    assert ship(outbox) == again


def test_a_redis_that_forgot_what_is_saved_gets_what_is_left(outbox: Outbox) -> None:
    fill(outbox, 3)
    ship(outbox)
    outbox.mark_saved(2)

    outbox.rewind(0)

    assert ship(outbox) == [3]
    fill(outbox, 1)
    assert ship(outbox) == [4]


def test_a_new_run_has_a_source_of_its_own(outbox: Outbox) -> None:
    fill(outbox, 3)
    ship(outbox)
    before = outbox.source

    outbox.begin_run()

    assert outbox.source != before
    assert ship(outbox) == []
    fill(outbox, 1)
    assert ship(outbox) == [1]
