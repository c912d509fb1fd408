"""Two workers on one queue: what one held is run by the other when it does not come back."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from poolproof.experiments.crash import Crash
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof_workers.contract import Event
from poolproof_workers.errors import OK, USAGE
from tests.cases import chosen

from . import cli
from .crash_bench import Bench, Outcome

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

KILL = Crash(
    fault="kill-worker",
    prefetch=2,
    task_s=0.2,
    visibility_timeout_s=3.0,
    workers=2,
    restarts=False,
    rounds=20,  # the blow must come while there is work, however late it does
)


@pytest.fixture
def bench(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Bench(redis_server, redis, tmp_path)


def _runners(outcome: Outcome) -> set[str]:
    """Return the workers that ran something after the fault, by the rings of the last starts."""
    ledger = outcome.case.evidence.ledger
    names = [source.worker for source in ledger.roster.sources.values()]
    after = ledger["last_start"] > outcome.crash["at_ns"] + 1_000_000_000
    return {names[index] for index in ledger["last_source"][after].tolist()}


def _struck_at_work(bench: Bench, pool: str, crash: Crash) -> Outcome:
    """Crash it; again at another moment if the blow came when nothing ran there."""
    for seed in range(1, 4):
        outcome = bench.crash(pool, replace(crash, seed=seed))
        if outcome.crash["running"]:
            break
    return outcome


@pytest.mark.parametrize(
    ("pool", "policy"),
    chosen(
        product(("prefork:2", "threads:2", "solo"), ("early", "late")),
        [("prefork:2", "late"), ("threads:2", "early")],
    ),
)
def test_the_survivor_restores_and_runs_what_the_struck_worker_held(
    bench: Bench, pool: str, policy: str
) -> None:
    outcome = _struck_at_work(bench, pool, replace(KILL, policy=policy))
    crash = outcome.crash

    assert outcome.summary["books"]["balanced"]
    assert outcome.contradictions() == []
    # What broke: one of two workers, for good.
    assert crash["worker_died"]
    assert crash["restarted_by"] == "nobody"
    assert crash["recovery_s"]["slot_back"] is None
    # Solo holds little beside what it runs.
    assert crash["stranded"] + crash["interrupted"] >= 1
    assert crash["stranded"] >= 1 or pool == "solo"
    # What kept working: the other one, which ran all that was left.
    (survivor,) = _runners(outcome)
    assert survivor != crash["worker"]
    assert crash["rescued"].keys() == {"surviving worker"}
    # What had just begun may not have been acknowledged yet, however early that is done.
    held = crash["stranded"] + crash["interrupted"]
    least = crash["stranded"] if _acks_early(pool, policy) else held
    assert least <= crash["rescued"]["surviving worker"]["tasks"] <= held
    assert crash["rescued"]["surviving worker"]["first"] > 0
    assert crash["ended"] == "everything came to rest"
    assert {*outcome.verdicts} <= {
        *(Verdict.COMPLETED, Verdict.LOST, Verdict.RECOVERED, Verdict.REPEATED)
    }
    # Only what had just ended, and was not acknowledged yet, came back and ran twice.
    assert len(outcome.of(Verdict.REPEATED)) <= min(crash["others"], 2)
    if not _acks_early(pool, policy):
        assert outcome.of(Verdict.LOST) == []


def _acks_early(pool: str, policy: str) -> bool:
    return policy == "early" and pool != "solo"


@pytest.mark.parametrize("pool", ["prefork:2", "threads:2"])
def test_what_the_survivor_holds_itself_is_not_taken_for_stranded(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(KILL, restarts=True))
    crash, ledger = outcome.crash, outcome.case.evidence.ledger

    again = [
        number
        for number in range(ledger.size)
        if ledger.count(Event.RECEIVED)[number] > 1 and outcome.tallies[number].taken == 1
    ]
    assert outcome.summary["books"]["balanced"]
    assert outcome.contradictions() == []
    assert crash["restarted_by"] == "supervisor"
    # One more it may have had in its hand: taken from the broker, and not written down yet.
    assert 1 <= len(again) <= crash["stranded"] <= len(again) + 1
    assert crash["rescued"].keys() <= {"surviving worker", "restarted worker"}
    rescued = sum(each["tasks"] for each in crash["rescued"].values())
    assert len(again) <= rescued <= crash["stranded"] + crash["interrupted"]


def test_a_matrix_has_a_row_for_the_survivor_and_says_who_rescued(tmp_path: Path) -> None:
    words = ("--pool", "threads:2", "--prefetch", "1", "--workers", "1", "--workers", "2")

    code, out, _, left = cli.run(
        *("crash", "--fault", "kill-worker", "--no-restart", "--json", "--out", str(tmp_path)),
        *words,
    )

    assert code == OK
    alone, with_survivor = json.loads(out)["cells"]
    assert (alone["workers"], alone["restarts"]) == (1, True)
    assert alone["restarted_by"] == ["supervisor"]
    assert (with_survivor["workers"], with_survivor["restarts"]) == (2, False)
    assert with_survivor["restarted_by"] == ["nobody"]
    (run,) = with_survivor["runs"]
    (summary,) = (json.loads(path.read_text()) for path in tmp_path.glob(f"*/{run}/summary.json"))
    assert any("the surviving worker began" in sentence for sentence in summary["sentences"])
    assert left.left() == []


def test_without_a_survivor_a_struck_worker_is_restarted(tmp_path: Path) -> None:
    code, _, lines, _ = cli.run("crash", "--no-restart", "--out", str(tmp_path))

    assert code == USAGE
    assert "--workers 2" in lines[-1]
