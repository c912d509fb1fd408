"""When a supervisor has something to tell."""

from __future__ import annotations

import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from poolproof_workers.contract import Event
from poolproof_workers.recorder.ring import Ring
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.clock import Offset
from poolproof_workers.supervisor.outbox import Outbox
from poolproof_workers.supervisor.ring_folder import RingFolder
from poolproof_workers.supervisor.shipper import News
from poolproof_workers.supervisor.telemetry import Telemetry, _opened_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof_workers.supervisor.ring_cursor import RingCursor


class _Shipper:
    """Takes whatever there is, in a run that is on."""

    run: str | None = "a-run"
    clock: Offset | None = Offset(offset_ns=5, error_ns=1)

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def offset(self) -> Offset | None:
        return self.clock

    def exchange(self, _run: str | None, tapes: list[RingCursor]) -> News:
        for tape in tapes:
            tape.mark_sent(tape.batches())
        orders, self.orders = self.orders, []
        return News(self.run, None, orders)


@pytest.fixture
def shipper() -> _Shipper:
    return _Shipper()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox("worker")


@pytest.fixture
def witness(tmp_path: Path, shipper: _Shipper, outbox: Outbox) -> Iterator[Telemetry]:
    folder = RingFolder(tmp_path / "rings", "worker")
    lives = SimpleNamespace(settings=Settings.from_env({}), number=1, ready=False, pid=None)
    liveness = SimpleNamespace(watch=lambda _pid: None, ended=set)
    parts: tuple[Any, ...] = (folder, outbox, shipper, lives, liveness)
    yield Telemetry(*cast("Any", parts))
    folder.close()


@pytest.fixture
def ring(tmp_path: Path, witness: Telemetry) -> Ring:
    ring = Ring.create(tmp_path / "rings")
    witness.take_in_rings()
    witness.talk()
    return ring


def test_a_worker_that_did_nothing_did_not_come_to_rest(witness: Telemetry, ring: Ring) -> None:
    assert [witness.came_to_rest() for _ in range(3)] == [False] * 3


def test_what_came_to_rest_is_told_once(witness: Telemetry, ring: Ring) -> None:
    ring.write(7, 1, Event.STARTED, 0)
    ring.write(7, 1, Event.SUCCEEDED, 1)

    assert not witness.came_to_rest()  # it moved
    assert witness.came_to_rest()
    witness.talk()
    assert not witness.came_to_rest()


def test_a_worker_that_runs_a_task_is_not_at_rest_however_still_it_is(
    witness: Telemetry, ring: Ring
) -> None:
    ring.write(7, 1, Event.STARTED, 0)
    assert [witness.came_to_rest() for _ in range(3)] == [False] * 3

    ring.write(7, 1, Event.SUCCEEDED, 1)
    assert [witness.came_to_rest() for _ in range(2)] == [False, True]


def test_without_a_run_nobody_wants_to_know(
    witness: Telemetry, ring: Ring, shipper: _Shipper
) -> None:
    shipper.run = None
    witness.talk()
    ring.write(7, 1, Event.STARTED, 0)
    ring.write(7, 1, Event.SUCCEEDED, 1)

    assert [witness.came_to_rest() for _ in range(3)] == [False] * 3


def test_a_run_is_joined_with_the_clock_first_and_not_without_it(
    witness: Telemetry, shipper: _Shipper, outbox: Outbox
) -> None:
    known, shipper.clock = shipper.clock, None
    witness.talk()
    assert (witness.on, outbox.unsent()) == (False, [])

    shipper.clock = known
    witness.talk()

    assert witness.on
    assert [entry.op["op"] for entry in outbox.unsent()] == ["clock", "hello"]


def test_orders_that_come_before_a_run_is_joined_wait_until_it_is(
    witness: Telemetry, shipper: _Shipper
) -> None:
    known, shipper.clock = shipper.clock, None
    first, second = {"order": "restart"}, {"order": "stop"}
    shipper.orders = [first]
    assert witness.talk() == []

    shipper.clock, shipper.orders = known, [second]

    assert (witness.talk(), witness.run) == ([first, second], shipper.run)
    assert witness.talk() == []


def test_orders_that_come_when_no_run_is_on_do_not_wait_for_one(
    witness: Telemetry, shipper: _Shipper
) -> None:
    run, shipper.run = shipper.run, None
    shipper.orders = [{"order": "stop"}]
    assert witness.talk() == [{"order": "stop"}]

    shipper.run = run

    assert witness.talk() == []


def test_a_process_that_began_after_a_ring_did_not_open_it() -> None:
    def ring(pid: int, age_s: float) -> RingCursor:
        opened_ns = time.monotonic_ns() - round(age_s * 1e9)
        return cast("RingCursor", SimpleNamespace(pid=pid, opened_ns=opened_ns))

    with subprocess.Popen(["sleep", "60"]) as sleeper:
        assert _opened_by(ring(sleeper.pid, 0.0))
        assert not _opened_by(ring(sleeper.pid, 60.0))
        assert not _opened_by(ring(sleeper.pid, -60.0))  # of before the machine's last start
        sleeper.kill()
        sleeper.wait()
        assert not _opened_by(ring(sleeper.pid, 0.0))
