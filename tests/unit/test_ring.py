"""The flight recorder's file: what one process writes, another reads, whatever happens."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from poolproof_workers.contract import (
    MAX_NUMBER,
    RECORD,
    RECORD_BYTES,
    RING_EVENT_BITS,
    RING_HEADER_BYTES,
    RING_MAGIC,
    RING_RECORD_BYTES,
    Event,
    task_id,
)
from poolproof_workers.errors import DiskError
from poolproof_workers.recorder.ring import Ring
from poolproof_workers.supervisor.ring_reader import RingReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAPACITY = 256
#: A live writer may be overwriting this many of the oldest records while they are copied.
GUARD = CAPACITY // 16
TAG = 0xDEADBEEF


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(tmp_path, CAPACITY)


@pytest.fixture
def reader(ring: Ring) -> Iterator[RingReader]:
    with RingReader(ring.path) as reader:
        yield reader


def write(ring: Ring, count: int) -> None:
    for number in range(count):
        ring.write(TAG, number, Event.STARTED, 0)


def sequences(records: bytes) -> list[int]:
    return [record[-1] for record in RECORD.iter_unpack(records)]


def erase(ring: Ring, sequence: int) -> None:
    """Leave the slot of `sequence` as it is before anything was written there."""
    with ring.path.open("r+b") as file:
        file.seek(RING_HEADER_BYTES + (sequence - 1) % CAPACITY * RING_RECORD_BYTES)
        file.write(bytes(RING_RECORD_BYTES))


def stamp(ring: Ring, sequence: int, capacity: int) -> None:
    """Write only what commits the record `sequence`."""
    with ring.path.open("r+b") as file:
        file.seek(RING_HEADER_BYTES + ((sequence - 1) % capacity + 1) * RING_RECORD_BYTES - 8)
        file.write((sequence << RING_EVENT_BITS).to_bytes(8, "little"))


def test_a_new_ring_is_empty(reader: RingReader) -> None:
    assert reader.read(1, 10) == (1, b"")
    assert reader.written == 0


def test_its_name_says_which_process_wrote_it_since_when(ring: Ring, reader: RingReader) -> None:
    assert ring.path.name == f"{os.getpid()}-{reader.opened_ns}.ring"
    assert (reader.name, reader.pid, reader.capacity) == (ring.path.stem, os.getpid(), CAPACITY)


def test_a_record_keeps_what_was_said(ring: Ring, reader: RingReader) -> None:
    ring.record(task_id(TAG, MAX_NUMBER), Event.SUCCEEDED, 49)

    _, records = reader.read(1, 10)
    number, t_ns, detail, run, pid, thread, event, _, sequence = RECORD.unpack(records)
    assert (number, detail, run, event) == (MAX_NUMBER, 49, TAG, Event.SUCCEEDED)
    assert (pid, thread, sequence) == (os.getpid(), threading.get_native_id(), 1)
    assert t_ns > reader.opened_ns


@pytest.mark.parametrize(
    "foreign",
    ["", "nightly-report", "-1234567", "x" * 36, "0" * 24, "\N{SNOWMAN}" * 20, f"{'-1' * 18}"],
)
def test_an_id_that_is_no_uuid_is_nobodys(ring: Ring, reader: RingReader, foreign: str) -> None:
    ring.record(foreign, Event.STARTED, 7)
    ring.write(TAG, 1, Event.STARTED, 0)

    foreigner, ours = RECORD.iter_unpack(reader.read(1, 10)[1])
    number, _, detail, run, _, _, event, _, sequence = foreigner
    assert (number, detail, run, event, sequence) == (0, 7, 0, Event.STARTED, 1)
    assert (ours[0], ours[3], ours[-1]) == (1, TAG, 2)


def test_what_is_skipped_is_what_would_be_read(ring: Ring, reader: RingReader) -> None:
    assert reader.skip(1, 10) == 1
    write(ring, 1000)

    first, records = reader.read(1, 20)
    assert reader.skip(1, 20) == first + 20
    assert reader.skip(first + 20, 1000) == 1001
    assert reader.skip(1001, 10) == 1001
    assert reader.read(900, 0) == (900, b"")
    assert len(sequences(records)) == 20


def test_where_nothing_can_be_read_nothing_is_skipped(ring: Ring, reader: RingReader) -> None:
    write(ring, 1000)
    oldest = 1000 - CAPACITY + 2 * GUARD
    erase(ring, oldest)

    assert reader.read(1, 10) == (oldest, b"")
    assert reader.skip(1, 10) == 1
    assert reader.skip(oldest, 1000) == oldest
    assert reader.skip(oldest, 1000, gone=True) == 1001


def test_it_is_read_on_from_any_record(ring: Ring, reader: RingReader) -> None:
    write(ring, 100)

    first, records = reader.read(41, 30)
    assert first == 41
    assert sequences(records) == list(range(41, 71))
    assert sequences(reader.read(71, 300)[1]) == list(range(71, 101))
    assert reader.written == 100


def test_it_goes_round_without_a_gap(ring: Ring, reader: RingReader) -> None:
    taken: list[int] = []
    for _ in range(20):
        write(ring, 100)
        first, records = reader.read(len(taken) + 1, CAPACITY)
        assert first == len(taken) + 1
        taken += sequences(records)

    assert taken == list(range(1, 2001))


def test_a_reader_that_fell_behind_sees_what_it_lost(ring: Ring, reader: RingReader) -> None:
    write(ring, 1000)

    first, records = reader.read(1, CAPACITY)
    assert first == 1000 - CAPACITY + 2 * GUARD
    assert sequences(records) == list(range(first, 1001))


def test_all_but_what_may_be_torn_is_read_from_a_dead_writer(
    tmp_path: Path,
) -> None:
    capacity = 16_384
    ring = Ring.create(tmp_path, capacity)
    write(ring, capacity + 100)

    with RingReader(ring.path) as reader:
        first, _ = reader.read(1, capacity, gone=True)
    assert first == 132, "as many as are looked ahead may be torn, and as many more are left"


def test_a_record_about_to_be_overwritten_is_not_returned(ring: Ring, reader: RingReader) -> None:
    write(ring, CAPACITY)

    first, _ = reader.read(1, CAPACITY)
    assert first > 1, "the writer's next records go where the first ones are"


def test_a_record_that_is_not_yet_written_is_waited_for(ring: Ring, reader: RingReader) -> None:
    write(ring, 5)
    erase(ring, 3)

    assert sequences(reader.read(1, 10)[1]) == [1, 2]
    assert reader.read(3, 10) == (3, b"")


def test_a_record_that_is_never_written_is_lost_in_time(ring: Ring) -> None:
    write(ring, 5)
    erase(ring, 3)

    with RingReader(ring.path, hole_s=0) as impatient:
        impatient.read(3, 10)
        first, records = impatient.read(3, 10)
    assert first == 4
    assert sequences(records) == [4, 5]


def test_each_record_that_is_never_written_has_its_time(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ring, 7)
    for sequence in (3, 6):
        erase(ring, sequence)
    now_ns = [10]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns[0])

    with RingReader(ring.path, hole_s=1) as reader:
        assert reader.read(3, 10) == (3, b"")
        now_ns[0] += 1_000_000_000
        assert reader.read(3, 10) == (3, b"")
        now_ns[0] += 1
        assert reader.read(3, 10)[0] == 4
        assert reader.read(6, 10) == (6, b"")
        now_ns[0] += 1_000_000_001
        assert reader.read(6, 10)[0] == 7


@pytest.mark.parametrize(
    ("capacity", "ahead"), [*((256, i) for i in range(16)), (640, 0), (640, 38), (640, 39)]
)
def test_a_thread_that_overwrites_what_was_just_read_is_seen(
    tmp_path: Path, capacity: int, ahead: int
) -> None:
    ring = Ring.create(tmp_path, capacity)
    guard = capacity // 16
    write(ring, capacity)
    stamp(ring, 100 - guard + capacity + ahead, capacity)

    with RingReader(ring.path) as reader:
        first, _ = reader.read(100, 10)
    assert first == 100 + guard + ahead


def test_a_record_that_a_dead_process_never_wrote_is_lost(ring: Ring, reader: RingReader) -> None:
    write(ring, 60)
    for sequence in range(3, 51):
        erase(ring, sequence)

    first, records = reader.read(3, 100, gone=True)
    assert first == 51
    assert sequences(records) == list(range(51, 61))


def test_the_thread_that_opened_a_ring_asks_the_kernel_for_its_id_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Mock(return_value=77)
    monkeypatch.setattr(threading, "get_native_id", asked)

    ring = Ring.create(tmp_path, CAPACITY)
    write(ring, 3)

    assert asked.call_count == 1
    with RingReader(ring.path) as reader:
        assert [row[5] for row in RECORD.iter_unpack(reader.read(1, 9)[1])] == [77] * 3


def test_threads_share_a_ring(ring: Ring, reader: RingReader) -> None:
    threads = [threading.Thread(target=write, args=(ring, 20)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    _, records = reader.read(1, CAPACITY)
    taken = list(RECORD.iter_unpack(records))
    assert [record[-1] for record in taken] == list(range(1, 161))
    assert {record[5] for record in taken} == {thread.native_id for thread in threads}


WRITER = """
import sys
from pathlib import Path
from poolproof_workers.recorder.ring import Ring

ring = Ring.create(Path(sys.argv[1]), 256)
for n in range(1, 100_001):
    ring.write(n & 0xFFFF, n, n % 9, n * 7)
"""


def test_what_is_read_beside_a_running_writer_is_whole(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    while not (paths := list(tmp_path.glob("*.ring"))):
        assert writer.poll() is None
    position, taken, lost, gone = 1, 0, 0, False

    with RingReader(paths[0]) as reader:
        while position <= 100_000:
            first, records = reader.read(position, 64, gone=gone)
            for number, _, detail, run, _, _, event, _, sequence in RECORD.iter_unpack(records):
                assert (detail, run, event) == (number * 7, number & 0xFFFF, number % 9)
                assert number == sequence
            if records:
                lost += first - position
                taken += len(records) // RECORD_BYTES
                position = first + len(records) // RECORD_BYTES
            gone = writer.poll() is not None

    assert taken + lost == 100_000
    assert taken > 0
    assert writer.wait() == 0


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    """Make the kernel refuse this process more."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_a_ring_without_room_is_an_error_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        limited(resource.RLIMIT_FSIZE, 1000),
        pytest.raises(OSError, match="File too large"),
    ):
        Ring.create(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_ring_that_cannot_be_opened_is_an_error_that_says_why(tmp_path: Path) -> None:
    with (
        limited(resource.RLIMIT_NOFILE, 0),
        pytest.raises(OSError, match="Too many open files"),
    ):
        Ring.create(tmp_path)


def test_a_ring_in_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Ring.create(tmp_path / "missing")


def test_a_ring_takes_its_room_where_files_cannot_be_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")

    ring = Ring.create(tmp_path, CAPACITY)

    write(ring, 3)
    assert ring.path.stat().st_blocks * 512 >= CAPACITY * RING_RECORD_BYTES
    with RingReader(ring.path) as reader:
        assert sequences(reader.read(1, 10)[1]) == [1, 2, 3]


def test_what_stands_where_a_ring_is_made_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    monkeypatch.setattr(time, "monotonic_ns", lambda: 5)
    (tmp_path / f"{os.getpid()}-5.part").symlink_to(theirs)

    with pytest.raises(FileExistsError):
        Ring.create(tmp_path, CAPACITY)
    assert theirs.read_text() == "theirs"


def test_no_other_user_may_read_a_ring(ring: Ring) -> None:
    assert ring.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"x" * 100, RING_MAGIC + b"x" * 10, b""])
def test_another_file_is_no_ring(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "1-2.ring"
    path.write_bytes(content)

    with pytest.raises(DiskError, match="not a ring"):
        RingReader(path)


def test_a_ring_of_another_layout_is_refused(ring: Ring) -> None:
    with ring.path.open("r+b") as file:
        file.seek(8)
        file.write(b"\x63\x00\x00\x00")

    with pytest.raises(DiskError, match="layout 99"):
        RingReader(ring.path)


def test_a_ring_that_was_cut_off_is_refused(ring: Ring) -> None:
    os.truncate(ring.path, 1000)

    with pytest.raises(DiskError, match="not whole"):
        RingReader(ring.path)


def test_a_ring_is_longer_than_a_reader_looks_ahead(tmp_path: Path) -> None:
    with RingReader(Ring.create(tmp_path, 17).path) as reader:
        assert reader.capacity == 17

    with pytest.raises(DiskError, match="not whole"):
        RingReader(Ring.create(tmp_path, 16).path)
