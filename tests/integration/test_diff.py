"""Real runs, saved and compared: what is equal passes, what was slowed down fires."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from poolproof.judge.outcome import MOST_TAKEN

from .cli import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)

_WORK = "sleep:20ms"


def _compare(out: Path, slots: int) -> str:
    """Measure side `a` with so many slots, side `b` with four; return the run's folder."""
    sides = ("--pool", f"a=threads:{slots}", "--pool", "b=threads:4")
    budget = ("--workload", _WORK, "--budget-s", "8", "--no-crash", "--json")
    code, printed, lines, cli = run("compare", *sides, *budget, "--out", str(out), deadline_s=290)
    assert code == 0, lines
    assert cli.left() == []
    return str(out / json.loads(printed)["run"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("runs")
    return {name: _compare(out, slots) for name, slots in (("base", 4), ("same", 4), ("less", 1))}


def _diff(base: str, new: str, *words: str) -> tuple[int, Any, list[str]]:
    code, printed, lines, _ = run("diff", base, new, *words, "--json")
    return code, json.loads(printed) if printed else None, lines


def test_a_run_like_the_last_does_not_fire(runs: dict[str, str]) -> None:
    code, found, lines = _diff(runs["base"], runs["same"], "--fail-if", "a throughput < -50%")

    assert code == 0, lines
    assert [each["outcome"] for each in found["thresholds"]] in (["holds"], ["not shown"])
    measures = {each["measure"] for each in found["changes"] if each["side"] == "a"}
    assert {"throughput", "running-p50"} <= measures


def test_a_side_with_a_quarter_of_its_slots_is_refused_unless_that_is_under_test(
    runs: dict[str, str],
) -> None:
    code, found, lines = _diff(runs["base"], runs["less"], "--fail-if", "a throughput < -40%")

    assert code == 2
    assert found is None
    assert len(lines) == 1
    assert "The pool of a was threads:4, and is threads:1." in lines[0]


@pytest.mark.parametrize("told", [("--under-test", "pool"), ("--anyway",)])
def test_a_real_slowdown_fires_and_what_was_not_slowed_down_does_not(
    runs: dict[str, str], told: tuple[str, ...]
) -> None:
    limits = ("--fail-if", f"a {_WORK} throughput < -40%", "--fail-if", "b throughput < -70%")

    code, found, lines = _diff(runs["base"], runs["less"], *told, *limits)

    fired, other = found["thresholds"]
    (change,) = [
        each
        for each in found["changes"]
        if (each["side"], each["workload"], each["measure"]) == ("a", _WORK, "throughput")
    ]
    # Whatever else runs here: on a busy host nothing fires, however slow the side was.
    is_busy = change["outcome"] == "not comparable on a host this busy"
    assert is_busy == ((change["taken_share"] or 0.0) > MOST_TAKEN)
    assert fired["outcome"] == ("not shown" if is_busy else "fires")
    assert code == (0 if is_busy else 1), lines
    assert fired["high"] < 0.6
    assert other["outcome"] != "fires"
    assert ([each["subject"] for each in found["differences"]] == ["pool"]) == (
        told[0] == "--anyway"
    )


def test_a_saved_run_has_a_row_for_every_task_with_its_verdict(runs: dict[str, str]) -> None:
    path = f"{runs['base']}/tasks.parquet"
    tasks = pl.read_parquet(path)
    with open(f"{runs['base']}/summary.json", encoding="utf-8") as file:  # noqa: PTH123
        summary = json.load(file)

    assert len(tasks) == summary["books"]["enqueued"]
    assert set(tasks["verdict"]) == {"completed"}
    assert pl.read_parquet_metadata(path)["poolproof.run"] == summary["run"]
    in_order = pl.col("enqueued_ns") <= pl.col("received_ns")
    in_order &= pl.col("received_ns") <= pl.col("started_ns")
    in_order &= pl.col("started_ns") < pl.col("ended_ns")
    assert tasks.filter(~in_order).is_empty()
    slots = tasks.group_by("side", "pid").agg(pl.col("thread").n_unique())["thread"]
    assert set(slots) == {4}
