"""The checks: each of them complains when it has a reason to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from poolproof.judge.run import JudgedRun, consider
from poolproof_workers.contract import Event
from tests.unit.celery_model import MS, Model, write

from . import checks
from .account import Line, Look
from .player import Erasure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model() -> Model:
    """Two tasks, done one after the other."""
    model = Model("threads", "early")
    model.enqueue(2)
    for _ in range(2):
        model.receive(model.workers[0])
        model.start(model.workers[0])
        model.end(model.workers[0], 0, Event.SUCCEEDED)
    model.close()
    return model


def judged(model: Model, folder: Path, *, without_records: bool = False) -> JudgedRun:
    entries = [each for each in model.entries([9]) if not (without_records and is_records(each))]
    return consider(write(folder, entries))


def is_records(entry: object) -> bool:
    return getattr(entry, "kind", "") == "records"


def log(model: Model, *numbers: int) -> Look:
    """Return what an oracle would have seen, had it been there: each of these ran to its end."""
    what = ("received", "begun", "ended:SUCCESS")
    lines = [
        Line(edge, each, number, 1 << 22, 1, model.now_ns - 9_000 * MS)
        for number in numbers
        for each in what
        for edge in ("before", "after")
    ]
    return Look(0, Counter(), Counter(), tuple(lines), frozenset())


def complaints(case: JudgedRun, look: Look, *erasures: Erasure) -> list[str]:
    return checks.of_verdicts(case, look, look, list(erasures))


def test_where_the_oracle_agrees_there_is_nothing_to_say(model: Model, tmp_path: Path) -> None:
    assert complaints(judged(model, tmp_path), log(model, 0, 1)) == []


def test_a_verdict_that_the_oracle_contradicts_is_named(model: Model, tmp_path: Path) -> None:
    (complaint,) = complaints(judged(model, tmp_path), log(model, 0, 1, 1))

    assert complaint.startswith("task 1 is completed, not repeated")


def test_unknown_without_a_reason_is_a_complaint(model: Model, tmp_path: Path) -> None:
    found = complaints(judged(model, tmp_path, without_records=True), log(model, 0, 1))

    assert len(found) == 2
    assert all("is unknown, not completed" in each for each in found)


def test_a_deleted_ring_excuses_unknown_only_where_it_could_have_told_more(
    model: Model, tmp_path: Path
) -> None:
    case = judged(model, tmp_path, without_records=True)
    look = log(model, 0, 1)
    ended = look.log[0].t_ns

    assert complaints(case, look, Erasure(ended + MS, ())) == []
    assert len(complaints(case, look, Erasure(ended + 31_000 * MS, ()))) == 2


def test_books_that_do_not_balance_are_a_complaint() -> None:
    books = {"balanced": True, "enqueued": 2, "verdicts": {"completed": 1}, "unexpected": 1}
    lost = {"code": "records_lost", "advice": ""}

    found = checks.of_books({"books": books, "warnings": [lost]}, erased=False)

    assert len(found) == 3
    assert len(checks.of_books({"books": books, "warnings": [lost]}, erased=True)) == 2


def test_a_process_that_is_left_is_found_by_its_mark() -> None:
    mark = ("POOLPROOF_CHAOS_TEST", f"{os.getpid()}")
    words = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, mark[0]: mark[1]},
    ) as left:
        assert left.stdout is not None
        left.stdout.readline()
        found = checks.of_processes(mark)
        left.communicate()

    assert len(found) == 1
    assert str(left.pid) in found[0]
    assert checks.of_processes(mark) == []


def test_a_file_that_is_left_is_found(tmp_path: Path) -> None:
    assert checks.of_files(tmp_path, tmp_path / "gone") == []

    (tmp_path / "left").touch()

    assert checks.of_files(tmp_path) == [f"left on disk: {tmp_path / 'left'}"]
