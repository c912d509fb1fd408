"""A page takes a history as it grows, and again at the speed that it is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from poolproof.history.file import HistoryWriter, records
from poolproof.live.follow import Following, Replay
from poolproof_workers.contract import RECORD, RECORD_BYTES, Entry

if TYPE_CHECKING:
    from pathlib import Path

_S = 1_000_000_000


def _op(number: int, name: str, t_ns: int) -> tuple[str, Entry]:
    body = {"op": name, "t_ns": t_ns, "boot": "b", "version": 1, "missing": {}}
    body |= {"side": "a", "fault": "segfault"}
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


def _hosts(folder: Path) -> None:
    """A run played on the host "b", collected on "ours", with a worker on "far": three clocks."""
    ahead_ns = {"b": 0, "ours": 5 * _S, "far": 864_000 * _S}

    def op(writer: str, boot: str, number: int, name: str, at_ns: int) -> tuple[str, Entry]:
        body = {"op": name, "t_ns": at_ns + ahead_ns[boot], "boot": boot, "version": 1}
        clock = {"offset_ns": 1_000 * _S - ahead_ns[boot], "error_ns": 1}
        about = {"run": "r", "tag": 1, "worker": writer, "side": "a"}
        return "1-1", Entry.of_op(writer, f"{writer}#1-1", number, body | clock | about)

    record = RECORD.pack(7, 9 * _S + ahead_ns["far"], 0, 1, 5, 6, 2, 0, 1)
    with HistoryWriter(folder / "history.log") as writer:
        writer.append(
            [
                op("collector", "ours", 1, "format", 0),
                op("producer", "b", 1, "run-begin", 0),
                op("producer", "b", 2, "clock", 1 * _S),
                op("collector", "ours", 2, "clock", 2 * _S),
                op("w", "far", 1, "clock", 3 * _S),
                op("w", "far", 2, "hello", 4 * _S),
                ("1-1", Entry("records", "w", "w/5-1", 1, record)),
            ]
        )


def _seconds(entry: Entry) -> float:
    t_ns = entry.op["t_ns"] if entry.kind == "op" else records(entry)["t_ns"][0]
    return float(t_ns / _S)


def test_a_run_over_hosts_is_followed_on_the_clock_of_the_page(tmp_path: Path) -> None:
    _hosts(tmp_path)

    found = Following(tmp_path, boot="ours").take()

    assert [_seconds(entry) for entry in found[3:]] == [7.0, 8.0, 9.0, 14.0]
    assert {entry.op["boot"] for entry in found[3:-1]} == {"ours"}
    # By any of them a time of the page is the same time of day.
    assert {entry.op["offset_ns"] for entry in found[3:5]} == {995 * _S}
    assert found[1].op["boot"] == "ours"


def test_a_saved_run_over_hosts_is_played_again_on_the_clock_of_its_producer(
    tmp_path: Path,
) -> None:
    _hosts(tmp_path)
    replay, found = Replay(tmp_path, speed=1e9), []
    deadline = time.monotonic() + 10
    while not replay.over and time.monotonic() < deadline:
        found += replay.take()

    assert [_seconds(entry) for entry in found[1:]] == [2.0, 3.0, 4.0, 9.0]
