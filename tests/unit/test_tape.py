"""How far a ring was read, sent and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof_workers.contract import Event
from poolproof_workers.ring import Ring
from poolproof_workers.tape import BATCH, Tape

if TYPE_CHECKING:
    from pathlib import Path

CAPACITY = 16_384


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(tmp_path, CAPACITY)


@pytest.fixture
def tape(ring: Ring) -> Tape:
    return Tape(ring.path, "worker")


def write(ring: Ring, count: int, event: Event = Event.STARTED) -> None:
    for number in range(count):
        ring.write(7, number, event, 0)


def ship(tape: Tape) -> list[tuple[int, int]]:
    entries = tape.batches()
    tape.mark_sent(entries)
    return [(entry.sequence, entry.count) for entry in entries]


def test_it_names_its_ring_and_worker(ring: Ring, tape: Tape) -> None:
    write(ring, 1)

    assert tape.name == f"worker/{ring.path.stem}"
    assert tape.name == f"worker/{tape.pid}-{tape.opened_ns}"
    (entry,) = tape.batches()
    assert (entry.kind, entry.worker, entry.source) == ("records", "worker", tape.name)


def test_each_record_is_read_once_in_batches(ring: Ring, tape: Tape) -> None:
    write(ring, BATCH + 10)

    assert ship(tape) == [(1, BATCH), (BATCH + 1, 10)]
    assert ship(tape) == []
    write(ring, 1)
    assert ship(tape) == [(BATCH + 11, 1)]


def test_what_is_not_marked_as_sent_is_read_again(ring: Ring, tape: Tape) -> None:
    write(ring, 3)
    tape.batches()

    assert ship(tape) == [(1, 3)]


def test_a_rewind_goes_back_to_what_is_saved(ring: Ring, tape: Tape) -> None:
    write(ring, 10)
    ship(tape)

    tape.rewind(4)

    assert ship(tape) == [(5, 6)]


def test_a_run_begins_after_what_was_seen_before_it(ring: Ring, tape: Tape) -> None:
    write(ring, 10)
    tape.look()
    tape.mark_old(tape.seen)
    write(ring, 5)

    tape.begin_run()

    assert tape.base == 10
    assert ship(tape) == [(11, 5)]
    tape.rewind(0)
    assert ship(tape) == [(11, 5)]


def test_a_resumed_run_goes_on_after_what_is_saved(ring: Ring, tape: Tape) -> None:
    write(ring, 10)
    tape.saved = 6

    tape.resume_run(base=2)

    assert tape.base == 2
    assert ship(tape) == [(7, 4)]


def test_it_is_finished_when_its_process_is_gone_and_all_is_saved(ring: Ring, tape: Tape) -> None:
    write(ring, 10)
    ship(tape)
    tape.saved = 10
    assert not tape.finished()
    write(ring, 2)

    tape.gone = True

    assert not tape.finished()
    ship(tape)
    tape.saved = 12
    assert tape.finished()


def test_what_was_overwritten_before_it_was_found_is_not_called_a_gap(
    ring: Ring, tape: Tape
) -> None:
    write(ring, 2 * CAPACITY)

    (first, *_) = tape.batches()
    tape.skip_lost()
    tape.begin_run()

    assert tape.base >= CAPACITY
    assert tape.base == first.sequence - 1
    assert ship(tape)[0][0] == tape.base + 1


@pytest.mark.parametrize(
    ("events", "runs"),
    [
        ([], False),
        ([Event.STARTED], True),
        ([Event.STARTED, Event.FAULT], True),
        ([Event.STARTED, Event.SUCCEEDED], False),
    ],
)
def test_it_knows_whether_its_process_runs_a_task(
    ring: Ring, tape: Tape, events: list[Event], runs: bool
) -> None:
    for event in events:
        write(ring, 1, event)

    assert tape.runs_task() is runs


def test_a_ring_that_nothing_was_written_to_lost_nothing(ring: Ring, tape: Tape) -> None:
    tape.skip_lost()
    write(ring, 2)
    tape.begin_run()

    assert (tape.base, ship(tape)) == (0, [(1, 2)])


def test_it_knows_the_memory_that_the_ring_takes(ring: Ring, tape: Tape) -> None:
    write(ring, 100)
    tape.look()

    assert tape.touched_bytes == 8192  # 64 + 100 * 64 bytes
