"""A comparison on workers that somebody else started, and their collector."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from poolproof_workers.errors import OK

from .cli import Cli, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof.infra.redis_server import RedisServer

_POOLS = ("prefork:1", "threads:1")


@pytest.fixture
def at_work(redis_server: RedisServer, tmp_path: Path) -> Iterator[Cli]:
    """Two workers as the help starts them, but without --allow-faults; gives their collector."""
    env = {"POOLPROOF_REDIS_URL": redis_server.url, "POOLPROOF_RINGS": str(tmp_path / "rings")}
    with ExitStack() as stack:

        def start(*words: str) -> Cli:
            cli = Cli.start(*words, env=env)
            stack.callback(_end, cli)
            return cli

        collector = start("collect", "--once", "--print", "--runs", str(tmp_path / "runs"))
        for pool in _POOLS:
            start("worker", "--pool", pool, "--grace-s", "1")
        yield collector


def _end(cli: Cli) -> None:
    if cli.process.poll() is None:
        cli.process.terminate()
        cli.finish(30)


@pytest.mark.timeout(600)
def test_workers_that_allow_no_faults_are_measured_and_the_run_says_why_none_crashed(
    at_work: Cli, redis_server: RedisServer, tmp_path: Path
) -> None:
    words = ("--workload", "square", "--tasks", "20", "--budget-s", "8")

    code, _, lines, _ = run("play", "--redis-url", redis_server.url, *words, deadline_s=400)
    saved = list((tmp_path / "runs").glob("*/summary.json"))  # when it ends, not some time later
    collected, printed, _ = at_work.finish()

    assert (code, collected, len(saved)) == (OK, OK, 1), lines
    assert sum("--allow-faults 1" in line for line in lines) >= 1
    (folder,) = (tmp_path / "runs").iterdir()
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert summary["crashes"] == summary["struck"] == []
    refused = {row["pool"]: row["reason"] for row in summary["not_applicable"]}
    assert sorted(refused) == sorted(_POOLS)
    assert all("--allow-faults 1" in reason for reason in refused.values())
    assert printed.count("segfault was not done to") == len(_POOLS)
    assert [one["workload"] for one in summary["comparisons"]] == ["square"]
    assert summary["books"]["verdicts"]["completed"] == summary["books"]["enqueued"] > 0
