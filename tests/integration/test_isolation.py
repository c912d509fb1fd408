"""What every fault takes down with it, on every pool, and that an independent count agrees."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.experiments.crash import Crash
from poolproof.experiments.local import Local
from poolproof.judge.case import consider
from poolproof.judge.summary import summarise
from poolproof.judge.verdicts import Verdict
from poolproof_workers.contract import parse_task_id
from poolproof_workers.pools import PoolSpec

from . import oracle

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.fleet.redis_server import RedisServer

_UUID = re.compile(rb"[0-9a-f]{8}-0000-8000-8000-[0-9a-f]{12}")
#: Kinds of death that a pool of processes survives and a pool of threads does not.
DEADLY = ("segfault", "os-exit", "kill-self")


@dataclass
class Onlooker:
    """A listener that looks into Redis just before the books are closed, with code of its own."""

    redis: Redis
    copies: Counter[int] = field(default_factory=Counter)

    def phase(self, text: str) -> None:
        if text != "closing the books":
            return
        for key in self.redis.scan_iter("*:celery:*"):
            kind = self.redis.type(key)
            values = (
                self.redis.lrange(key, 0, -1)
                if kind == b"list"
                else self.redis.hvals(key)
                if kind == b"hash"
                else []
            )
            for value in values:
                self.copies[_number(_UUID.findall(value)[0])] += 1

    def step(self, done: int, total: int) -> None:
        pass


@dataclass(frozen=True)
class Outcome:
    """What poolproof says of a run, and what the oracle counted."""

    summary: dict[str, Any]
    verdicts: list[Verdict]
    begun: Counter[int]
    succeeded: Counter[int]
    ended: Counter[int]
    copies: Counter[int]
    poison: int | None

    @property
    def crash(self) -> dict[str, Any]:
        (crash,) = self.summary["crashes"]
        return crash

    def of(self, verdict: Verdict) -> list[int]:
        return [number for number, found in enumerate(self.verdicts) if found is verdict]

    def contradictions(self) -> list[str]:
        """Return every task whose verdict the independent count contradicts."""
        return [
            f"{number}: {verdict.word}, but begun {self.begun[number]}, succeeded "
            f"{self.succeeded[number]}, ended {self.ended[number]}, copies {self.copies[number]}"
            for number, verdict in enumerate(self.verdicts)
            if not self._agrees(number, verdict)
        ]

    def _agrees(self, number: int, verdict: Verdict) -> bool:  # noqa: PLR0911
        begun, succeeded = self.begun[number], self.succeeded[number]
        ended, copies = self.ended[number], self.copies[number]
        match verdict:
            case Verdict.COMPLETED:
                return begun == succeeded == 1
            case Verdict.RECOVERED:
                return begun > succeeded == 1
            case Verdict.REPEATED:
                return succeeded >= 2
            case Verdict.FAILED:
                return begun >= 1 and succeeded == 0 and copies == 0
            case Verdict.LOST | Verdict.PHANTOM:
                return succeeded == 0 and copies == (0 if verdict is Verdict.LOST else copies)
            case Verdict.STRANDED | Verdict.QUEUED:
                return succeeded == 0 and copies >= 1
            case Verdict.RUNNING:
                return begun > ended
            case _:
                return False  # nothing may be unknown or unexpected in these runs


def _number(task_id: bytes) -> int:
    return parse_task_id(task_id.decode())[1]


def _counts(redis: Redis) -> tuple[Counter[int], Counter[int], Counter[int]]:
    begun: Counter[int] = Counter()
    succeeded: Counter[int] = Counter()
    ended: Counter[int] = Counter()
    for name, count in redis.hgetall(oracle.KEY).items():
        state, _, task_id = name.partition(b":")
        number = _number(task_id)
        if state == b"begun":
            begun[number] += int(count)
        else:
            ended[number] += int(count)
            succeeded[number] += int(count) if state == b"SUCCESS" else 0
    return begun, succeeded, ended


class Bench:
    """Crashes one pool once, on a Redis that outlives the run."""

    def __init__(self, server: RedisServer, redis: Redis, folder: Path) -> None:
        self._server = server
        self._redis = redis
        self._folder = folder

    def crash(self, pool: str, crash: Crash) -> Outcome:
        onlooker = Onlooker(self._redis)
        settings = {**crash.settings(), "POOLPROOF_INCLUDE": "tests.integration.oracle"}
        sides = {pool: PoolSpec.parse(pool)}
        local = Local(sides, self._folder, self._server.url, settings=settings)
        folder = local.play(crash, onlooker)
        case = consider(folder)
        begun, succeeded, ended = _counts(self._redis)
        poison = case.evidence.ledger["poison"].nonzero()[0].tolist()
        return Outcome(
            summary=summarise(folder),
            verdicts=[Verdict(value) for value in case.verdicts.tolist()],
            begun=begun,
            succeeded=succeeded,
            ended=ended,
            copies=onlooker.copies,
            poison=poison[0] if poison else None,
        )


@pytest.fixture
def bench(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Bench(redis_server, redis, tmp_path)


#: Small: enough rounds for a steady state, and short times until what is stranded comes back.
SMALL = Crash(rounds=8, visibility_timeout_s=3.0)


def _check_books(outcome: Outcome) -> None:
    books = outcome.summary["books"]
    assert books["balanced"]
    assert books["enqueued"] == len(outcome.verdicts)
    assert sum(books["verdicts"].values()) == books["enqueued"]
    assert books["unexpected"] == 0
    assert outcome.contradictions() == []


@pytest.mark.parametrize("fault", DEADLY)
def test_a_deadly_fault_under_prefork_interrupts_nobody_else(bench: Bench, fault: str) -> None:
    outcome = bench.crash("prefork:4", replace(SMALL, fault=fault))

    _check_books(outcome)
    assert outcome.crash["running"] == 3
    assert outcome.crash["interrupted"] == 0
    assert outcome.crash["stranded"] == 0
    assert outcome.of(Verdict.FAILED) == [outcome.poison]
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts) - 1


@pytest.mark.parametrize("fault", DEADLY)
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


@pytest.mark.parametrize("fault", DEADLY)
def test_a_deadly_fault_under_solo_comes_back_and_kills_again(bench: Bench, fault: str) -> None:
    """Solo acknowledges when it gets back to its event loop: after the task, always."""
    outcome = bench.crash("solo", replace(SMALL, fault=fault, rounds=16, deadline_s=15.0))

    _check_books(outcome)
    assert outcome.crash["running"] == outcome.crash["lost"] == 0
    assert outcome.poison is not None
    assert outcome.begun[outcome.poison] >= 2
    assert outcome.succeeded[outcome.poison] == 0


@pytest.mark.parametrize("pool", ["prefork:4", "threads:4", "solo"])
def test_an_exception_costs_nobody_else_anything(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="exception"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == outcome.crash["stranded"] == 0
    assert outcome.of(Verdict.FAILED) == [outcome.poison]


def test_system_exit_under_prefork_is_reported(bench: Bench) -> None:
    outcome = bench.crash("prefork:4", replace(SMALL, fault="system-exit"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == 0
    assert outcome.of(Verdict.FAILED) == [outcome.poison]


def test_system_exit_under_threads_leaves_a_phantom_and_hurts_nobody_else(bench: Bench) -> None:
    outcome = bench.crash("threads:4", replace(SMALL, fault="system-exit"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == outcome.crash["stranded"] == 0
    assert outcome.of(Verdict.PHANTOM) == [outcome.poison]


@pytest.mark.parametrize("pool", ["prefork:4", "threads:4"])
def test_late_acknowledgement_brings_back_what_a_killed_worker_ran(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="kill-worker", policy="late"))
    crash = outcome.crash

    _check_books(outcome)
    assert crash["lost"] == len(outcome.of(Verdict.LOST)) == 0
    assert len(outcome.of(Verdict.RECOVERED)) == crash["interrupted"] >= 1


def test_late_acknowledgement_under_threads_brings_back_the_poison_too(bench: Bench) -> None:
    outcome = bench.crash(
        "threads:4", replace(SMALL, fault="kill-self", policy="late", deadline_s=15.0)
    )

    _check_books(outcome)
    assert outcome.crash["lost"] == 0
    assert outcome.poison is not None
    assert outcome.begun[outcome.poison] >= 2


def test_a_killed_child_interrupts_the_one_task_that_it_ran(bench: Bench) -> None:
    outcome = bench.crash("prefork:4", replace(SMALL, fault="kill-child"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == 1
    assert len(outcome.of(Verdict.FAILED)) == 1
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts) - 1


@pytest.mark.parametrize("pool", ["prefork:4", "threads:4"])
def test_a_killed_worker_takes_all_that_run_whatever_its_pool(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="kill-worker"))
    crash = outcome.crash

    _check_books(outcome)
    # One that ends while the signal is on its way was running and was not interrupted.
    assert crash["running"] >= crash["interrupted"] >= 1
    assert crash["interrupted"] == crash["lost"] == len(outcome.of(Verdict.LOST))
    assert crash["recovered"] == crash["stranded"] > 0


@pytest.mark.parametrize("pool", ["prefork:4", "threads:4"])
def test_a_terminated_worker_loses_nothing(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, replace(SMALL, fault="term-worker"))

    _check_books(outcome)
    assert outcome.crash["interrupted"] == outcome.crash["lost"] == 0
    assert len(outcome.of(Verdict.COMPLETED)) == len(outcome.verdicts)
