"""Whatever a history says, judging it ends in a summary or in one line; damage is never valid."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from poolproof.__main__ import main
from poolproof.history.file import FILE_NAME, RECORD_DTYPE, frame, read
from poolproof.judge.faults.timeline import timelines
from poolproof.judge.run import JudgedRun, consider
from poolproof.judge.summary import summary_of
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.live.follow import Replay
from poolproof.live.panels import head
from poolproof.live.show import Show
from poolproof.live.stage import Stage
from poolproof.report import terminal
from poolproof.report.markdown import markdown
from poolproof.report.publish import exit_code
from poolproof_workers.contract import Entry, Event
from poolproof_workers.errors import DISK, FAILED_CHECK, DiskError
from tests.example import RUN
from tests.unit.celery_model import Model, write
from tests.unit.measured_run import MS, Run, S

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUZZ: Final = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
#: What may stand in a field instead of what belongs there.
_VALUES: Final = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 1 << 31, 1 << 40, 1 << 63, -(1 << 63), 10**30),
        *(1.5, -1e300, float("nan"), float("inf"), "", "x", "\x1b[31m", "\ud800"),
        *([], [1], [[1, 2, 3]], [None], {}, {"a": 1}, {"x": None}),
    ]
)


@cache
def _crash() -> bytes:
    """A crash of a prefork child and of a main process, with two workers."""
    model = Model("prefork:2", "late", workers=2)
    model.enqueue(12, {0: "segfault"})
    for _ in range(3):
        for worker in model.workers:
            model.receive(worker)
            model.receive(worker)
            model.start(worker)
    first, second = model.workers
    model.strike(first, 0)
    model.kill_slot(first, 0)
    model.end(second, 0, Event.SUCCEEDED)
    model.start(second)
    model.kill(second)
    model.close()
    return _written(model)


@cache
def _comparison() -> bytes:
    """Two sides that take turns, with all that a comparison writes down beside the tasks."""
    kept = {entry.op["op"]: entry.op for _, entry in read(RUN / FILE_NAME) if entry.kind == "op"}
    run = Run(("a", "b"), plan=kept["run-begin"]["plan"])
    for turn in range(12):
        side, begin = run.sides[turn % 2], (10 + 2 * turn) * S
        starts = [begin + index * 10 * MS for index in range(6)]
        times = [(start, start + MS, start + 6 * MS) for start in starts]
        costs = {"own_cpu_s": (turn, turn + 0.1), "redis_cpu_s": (turn, turn + 0.1)}
        run.block(side, begin, times, of_round=turn // 2, **costs)
        for name, each in (("sample", "a"), ("sample", "b"), ("effort", "a"), ("effort", "b")):
            told = {key: of for key, of in kept[name].items() if key not in _OWN}
            run.worker(each, name, begin + S, **told)
        run.op("collector", "cost", begin, cpu_s=float(turn))
    return _written(run)


_OWN: Final = {"op", "t_ns", "boot", "worker"}


def _written(source: Model | Run) -> bytes:
    with TemporaryDirectory() as folder:
        if isinstance(source, Run):
            source.write(Path(folder))
        else:
            write(Path(folder), source.entries([2, 1, 3]))
        return (Path(folder) / FILE_NAME).read_bytes()


def _entries(history: bytes) -> list[tuple[str, Entry]]:
    with TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_bytes(history)
        return list(read(Path(folder) / FILE_NAME))


def _judged(history: bytes) -> tuple[JudgedRun, dict[str, Any]]:
    """Judge a history, report it in words, and show it on a page; raise DiskError or nothing."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / FILE_NAME).write_bytes(history)
        stage, replay = Stage(), Replay(folder, speed=1e18)
        while not replay.over:
            for entry in replay.take():
                stage.take(entry)
        case = consider(folder)
        summary = summary_of(case)
        timelines(case, summary["crashes"])
        with (folder / "report").open("w", encoding="utf-8") as file:
            file.write(markdown(summary) + json.dumps(summary))
            terminal.show(summary, Console(file=file))
        return case, summary


def _beginnings(history: bytes) -> list[int]:
    found, at = [], 0
    while at < len(history):
        found.append(at)
        at += 8 + int.from_bytes(history[at : at + 4], "little")
    return found


@given(st.data())
@_FUZZ
def test_wherever_a_byte_is_wrong_a_verdict_is_right_or_unknown_and_the_run_not_valid(
    data: st.DataObject,
) -> None:
    whole = _crash()
    begin_of = _beginnings(whole)
    at = data.draw(st.integers(begin_of[2], begin_of[-1] - 1))
    spoiled = bytearray(whole)
    spoiled[at] ^= 1 << data.draw(st.integers(0, 7))
    truth, _ = _judged(whole)

    case, summary = _judged(bytes(spoiled))

    assert [each.begin for each in case.evidence.damage] == [max(b for b in begin_of if b <= at)]
    assert summary["warnings"][0]["code"] == "damaged"
    assert not summary["valid"]
    assert exit_code(summary) == FAILED_CHECK
    size = len(case.verdicts)
    known = (case.verdicts != Verdict.UNKNOWN) & (case.evidence.ledger["block"] >= 0)
    assert case.verdicts[known].tolist() == truth.verdicts[:size][known].tolist()


@given(st.data())
@_FUZZ
def test_an_op_with_anything_in_it_is_judged_or_refused_in_one_line(data: st.DataObject) -> None:
    entries = _entries(data.draw(st.sampled_from([_crash(), _comparison()])))
    names = sorted({entry.op["op"] for _, entry in entries if entry.kind == "op"})
    name = data.draw(st.sampled_from(names))
    of_name = [i for i, (_, e) in enumerate(entries) if e.kind == "op" and e.op["op"] == name]
    index = data.draw(st.sampled_from(of_name))
    identifier, entry = entries[index]
    entries[index] = identifier, replace(entry, data=_spoiled(data, entry.op))
    try:
        case, summary = _judged(_joined(entries))
    except DiskError as error:
        assert str(error)  # noqa: PT017  either is right
        return

    assert not (case.evidence.damage and summary["valid"])


def _spoiled(data: st.DataObject, op: dict[str, Any]) -> bytes:
    path = data.draw(st.sampled_from(list(_paths(op))))
    *outer, last = path
    holder: Any = op
    for key in outer:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[last] = data.draw(_VALUES)
    else:
        del holder[last]
    return json.dumps(op).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield (*path, key)
        yield from _paths(value[key], (*path, key))


def _joined(entries: list[tuple[str, Entry]]) -> bytes:
    return b"".join(piece for each in entries for piece in frame(*each))


@given(st.data())
@_FUZZ
def test_records_with_anything_in_them_are_judged_or_refused_in_one_line(
    data: st.DataObject,
) -> None:
    entries = _entries(_crash())
    index = data.draw(st.sampled_from([i for i, (_, e) in enumerate(entries) if e.kind != "op"]))
    identifier, entry = entries[index]
    array = np.frombuffer(entry.data, RECORD_DTYPE).copy()
    field = data.draw(st.sampled_from(array.dtype.names or ()))
    value = data.draw(st.sampled_from([0, 1, 9, 10, 65_535, (1 << 31), (1 << 63) - 1, 1 << 63]))
    array[field] = np.array(value, np.uint64).astype(array.dtype[field])
    entries[index] = identifier, replace(entry, data=array.tobytes())
    try:
        _judged(_joined(entries))
    except DiskError as error:
        assert str(error)  # noqa: PT017  either is right


@given(st.binary(min_size=1, max_size=200), st.data())
@_FUZZ
def test_bytes_that_are_no_history_are_refused_in_one_line(
    noise: bytes, data: st.DataObject
) -> None:
    whole = _crash()
    cut = data.draw(st.integers(0, len(whole)))
    is_torn = cut > _beginnings(whole)[-1]
    try:
        case, summary = _judged(whole[:cut] + noise + whole[cut:])
    except DiskError as error:
        assert str(error)  # noqa: PT017  either is right
        return

    assert bool(case.evidence.damage) != is_torn
    assert summary["valid"] in {False, is_torn}


#: What a frame with the right checksum may hold instead of an entry.
_FRAMES: Final = {
    "a head that is no JSON": b"{not json\n{}",
    "a head that is no object": b"[1]\n{}",
    "a head without a newline": b'{"id":"1-0"}',
    "a head in no UTF-8": b'{"id":"\xff","k":"op","w":"w","s":"s#1","n":1}\n{}',
    "a key that is missing": b'{"id":"1-0","k":"op","w":"w"}\n{}',
    "a wrong type": b'{"id":"1-0","k":"op","w":1,"s":"s#1","n":"1"}\n{}',
    "an unknown kind": b'{"id":"1-0","k":"what","w":"w","s":"s#1","n":1}\n{}',
    "an op that is no JSON": b'{"id":"1-0","k":"op","w":"w","s":"s#1","n":1}\n{"op":',
    "an op in no UTF-8": b'{"id":"1-0","k":"op","w":"w","s":"s#1","n":1}\n{"op":"\xff"}',
    "an op that is a list": b'{"id":"1-0","k":"op","w":"w","s":"s#1","n":1}\n[]',
    "an op of depth": b'{"id":"1-0","k":"op","w":"w","s":"s#1","n":1}\n' + b"[" * 100_000,
    "half a record": b'{"id":"1-0","k":"records","w":"w","s":"w/1-1","n":1}\n' + bytes(47),
    "no record": b'{"id":"1-0","k":"records","w":"w","s":"w/1-1","n":1}\n',
    "a sequence of 0": b'{"id":"1-0","k":"records","w":"w","s":"w/1-1","n":0}\n' + bytes(48),
}


@pytest.mark.parametrize("body", _FRAMES.values(), ids=_FRAMES.keys())
def test_a_frame_with_the_right_checksum_and_nonsense_in_it_is_damage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    whole = _crash()
    at = _beginnings(whole)[5]
    bad = len(body).to_bytes(4, "little") + crc32(body).to_bytes(4, "little") + body
    (tmp_path / FILE_NAME).write_bytes(whole[:at] + bad + whole[at:])

    code = main(["report", str(tmp_path)])

    out, err = capfd.readouterr()
    said = " ".join(out.split())
    assert code == FAILED_CHECK
    assert f"damaged at byte {at:,}: {len(bad):,} bytes of it say nothing." in said
    assert err == ""


def test_a_page_that_plays_a_damaged_run_goes_on_and_says_where(tmp_path: Path) -> None:
    spoiled = bytearray(_crash())
    at = _beginnings(_crash())[5]
    spoiled[at + 30] ^= 1
    (tmp_path / FILE_NAME).write_bytes(spoiled)
    show = Show(tmp_path.parent, tmp_path, speed=1e18)
    while not show.stage.closed:
        show.advance()

    assert f"damaged at byte {at:,}" in head(show)


def test_a_history_that_lost_its_beginning_says_where(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoiled = bytearray(_crash())
    spoiled[_beginnings(_crash())[1] + 30] ^= 1
    (tmp_path / FILE_NAME).write_bytes(spoiled)

    assert main(["report", str(tmp_path)]) == DISK
    (line,) = capfd.readouterr().err.splitlines()
    assert "damaged at byte" in line
    assert "its beginning" in line
