"""What a failed test leaves to look at."""

from __future__ import annotations

import tracemalloc
from itertools import repeat
from typing import TYPE_CHECKING

from poolproof.history.file import FILE_NAME, FORMAT, HistoryWriter
from poolproof_workers.contract import Entry
from tests import evidence

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _history(folder: Path, count: int) -> Path:
    format_ = {"op": "format", "version": FORMAT, "t_ns": 0, "boot": "b"}
    entries = [("1-0", Entry.of_op("p", "p#1", 1, format_))]
    for number in range(2, count + 1):
        op = {"op": "phase", "name": f"phase {number}", "t_ns": 0, "boot": "b"}
        entries.append((f"{number}-0", Entry.of_op("p", "p#1", number, op)))
    with HistoryWriter(folder / FILE_NAME) as writer:
        writer.append(entries)
    return folder / FILE_NAME


def test_the_end_of_a_damaged_history_is_shown(tmp_path: Path) -> None:
    path = _history(tmp_path, 200)
    content = bytearray(path.read_bytes())
    at = content.index(b"phase 50")
    content[at : at + 8] = b"PHASE 50"
    path.write_bytes(content)

    ((title, text),) = evidence.of({"runs": tmp_path})

    lines = text.splitlines()
    assert title == f"the end of {path}"
    assert [line.split(":")[0] for line in lines] == [f"p#1 {number}" for number in range(141, 201)]


def test_a_long_history_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).touch()
    entry = Entry.of_op("p", "p#1", 1, {"op": "phase", "name": "x" * 10_000})
    monkeypatch.setattr(evidence, "read", lambda *_: repeat(("1-0", entry), 2_000))
    tracemalloc.start()
    try:
        evidence.of({"runs": tmp_path})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The last lines, and the text that is made of them; all would be 20 MB.
    assert 60 * 10_000 <= peak <= 5 * 60 * 10_000


def test_the_histories_of_a_failed_test_are_kept_and_those_of_its_last_failure_go(
    tmp_path: Path,
) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    (runs / "20260101-000000-00000001").mkdir(parents=True)
    (runs / "20260101-000000-00000001" / FILE_NAME).write_bytes(b"first")
    evidence.keep("tests/test_a.py::test_b[x:2]", {"folder": runs}, kept)
    (runs / "20260101-000000-00000001").rename(runs / "20260101-000000-00000002")
    evidence.keep("tests/test_a.py::test_b[x:2]", {"folder": runs}, kept)

    (found,) = kept.rglob(FILE_NAME)

    assert found.read_bytes() == b"first"
    assert found.parent.name == "20260101-000000-00000002"
    assert found.parent.parent.name == "tests-test_a.py-test_b-x-2-"
