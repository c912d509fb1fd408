"""What every fault takes down with it, on every pool, and that an independent count agrees."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from poolproof.experiments.crash import Crash
from poolproof.judge.verdicts.verdicts import Verdict
from tests.cases import rest_long

from .crash_bench import Bench, Outcome

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

#: Kinds of death that a pool of processes survives and a pool of threads does not.
DEADLY = ("segfault", "os-exit", "kill-self")


@pytest.fixture
def bench(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    return Bench(redis_server, redis, tmp_path)


#: A worker asks for one message at a time, and a slot has taken what it is about to begin.
ON_THE_WAY = 5
#: Redis's clock was read from ours with a round trip, the recorder's is this host's.
CLOCKS_S = 0.1
#: Nobody looks before a new worker has started, and what came back waits for a slot.
BACK_DEADLINE_S = 60.0

#: Small: enough rounds for a steady state, and short times until what is stranded comes back.
SMALL = Crash(rounds=8, visibility_timeout_s=3.0)


def _check_books(outcome: Outcome) -> None:
    books = outcome.summary["books"]
    assert books["balanced"]
    assert books["enqueued"] == len(outcome.verdicts)
    assert sum(books["verdicts"].values()) == books["enqueued"]
    assert books["unexpected"] == 0
    assert outcome.contradictions() == []


def _check_due(outcome: Outcome) -> None:
    """What lay in `unacked` when the worker was dead came back when it had to."""
    crash, evidence = outcome.crash, outcome.case.evidence
    due = crash["due_s"]
    struck_s = crash["at_ns"] / 1e9 + _unix_s(outcome)
    reading = next(op for op in evidence.named("broker") if op["reason"] == "worker-exit")
    back_s = {
        number: begun_s - struck_s
        for number, taken_s in reading["unacked"]
        if (begun_s := outcome.starts[number][0]) > struck_s and taken_s < struck_s
    }
    assert len(back_s) == crash["stranded"]
    assert min(back_s.values()) >= due["first"] - CLOCKS_S
    for number, taken_s in reading["unacked"]:
        timeout_s = taken_s + due["visibility_timeout_s"] - struck_s
        assert back_s.get(number, timeout_s) >= timeout_s - CLOCKS_S
    assert max(back_s.values()) <= due["last"] + BACK_DEADLINE_S


def _unix_s(outcome: Outcome) -> float:
    """Return what to add to seconds of the producer's clock for Unix time."""
    clocks = outcome.case.evidence.named("clock")
    return min((op["error_ns"], op["offset_ns"]) for op in clocks)[1] / 1e9


@pytest.mark.parametrize("fault", rest_long(*DEADLY))
def test_a_deadly_fault_under_prefork_interrupts_nobody_else(bench: Bench, fault: str) -> None:
    outcome = bench.crash("prefork:4", replace(SMALL, fault=fault))

    _check_books(outcome)
    assert outcome.crash["running"] == 3
    assert outcome.crash["interrupted"] == 0
    assert outcome.crash["stranded"] == 0
    assert outcome.of(Verdict.FAILED) == [outcome.poison]
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts) - 1


@pytest.mark.parametrize("fault", rest_long(*DEADLY))
def test_a_deadly_fault_under_threads_takes_all_that_run_and_strands_what_waits(
    bench: Bench, fault: str
) -> None:
    outcome = bench.crash("threads:4", replace(SMALL, fault=fault))
    crash = outcome.crash

    _check_books(outcome)
    assert crash["running"] == crash["interrupted"] == 3
    assert crash["lost"] == 3
    assert len(outcome.of(Verdict.LOST)) == 4  # with the poison
    assert outcome.poison in outcome.of(Verdict.LOST)
    # 4 slots x prefetch 4 are reserved beside those that run; all of them come back.
    assert crash["stranded"] >= 12
    assert crash["recovered"] == crash["stranded"]
    assert crash["restarted_by"] == "supervisor"
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts) - 4
    _check_due(outcome)


@pytest.mark.parametrize("fault", rest_long(*DEADLY))
def test_a_deadly_fault_under_solo_comes_back_and_kills_again(bench: Bench, fault: str) -> None:
    """Solo acknowledges when it gets back to its event loop: after the task, always."""
    outcome = bench.crash("solo", replace(SMALL, fault=fault, rounds=16, deadline_s=15.0))

    _check_books(outcome)
    assert outcome.crash["running"] == outcome.crash["lost"] == 0
    assert outcome.poison is not None
    assert outcome.tallies[outcome.poison].begun >= 2
    assert outcome.tallies[outcome.poison].returned == 0


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork:4", "threads:4", "solo"])
def test_an_exception_costs_nobody_else_anything(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="exception"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == outcome.crash["stranded"] == 0
    assert outcome.of(Verdict.FAILED) == [outcome.poison]


@pytest.mark.long
def test_system_exit_under_prefork_is_reported(bench: Bench) -> None:
    outcome = bench.crash("prefork:4", replace(SMALL, fault="system-exit"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == 0
    assert outcome.of(Verdict.FAILED) == [outcome.poison]


@pytest.mark.long
def test_system_exit_under_threads_leaves_a_phantom_and_hurts_nobody_else(bench: Bench) -> None:
    outcome = bench.crash("threads:4", replace(SMALL, fault="system-exit"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == outcome.crash["stranded"] == 0
    assert outcome.of(Verdict.PHANTOM) == [outcome.poison]


@pytest.mark.parametrize("pool", rest_long("prefork:4", "threads:4"))
def test_late_acknowledgement_brings_back_what_a_killed_worker_ran(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="kill-worker", policy="late"))
    crash = outcome.crash

    _check_books(outcome)
    assert len(outcome.of(Verdict.RECOVERED)) == crash["interrupted"] >= 1
    # One may have been on its way from the queue to `unacked`. None that had begun is lost.
    assert crash["lost"] == len(outcome.of(Verdict.LOST)) <= 1
    assert all(outcome.tallies[number].taken == 0 for number in outcome.of(Verdict.LOST))


def test_late_acknowledgement_under_threads_brings_back_the_poison_too(bench: Bench) -> None:
    outcome = bench.crash(
        "threads:4", replace(SMALL, fault="kill-self", policy="late", deadline_s=15.0)
    )

    _check_books(outcome)
    assert outcome.poison is not None
    assert outcome.tallies[outcome.poison].begun >= 2
    # It strikes a worker that is just fetching: each death may take along what was on its way.
    assert outcome.crash["lost"] <= outcome.crash["strikes"]


@pytest.mark.long
def test_a_killed_child_interrupts_the_one_task_that_it_ran(bench: Bench) -> None:
    outcome = bench.crash("prefork:4", replace(SMALL, fault="kill-child"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == 1
    assert len(outcome.of(Verdict.FAILED)) == 1
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts) - 1


@pytest.mark.parametrize("pool", rest_long("prefork:4", "threads:4"))
def test_a_killed_worker_takes_all_that_run_whatever_its_pool(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="kill-worker"))
    crash = outcome.crash

    _check_books(outcome)
    # One that ends while the signal is on its way was running and was not interrupted.
    assert crash["running"] >= crash["interrupted"] >= 1
    assert crash["interrupted"] + crash["others"] == crash["lost"] == len(outcome.of(Verdict.LOST))
    assert crash["others"] <= ON_THE_WAY
    assert crash["recovered"] == crash["stranded"] > 0
    _check_due(outcome)


@pytest.mark.parametrize("pool", rest_long("prefork:4", "threads:4"))
def test_a_terminated_worker_loses_nothing(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="term-worker"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == outcome.crash["lost"] == 0
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts)
