"""The history that `bench scale` is fed is one that a run could have written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.long_history import Soak
from benchmarks.scale import judge

from poolproof.history.columns import COMMON, RARE
from poolproof.history.file import FILE_NAME, RECORD_DTYPE, HistoryWriter, read
from poolproof.judge.run_data import Place, gather
from poolproof.judge.summary import summarise
from poolproof.judge.verdicts.attempts import look_at

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("tasks", [1_000, 60_000, 400_000])
def test_its_books_balance_and_it_has_accidents_of_all_kinds(tmp_path: Path, tasks: int) -> None:
    records = Soak(tmp_path, tasks).write()

    summary = summarise(tmp_path)

    assert records >= 2 * tasks
    assert summary["books"]["balanced"]
    assert summary["books"]["enqueued"] == tasks
    verdicts = {word for word, count in summary["books"]["verdicts"].items() if count}
    assert {"completed", "lost", "stranded", "queued"} <= verdicts
    assert [crash["fault"] for crash in summary["crashes"]] == ["segfault"]
    assert tasks < 400_000 or {"failed", "repeated"} <= verdicts


def test_a_summary_does_not_grow_with_the_tasks(tmp_path: Path) -> None:
    sizes = []
    for tasks in (100_000, 400_000):
        Soak(tmp_path / str(tasks), tasks).write()
        sizes.append(len(json.dumps(summarise(tmp_path / str(tasks)))))

    assert sizes[1] < 1.5 * sizes[0] < 30_000


def test_the_bench_measures_time_and_memory(tmp_path: Path) -> None:
    Soak(tmp_path, 1_000).write()

    figures = judge(tmp_path)

    assert figures["seconds"] >= figures["ledger_s"] > 0
    assert figures["peak_bytes"] > 10_000_000


def test_reading_again_what_some_tasks_left_misses_nothing_and_leaves_out_most(
    tmp_path: Path,
) -> None:
    Soak(tmp_path, 400_000).write()
    evidence = gather(tmp_path)
    everywhere = [Place(0, (tmp_path / FILE_NAME).stat().st_size, 0, 1 << 62)]
    numbers = np.arange(evidence.ledger.size)

    for wanted in (
        numbers >= 0,
        numbers >= 394_500,
        numbers == 7,
        (numbers > 149_990) & (numbers < 150_010) | (numbers == 330_000),
        evidence.ledger["poison"] > 0,
    ):
        some, whole = (
            look_at(each, wanted) for each in (evidence, replace(evidence, places=everywhere))
        )
        assert np.array_equal(some.number, whole.number)
        assert np.array_equal(some.t_ns, whole.t_ns)
        assert np.array_equal(some.source, whole.source)
        assert len(some.number) > 0
    few, all_ = (sum(e.count for e in evidence.entries(of)) for of in (np.array([7]), numbers))
    assert few < all_ / 10


def test_what_came_late_and_was_not_taken_is_not_taken_the_second_time_either(
    tmp_path: Path,
) -> None:
    """Entries 1, 3, 2 of a ring: the gap was noticed, and what fills it is dropped."""
    Soak(tmp_path, 200_000).write()
    path = tmp_path / FILE_NAME
    frames = list(read(path))
    rings = [entry.source for _, entry in frames if entry.kind == "records"]
    ring = max(set(rings), key=rings.count)
    ops = [(at, entry.op) for at, (_, entry) in enumerate(frames) if entry.kind == "op"]
    sent = [(at, op["block"]) for at, op in ops if op["op"] == "enqueued"]
    second = next(at for at, block in sent if block == 1)
    # The ring's last of block 0: missed when it goes on in block 2, and there in block 3.
    last = max(at for at in range(second) if frames[at][1].source == ring)
    early = frames[last]
    frames.insert(sent[-1][0] + 1, early)
    del frames[last]
    path.unlink()
    with HistoryWriter(path) as writer:
        writer.append(frames)
    evidence = gather(tmp_path)
    (number, *_) = np.frombuffer(early[1].data, RECORD_DTYPE)["number"].tolist()
    # The second is where the late entry lies, and has that place read again.
    wanted = np.isin(np.arange(evidence.ledger.size), [number, 150_005])

    seen = look_at(evidence, wanted)

    assert evidence.ledger.losses
    counted = sum(int(evidence.ledger.count(event)[wanted].sum()) for event in (*COMMON, *RARE))
    assert len(seen.number) == counted
