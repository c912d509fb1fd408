"""How far a ring was read, sent and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof_workers.contract import RING_HEADER_BYTES, RING_RECORD_BYTES, Event
from poolproof_workers.recorder.ring import Ring
from poolproof_workers.supervisor.ring_cursor import BATCH, RingCursor

if TYPE_CHECKING:
    from pathlib import Path

CAPACITY = 16_384


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(tmp_path, CAPACITY)


@pytest.fixture
def tape(ring: Ring) -> RingCursor:
    return RingCursor(ring.path, "worker")


def write(ring: Ring, count: int, event: Event = Event.STARTED) -> None:
    for number in range(count):
        ring.write(7, number, event, 0)


def ship(tape: RingCursor) -> list[tuple[int, int]]:
    entries = tape.batches()
    tape.mark_sent(entries)
    return [(entry.sequence, entry.count) for entry in entries]


def test_it_names_its_ring_and_worker(ring: Ring, tape: RingCursor) -> None:
    write(ring, 1)

    assert tape.name == f"worker/{ring.path.stem}"
    assert tape.name == f"worker/{tape.pid}-{tape.opened_ns}"
    (entry,) = tape.batches()
    assert (entry.kind, entry.worker, entry.source) == ("records", "worker", tape.name)


def test_each_record_is_read_once_in_batches(ring: Ring, tape: RingCursor) -> None:
    write(ring, BATCH + 10)

    assert ship(tape) == [(1, BATCH), (BATCH + 1, 10)]
    assert tape.seen == BATCH + 10
    assert ship(tape) == []
    write(ring, 1)
    assert ship(tape) == [(BATCH + 11, 1)]


@pytest.mark.parametrize(
    ("waiting", "shipped"),
    [
        (BATCH // 2 - 1, [(1, BATCH // 2 - 1)]),
        (BATCH // 2, [(1, BATCH // 2), (BATCH // 2 + 1, 1)]),
    ],
)
def test_a_writer_that_goes_on_does_not_hold_the_batches_up(
    ring: Ring,
    tape: RingCursor,
    monkeypatch: pytest.MonkeyPatch,
    waiting: int,
    shipped: list[tuple[int, int]],
) -> None:
    write(ring, waiting)
    read = tape._reader.read

    def read_and_go_on(*args: int, **named: bool) -> tuple[int, bytes]:
        found = read(*args, **named)
        write(ring, 1)
        return found

    monkeypatch.setattr(tape._reader, "read", read_and_go_on)

    assert ship(tape) == shipped


def test_what_is_not_marked_as_sent_is_read_again(ring: Ring, tape: RingCursor) -> None:
    write(ring, 3)
    tape.batches()

    assert ship(tape) == [(1, 3)]


def test_a_rewind_goes_back_to_what_is_saved(ring: Ring, tape: RingCursor) -> None:
    write(ring, 10)
    ship(tape)

    tape.rewind(4)

    assert ship(tape) == [(5, 6)]


def test_a_run_begins_after_what_was_seen_before_it(ring: Ring, tape: RingCursor) -> None:
    write(ring, 10)
    tape.look()
    tape.mark_old(tape.seen)
    write(ring, 5)

    tape.begin_run()

    assert tape.base == 10
    assert ship(tape) == [(11, 5)]
    tape.rewind(0)
    assert ship(tape) == [(11, 5)]


def test_a_resumed_run_goes_on_after_what_is_saved(ring: Ring, tape: RingCursor) -> None:
    write(ring, 10)
    tape.saved = 6

    tape.resume_run(base=2)

    assert tape.base == 2
    assert ship(tape) == [(7, 4)]


def test_a_resumed_run_goes_on_after_its_beginning_where_nothing_is_saved(
    ring: Ring, tape: RingCursor
) -> None:
    write(ring, 10)

    tape.resume_run(base=2)

    assert ship(tape) == [(3, 8)]


def test_what_is_older_than_a_run_stays_so(ring: Ring, tape: RingCursor) -> None:
    write(ring, 10)
    tape.mark_old(8)
    tape.mark_old(3)

    tape.begin_run()

    assert ship(tape) == [(9, 2)]


def test_what_is_saved_stays_so(ring: Ring, tape: RingCursor) -> None:
    write(ring, 10)
    ship(tape)
    tape.rewind(10)
    tape.rewind(4)
    tape.gone = True

    assert tape.finished()
    assert ship(tape) == [(5, 6)]


def test_of_a_process_that_is_gone_no_record_is_waited_for(ring: Ring, tape: RingCursor) -> None:
    write(ring, 5)
    with ring.path.open("r+b") as file:
        file.seek(RING_HEADER_BYTES + 2 * RING_RECORD_BYTES)
        file.write(bytes(RING_RECORD_BYTES))
    assert ship(tape) == [(1, 2)]

    tape.gone = True

    tape.look()
    assert tape.seen == 5
    assert ship(tape) == [(4, 2)]
    tape.rewind(4)
    assert not tape.finished()
    tape.rewind(5)
    assert tape.finished()


def test_a_process_that_wrote_nothing_in_a_run_is_finished_at_its_end(
    ring: Ring, tape: RingCursor
) -> None:
    write(ring, 10)
    tape.look()
    tape.mark_old(tape.seen)
    tape.begin_run()
    tape.rewind(0)

    tape.gone = True

    assert tape.finished()


def test_it_is_deleted_with_its_ring_even_if_that_is_gone(ring: Ring, tape: RingCursor) -> None:
    again = RingCursor(ring.path, "worker")

    tape.delete()
    again.delete()

    assert not ring.path.exists()


def test_it_is_finished_when_its_process_is_gone_and_all_is_saved(
    ring: Ring, tape: RingCursor
) -> None:
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
    ring: Ring, tape: RingCursor
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
    ring: Ring, tape: RingCursor, events: list[Event], runs: bool
) -> None:
    for event in events:
        write(ring, 1, event)

    assert tape.runs_task() is runs


def test_a_ring_that_nothing_was_written_to_takes_its_header(tape: RingCursor) -> None:
    tape.look()

    assert (tape.seen, tape.touched_bytes) == (0, 4096)


def test_a_ring_that_was_not_overwritten_lost_nothing(ring: Ring, tape: RingCursor) -> None:
    write(ring, 5)

    tape.skip_lost()
    tape.begin_run()

    assert ship(tape) == [(1, 5)]


def test_a_process_that_goes_on_ran_a_task_when_it_was_looked_at(
    ring: Ring, tape: RingCursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ring, 1)
    look = tape.look

    def look_and_go_on() -> None:
        look()
        write(ring, 1, Event.SUCCEEDED)

    monkeypatch.setattr(tape, "look", look_and_go_on)

    assert tape.runs_task()


def test_a_ring_that_nothing_was_written_to_lost_nothing(ring: Ring, tape: RingCursor) -> None:
    tape.skip_lost()
    write(ring, 2)
    tape.begin_run()

    assert (tape.base, ship(tape)) == (0, [(1, 2)])


def test_it_knows_the_memory_that_the_ring_takes(ring: Ring, tape: RingCursor) -> None:
    write(ring, 100)
    tape.look()

    assert tape.touched_bytes == 8192  # 64 + 100 * 64 bytes
