"""`tasks.parquet`: one row a task, and what is not known is null."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
import pytest

from poolproof.judge.run import consider
from poolproof.judge.save import judge_and_save
from poolproof.judge.table import FORMAT, write_table
from poolproof.report.publish import publish
from poolproof_workers.contract import Event
from poolproof_workers.errors import DiskError
from tests.unit.celery_model import OFFSET_NS, RUN, Model, write

if TYPE_CHECKING:
    from pathlib import Path


def _run(folder: Path) -> Model:
    """Task 0 completes, 1 fails, 2 is cut and 3 stranded when the worker dies, 4 stays queued."""
    model = Model("threads", "early")
    model.enqueue(5)
    worker = model.workers[0]
    for _ in range(4):
        model.receive(worker)
    for end in (Event.SUCCEEDED, Event.FAILED):
        model.start(worker)
        model.end(worker, 0, end)
    model.start(worker)
    model.kill(worker)
    model.close()
    write(folder, model.entries([4]))
    return model


def test_a_row_is_what_is_known_of_its_task(tmp_path: Path) -> None:
    model = _run(tmp_path)
    write_table(consider(tmp_path), tmp_path / "tasks.parquet")

    tasks = pl.read_parquet(tmp_path / "tasks.parquet")

    assert tasks["verdict"].to_list() == [model.truth(number) for number in range(5)]
    assert tasks["verdict"].to_list() == ["completed", "failed", "lost", "stranded", "queued"]
    assert tasks["attempts"].to_list() == [1, 1, 1, 0, 0]
    assert tasks["completions"].to_list() == [1, 0, 0, 0, 0]
    assert tasks["failures"].to_list() == [0, 1, 0, 0, 0]
    assert tasks["receipts"].to_list() == [1, 1, 1, 1, 0]
    assert [each is None for each in tasks["ended_ns"]] == [False, False, True, True, True]
    assert [each is None for each in tasks["started_ns"]] == [False, False, False, True, True]
    assert [each is None for each in tasks["worker"]] == [False, False, False, True, True]
    assert tasks["received_ns"][3] == model.deliveries[3].taken_ns + 1_000_000
    assert set(tasks["side"]) == {"model"}
    assert set(tasks["workload"]) == {"square"}


def test_the_file_says_its_format_its_run_and_its_clock(tmp_path: Path) -> None:
    _run(tmp_path)
    write_table(consider(tmp_path), tmp_path / "tasks.parquet")

    facts = pl.read_parquet_metadata(tmp_path / "tasks.parquet")

    assert facts["poolproof.format"] == str(FORMAT)
    assert facts["poolproof.run"] == RUN
    assert facts["poolproof.unix_offset_ns"] == str(OFFSET_NS)


def test_the_table_agrees_with_the_books(tmp_path: Path) -> None:
    _run(tmp_path)

    summary = judge_and_save(tmp_path)

    found = Counter(pl.read_parquet(tmp_path / "tasks.parquet")["verdict"].to_list())
    counts = summary["books"]["verdicts"]
    assert found == {verdict: count for verdict, count in counts.items() if count}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("history.log", "summary.json", "tasks.parquet")
    ]


def test_a_run_in_which_nothing_was_enqueued_has_an_empty_table(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.close()

    judge_and_save(write(tmp_path, model.entries([3])))

    tasks = pl.read_parquet(tmp_path / "tasks.parquet")
    assert tasks.is_empty()
    assert "verdict" in tasks.columns


def test_what_cannot_be_written_costs_a_line_and_not_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path)
    (tmp_path / "tasks.parquet" / "in the way").mkdir(parents=True)

    with pytest.raises(DiskError, match=r"not saved\. Cannot write .*tasks\.parquet: .* --save"):
        publish(tmp_path)

    assert "5 tasks were enqueued" in capsys.readouterr().out
