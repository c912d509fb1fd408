"""A page takes a history as it grows, and again at the speed that it is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from poolproof.collect.history import HistoryWriter
from poolproof.live.follow import Following, Replay
from poolproof_workers.contract import RECORD_BYTES, Entry

if TYPE_CHECKING:
    from pathlib import Path

_S = 1_000_000_000


def _op(number: int, name: str, t_ns: int) -> tuple[str, Entry]:
    body = {"op": name, "t_ns": t_ns, "boot": "b", "version": 1}
    return f"1-{number}", Entry.of_op("producer", "producer#1-1", number, body)


def _names(entries: list[Entry]) -> list[str]:
    return [entry.op["op"] for entry in entries]


def test_what_is_appended_is_taken_once_and_a_torn_frame_waits(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    with HistoryWriter(path) as writer:
        writer.append([_op(1, "format", 0), _op(2, "phase", 1)])
        following = Following(tmp_path)
        assert _names(following.take()) == ["format", "phase"]
        assert following.take() == []

        whole = path.stat().st_size
        writer.append([_op(3, "strike", 2)])
        data = path.read_bytes()
        path.write_bytes(data[: whole + 5])
        assert following.take() == []
        path.write_bytes(data)
        assert _names(following.take()) == ["strike"]


def test_what_comes_twice_is_taken_once(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.log") as writer:
        writer.append([_op(1, "format", 0), _op(2, "phase", 1), _op(2, "phase", 1)])

    assert _names(Following(tmp_path).take()) == ["format", "phase"]


def test_a_page_that_comes_late_catches_up_in_small_parts(tmp_path: Path) -> None:
    records = bytes(5_000 * RECORD_BYTES)
    late = [
        (f"2-{nth}", Entry("records", "w", "w/1-1", 1 + nth * 5_000, records)) for nth in range(20)
    ]
    with HistoryWriter(tmp_path / "history.log") as writer:
        writer.append([_op(1, "format", 0), *late])
    following = Following(tmp_path)
    parts = []
    while found := following.take():
        parts.append(sum(entry.count for entry in found))

    assert sum(parts) == 1 + 100_000
    assert max(parts) <= 25_000


def test_a_replay_waits_for_its_clock(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.log") as writer:
        writer.append([_op(1, "format", 0), _op(2, "phase", _S), _op(3, "closed", 3_601 * _S)])
    replay = Replay(tmp_path, speed=1.0)

    assert _names(replay.take()) == ["phase"]
    assert not replay.over

    replay.speed = 1e9
    deadline = time.monotonic() + 10
    while not replay.over and time.monotonic() < deadline:
        found = replay.take()
    assert _names(found) == ["closed"]


def test_a_replay_that_is_paused_stands_still(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.log") as writer:
        writer.append([_op(1, "format", 0), _op(2, "phase", _S)])
    replay = Replay(tmp_path)
    replay.speed = 0.0

    assert replay.now_ns == replay.now_ns
