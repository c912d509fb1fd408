"""The history that `bench scale` is fed is one that a run could have written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from poolproof.experiments.bench_scale import judge
from poolproof.experiments.soak import Soak
from poolproof.judge.attempts import look_at
from poolproof.judge.evidence import gather
from poolproof.judge.summary import summarise

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


def test_reading_a_long_history_again_from_the_middle_misses_nothing(tmp_path: Path) -> None:
    Soak(tmp_path, 100_000).write()
    evidence = gather(tmp_path)
    assert len(evidence.places) > 5

    for first in (0, 40_000, 70_000, 94_500):
        wanted = np.arange(evidence.ledger.size) >= first
        some, whole = (look_at(each, wanted) for each in (evidence, replace(evidence, places=[])))
        assert np.array_equal(some.number, whole.number)
        assert np.array_equal(some.t_ns, whole.t_ns)
        assert len(some.number) > 0
    skipping = sum(entry.count for entry in evidence.entries(evidence.ledger.latest_ns))
    assert skipping < sum(entry.count for entry in evidence.entries()) / 2
