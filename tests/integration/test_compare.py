"""`poolproof compare` from the command line to its figures: what they are, not how large."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from poolproof.judge.outcome import BUSY
from poolproof_workers.errors import OK, USAGE
from tests.cases import rest_long
from tests.integration.cli import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)

_COUNTERS = ("cpu_s_per_task", "ctx_voluntary_per_task", "ctx_involuntary_per_task")


def _compare(folder: Path, *words: str) -> dict[str, Any]:
    short = ("--workload", "sleep:5ms", "--no-crash", "--budget-s", "6", "--json")
    code, out, lines, cli = run("compare", *words, *short, cwd=folder, deadline_s=840)
    assert code == OK, (lines[-3:], out[-1500:])
    assert not cli.left()
    summary: dict[str, Any] = json.loads(out)
    assert summary["valid"], summary["warnings"]
    assert summary["books"]["balanced"]
    return summary


def test_equal_sides_are_measured_in_every_way_and_give_the_noise_floor(tmp_path: Path) -> None:
    summary = _compare(tmp_path, "--pool", "a=threads:2", "--pool", "b=threads:2")

    (one,) = summary["comparisons"]
    assert one["same"]
    assert min(one["blocks"]) >= 5
    floor = max(one["high"], 1 / one["low"]) - 1
    # On a busy host nothing is compared, and the noise of it is no floor.
    told = {} if one["outcome"] == BUSY else {"sleep:5ms": pytest.approx(floor)}
    assert summary["noise_floor"] == told
    for side in ("a", "b"):
        of = summary["pools"][side]
        _check_side(of)
        figures = of["workloads"]["sleep:5ms"]
        assert 0 < figures["utilisation"] <= 1
        # It sleeps: it must have waited at least once, and needs less CPU than it sleeps.
        assert all(figures["effort"][name] > 0 for name in _COUNTERS[:2])
        _check_open_loop(figures["open_loop"])
    assert summary["pools"]["a"]["workloads"]["sleep:5ms"]["open_loop"]["offered_per_s"] == (
        pytest.approx(
            summary["pools"]["b"]["workloads"]["sleep:5ms"]["open_loop"]["offered_per_s"], rel=0.01
        )
    )
    _check_own_cost(summary)


@pytest.mark.parametrize("fresh", rest_long(False, True))
def test_a_round_has_workers_of_its_own_unless_they_are_to_stay(
    tmp_path: Path, *, fresh: bool
) -> None:
    words = () if fresh else ("--no-fresh",)

    summary = _compare(tmp_path, *words, "--pool", "a=threads:2", "--pool", "b=threads:2")

    (folder,) = (tmp_path / "runs").glob("2*")
    tasks = pl.read_parquet(folder / "tasks.parquet").filter(pl.col("workload") == "sleep:5ms")
    (one,) = summary["comparisons"]
    for side, blocks in zip(("a", "b"), one["blocks"], strict=True):
        mine = tasks.filter(pl.col("side") == side).group_by("block").agg(pl.col("pid").unique())
        pids = mine["pid"].explode().to_list()
        assert blocks >= 5
        assert mine["pid"].list.len().max() == 1
        # The first look at the pace was had on those before the first round.
        assert len(set(pids)) == (blocks + 1 if fresh else 1)
    assert summary["plan"]["fresh"] == fresh


def _check_side(of: dict[str, Any]) -> None:
    memory = of["memory"]
    if memory["pss_loaded_bytes"] is not None:
        assert memory["pss_slot_bytes"] == pytest.approx(memory["pss_loaded_bytes"] / 2, abs=1)
        assert memory["pss_after_bytes"] > 0
    assert of["start_up_s"] > 0


def _check_open_loop(load: dict[str, Any]) -> None:
    times = load["latency_s"]
    assert {"total", "queued", "prefetched", "running"} == set(times)
    assert len({of["n"] for of in times.values()}) == 1
    assert times["running"]["p50"] >= 0.005
    assert times["total"]["p50"] >= times["running"]["p50"]
    assert load["acknowledging"] == "acknowledged before it runs"
    assert load["sent_late_s"]["most"] >= 0


def _check_own_cost(summary: dict[str, Any]) -> None:
    shares = summary["harness"]["cpu_share"]
    assert set(shares) == {"producer", "redis", "supervisor", "collector"}
    assert all(0 < share < 1 for of in shares.values() for share in of["sleep:5ms"].values())
    assert summary["harness"]["ceiling_per_s"]["sleep:5ms"] > 0
    assert set(summary["surroundings"]) == {
        name for of in summary["pools"].values() for name in of["workers"]
    }


def test_a_sweep_measures_every_pool_with_every_number_of_slots(tmp_path: Path) -> None:
    pools = ("--pool", "prefork:1", "--pool", "x=threads:1")
    summary = _compare(tmp_path, *pools, "--sweep", "concurrency=2,1")

    assert list(summary["pools"]) == ["prefork:1", "prefork:2", "x:1", "x:2"]
    curves = {curve["pool"]: curve["points"] for curve in summary["sweep"]["curves"]}
    assert {pool: [p["concurrency"] for p in points] for pool, points in curves.items()} == {
        "prefork": [1, 2],
        "x": [1, 2],
    }
    assert [(one["a"], one["b"]) for one in summary["comparisons"]] == [
        ("prefork:1", "x:1"),
        ("prefork:2", "x:2"),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sweep", "slots=1,2"), "concurrency=1,2,4"),
        (("--sweep", "concurrency=1,,2"), "concurrency=1,2,4"),
        (("--sweep", "concurrency=0"), "without a slot"),
        (("--sweep", "concurrency=1,2", "--pool", "solo"), "at most 1 slots"),
        (("--precision", "0%"), "write it as 5%"),
        (("--precision", "five"), "write it as 5%"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    code, out, lines, _ = run("compare", *words, cwd=tmp_path)

    assert (code, out) == (USAGE, "")
    assert says in lines[-1]
    assert not list(tmp_path.iterdir())
