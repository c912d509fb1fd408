"""A matrix is interrupted, goes on where it was stopped, and its cells are what the judge says."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.infra.connection import connect
from poolproof.judge.summary import summarise
from poolproof_workers.errors import FAILED_CHECK, INTERRUPTED, OK, USAGE

from . import cli

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.infra.redis_server import RedisServer
    from tests.conftest import Eventually

WORDS = (
    *("crash", "--pool", "prefork:2", "--pool", "threads:2"),
    *("--fault", "exception", "--fault", "kill-worker"),
    *("--policy", "early", "--policy", "late", "--prefetch", "1"),
)


def _after_the_first_run(of: cli.Cli, line: str) -> None:
    if line.startswith("3 of 8"):
        of.interrupt()


def _cells(matrix: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(cell["fault"], cell["policy"], cell["pool"]): cell for cell in matrix["cells"]}


@pytest.mark.timeout(600)
def test_a_matrix_goes_on_where_it_was_stopped_and_each_cell_is_what_the_judge_says(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    words = (*WORDS, "--out", str(tmp_path))

    # The first on a Redis that others may use, the rest three at a time on embedded ones.
    first = cli.Cli.start(*words, env={"REDIS_URL": redis_server.url}, on_line=_after_the_first_run)
    stopped = first.finish(300)
    (folder,) = tmp_path.glob("matrix-*")
    had = json.loads((folder / "matrix.json").read_text())
    code, out, lines, second = cli.run(*words, "--json", "--jobs", "3", deadline_s=400)
    matrix = json.loads(out)

    # Stopped after one run of two crashes: those stay, and the rest is said to be missing.
    assert stopped[0] == INTERRUPTED
    assert had["crashes"] == {"done": 2, "planned": 8}
    assert had["statuses"] == {"measured": 2, "missing": 6}
    assert any(line.startswith("3 of 8") for line in lines)
    assert not any(line.startswith("1 of 8") for line in lines)
    # Then complete, in the same folder and with the first runs in it.
    assert code == OK
    assert [path.name for path in tmp_path.glob("matrix-*")] == [matrix["matrix"]]
    assert (matrix["complete"], matrix["jobs"]) == (True, 3)
    assert matrix["statuses"] == {"measured": 8}
    assert had["runs"][0] in matrix["runs"]
    _check_against_the_judge(folder, matrix)
    _check_what_is_known(_cells(matrix))
    _check_the_files(folder, matrix)
    # Nothing is left of either.
    assert first.left() == second.left() == []
    with connect(redis_server.url) as redis:
        assert redis.keys() == []


def _check_against_the_judge(folder: Path, matrix: dict[str, Any]) -> None:
    for cell in matrix["cells"]:
        (run,) = cell["runs"]
        summary = summarise(folder / run)
        (crash,) = [each for each in summary["crashes"] if each["pool"] == cell["pool"]]
        books = crash["books"]
        assert summary["books"]["balanced"]
        assert crash["policy"] == cell["policy"]
        assert cell["enqueued"] == books["enqueued"]
        assert sum(cell["innocent"].values()) + sum(cell["poison"].values()) == cell["enqueued"]
        for name in ("running", "interrupted", "stranded", "recovered"):
            assert cell[name] == crash[name]
        for verdict in ("lost", "repeated", "phantom"):
            assert cell[verdict] == books["innocent"].get(verdict, 0)
        assert sum(cell["lost_by"].values()) == cell["lost"]


def _check_what_is_known(cells: dict[tuple[str, str, str], dict[str, Any]]) -> None:
    for (fault, policy, pool), cell in cells.items():
        if fault == "exception":
            assert cell["interrupted"] == cell["lost"] == cell["stranded"] == 0
            assert cell["poison"] == {"failed": 1}
            assert cell["noticed"] == ["the task's error"]
        else:
            assert cell["worker_died"] == 1, (pool, policy)
            # One that had just ended is not interrupted; acknowledged late, it runs again.
            assert cell["interrupted"] + cell["repeated"] >= (1 if policy == "late" else 0)
            assert cell["restarted_by"] == ["supervisor"]
            if policy == "early":  # what was not acknowledged yet comes back
                back = cell["innocent"].get("recovered", 0)
                assert cell["lost"] + back == cell["interrupted"] + cell["others"]
            else:  # one may have been on its way from the queue to the worker
                assert cell["lost"] <= 1


def _check_the_files(folder: Path, matrix: dict[str, Any]) -> None:
    assert json.loads((folder / "matrix.json").read_text()) == matrix
    rows = list(csv.DictReader((folder / "matrix.csv").read_text().splitlines()))
    assert [row["fault"] for row in rows] == [cell["fault"] for cell in matrix["cells"]]
    markdown = (folder / "matrix.md").read_text()
    assert "early, prefetch 1" in markdown
    assert "visibility timeout | 4 s | 3600 s" in markdown


def test_ctrl_c_ends_all_runs_that_are_under_way(tmp_path: Path, eventually: Eventually) -> None:
    def with_two(of: cli.Cli, line: str) -> None:
        if line.startswith("3 of 8"):
            eventually(lambda: len(list(tmp_path.glob("matrix-*/*/history.log"))) == 2, 60.0)
            of.interrupt()

    watched = cli.Cli.start(*WORDS, "--jobs", "2", "--out", str(tmp_path), on_line=with_two)
    code, _, lines = watched.finish(120)

    assert code == INTERRUPTED
    # Two begin at once: the third crash, of the second run, was begun before any had ended.
    assert [line[:6] for line in lines[:2]] == ["1 of 8", "3 of 8"]
    assert watched.left() == []
    assert "Traceback" not in "".join(lines)


def test_a_killed_matrix_leaves_no_run_behind(tmp_path: Path, eventually: Eventually) -> None:
    def with_two(of: cli.Cli, line: str) -> None:
        if line.startswith("3 of 8"):
            eventually(lambda: len(list(tmp_path.glob("matrix-*/*/history.log"))) == 2, 60.0)
            of.process.kill()

    killed = cli.Cli.start(*WORDS, "--jobs", "2", "--out", str(tmp_path), on_line=with_two)
    killed.finish(120)

    eventually(lambda: not killed.left())


def test_a_run_that_does_not_succeed_is_named_with_its_reason(tmp_path: Path) -> None:
    words = ("--fault", "segfault", "--fault", "kill-worker", "--pool", "solo")

    code, _, lines, _ = cli.run(
        *("crash", *words, "--out", str(tmp_path)), env={"POOLPROOF_INCLUDE": "no_such_module"}
    )

    assert code == FAILED_CHECK
    for fault in ("segfault", "kill-worker"):
        (said,) = [line for line in lines if f"{fault}, early" in line and "not succeed" in line]
        assert "No module named 'no_such_module'" in said


def test_runs_at_a_time_need_a_redis_each(redis_server: RedisServer, tmp_path: Path) -> None:
    words = (*WORDS, "--jobs", "2", "--redis-url", redis_server.url, "--out", str(tmp_path))

    code, _, lines, _ = cli.run(*words)

    assert code == USAGE
    assert lines == [
        "poolproof: --jobs needs a Redis of its own for each run: leave --redis-url out."
    ]


def test_a_fault_that_cannot_be_done_to_a_pool_is_shown_as_such_and_costs_no_run(
    tmp_path: Path,
) -> None:
    code, out, _, _ = cli.run(
        *("crash", "--fault", "kill-child", "--pool", "threads:2", "--out", str(tmp_path)), "--json"
    )

    (cell,) = json.loads(out)["cells"]
    assert code in {OK, FAILED_CHECK}
    assert cell["status"] == "not applicable"
    assert "no child processes" in cell["reason"]
    assert cell["runs"] == []


def test_a_pool_is_fed_until_a_lost_slot_is_back_however_late_that_is_noticed(
    tmp_path: Path,
) -> None:
    code, out, _, _ = cli.run(
        *("crash", "--pool", "prefork:2", "--prefetch", "1", "--out", str(tmp_path)), "--json"
    )

    (crash,) = json.loads(out)["crashes"]
    assert code == OK
    assert crash["ended"] == "everything came to rest"
    assert crash["restarted_by"] == "pool"
    assert crash["recovery_s"]["slot_back"] is not None
    assert crash["recovery_s"]["throughput_back"] is not None
