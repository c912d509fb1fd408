"""The history file, and what happens to entries that come twice, torn or not at all."""

from __future__ import annotations

import resource
import signal
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolproof.history import file as history
from poolproof.history.file import (
    Damage,
    Gap,
    HistoryWriter,
    Sequences,
    read,
    records,
    tail,
)
from poolproof_workers.contract import RECORD, RECORD_BYTES, Entry, Event
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = Entry.of_op(
    "collector", "c#1-1", 1, {"op": "format", "version": 1, "t_ns": 0, "boot": "b"}
)


def _ring(first: int, count: int, name: str = "w/1-1") -> Entry:
    data = b"".join(
        RECORD.pack(n, n * 10, -n, 7, 1, 2, Event.STARTED, 0, n)
        for n in range(first, first + count)
    )
    return Entry("records", "w", name, first, data)


def _write(path: Path, *entries: Entry) -> None:
    with HistoryWriter(path) as writer:
        list(writer.resume())
        writer.append([(f"{i}-0", entry) for i, entry in enumerate(entries)])


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    entries = [_FORMAT, _ring(1, 3), _ring(4, 1)]

    _write(path, *entries)

    assert list(read(path)) == [("0-0", entries[0]), ("1-0", entries[1]), ("2-0", entries[2])]


def test_records_are_read_as_columns() -> None:
    batch = records(_ring(5, 2))

    assert batch["number"].tolist() == [5, 6]
    assert batch["detail"].tolist() == [-5, -6]
    assert batch["event"].tolist() == [Event.STARTED, Event.STARTED]
    assert batch["sequence"].tolist() == [5, 6]


@pytest.mark.parametrize("cut", [1, 7, 8, 20, 60])
def test_a_torn_last_frame_is_cut_off_and_written_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT, _ring(1, 1), _ring(2, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])

    with HistoryWriter(path) as writer:
        left = [entry for _, entry in writer.resume()]
        writer.append([("2-0", _ring(2, 1))])

    assert left == [_FORMAT, _ring(1, 1)]
    assert path.read_bytes() == whole


def test_a_flipped_bit_ends_the_history(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT, _ring(1, 1), _ring(2, 1))
    spoiled = bytearray(path.read_bytes())
    spoiled[-1] ^= 1
    path.write_bytes(spoiled)

    assert [entry for _, entry in read(path)] == [_FORMAT, _ring(1, 1)]


@pytest.mark.parametrize("where", ["length", "checksum", "head", "data"])
def test_a_flipped_bit_in_the_middle_is_damage_and_hides_nothing_else(
    tmp_path: Path, where: str
) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT, _ring(1, 1))
    begin = path.stat().st_size
    _write(path, _ring(2, 3), _ring(5, 1))
    spoiled = bytearray(path.read_bytes())
    end = bytes(spoiled).rindex(b'{"id":') - 8
    spoiled[begin + {"length": 2, "checksum": 4, "head": 8, "data": 90}[where]] ^= 0x10
    path.write_bytes(spoiled)
    found: list[Damage] = []

    assert [entry for _, entry in read(path, found.append)] == [_FORMAT, _ring(1, 1), _ring(5, 1)]
    assert found == [Damage(path, begin, end)]
    with pytest.raises(DiskError, match=f"damaged at byte {begin}: {end - begin} bytes"):
        list(read(path))
    assert list(zip(tail(path, found.append), range(4), strict=False))[3][0] is None


def test_who_goes_on_never_cuts_off_what_follows_damage(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT, _ring(1, 3), _ring(4, 1))
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    path.write_bytes(spoiled)

    with HistoryWriter(path) as writer:
        left = [entry for _, entry in writer.resume()]
        writer.append([("3-0", _ring(5, 1))])

    assert left == [_FORMAT, _ring(4, 1)]
    assert path.read_bytes().startswith(spoiled)
    assert [entry for _, entry in read(path, lambda _: None)] == [*left, _ring(5, 1)]


def test_what_was_being_written_as_it_was_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT, _ring(1, 1), _ring(2, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[:200])  # in the middle of the second frame
    following = history._following

    def written_meanwhile(file: IO[bytes], bad: int) -> int | None:
        path.write_bytes(whole)
        return following(file, bad)

    monkeypatch.setattr(history, "_following", written_meanwhile)

    assert [entry for _, entry in read(path)] == [_FORMAT, _ring(1, 1), _ring(2, 1)]


def test_half_a_frame_that_the_disk_did_not_take_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT)
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    held = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with HistoryWriter(path) as writer:
        list(writer.resume())
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 50, before[1]))
        try:
            with pytest.raises(DiskError, match="File too large"):
                writer.append([("1-0", _ring(1, 3))])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, held)

    assert path.read_bytes() == whole


def test_zeros_at_its_end_as_a_power_cut_leaves_them_end_the_history(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    _write(path, _FORMAT, _ring(1, 1))
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(4096))

    assert [entry for _, entry in read(path)] == [_FORMAT, _ring(1, 1)]
    entries = tail(path)
    assert [next(entries), next(entries), next(entries)] == [_FORMAT, _ring(1, 1), None]
    with HistoryWriter(path) as writer:
        list(writer.resume())
    assert path.read_bytes() == whole


def test_a_history_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    _write(path, Entry.of_op("c", "c", 1, {"op": "format", "version": 99, "t_ns": 0, "boot": "b"}))

    with pytest.raises(DiskError, match="format 99"):
        list(read(path))


def test_only_one_may_write(tmp_path: Path) -> None:
    path = tmp_path / "history.log"

    with HistoryWriter(path), pytest.raises(DiskError, match="Another collector"):
        HistoryWriter(path)


def test_a_folder_that_is_not_there_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No such file"):
        HistoryWriter(tmp_path / "none" / "history.log")


def test_what_comes_twice_is_dropped_and_what_overlaps_is_trimmed() -> None:
    sequences = Sequences()

    assert sequences.fresh(_ring(1, 3)) == (_ring(1, 3), None)
    assert sequences.fresh(_ring(1, 3)) == (None, None)
    assert sequences.fresh(_ring(2, 4)) == (_ring(4, 2), None)


def test_a_jump_is_a_gap() -> None:
    sequences = Sequences()
    sequences.fresh(_ring(1, 3))

    assert sequences.fresh(_ring(6, 2)) == (_ring(6, 2), Gap("w/1-1", 4, 5))


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), max_size=30))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_however_often_a_ring_is_sent_each_record_is_taken_once(
    pieces: list[tuple[int, int]],
) -> None:
    sequences = Sequences()
    taken: list[int] = []
    lost: list[int] = []

    for first, count in pieces:
        fresh, gap = sequences.fresh(_ring(first, count))
        taken += records(fresh)["sequence"].tolist() if fresh else []
        lost += range(gap.first, gap.last + 1) if gap else []
        assert fresh is None or len(fresh.data) == fresh.count * RECORD_BYTES

    assert sorted(taken + lost) == list(range(1, max(taken, default=0) + 1))
