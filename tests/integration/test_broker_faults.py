"""Faults of the broker and of the way to it, on every pool; an independent count agrees.

The oracle counts in a Redis of its own: the one that is struck could not be asked.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from poolproof.experiments.crash import Crash
from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.contract import Event
from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.pools import PoolSpec

from . import cli
from .crash_bench import LAST_WORDS, Bench, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

#: Solo acknowledges late whatever the policy is.
SESSIONS: Final = (
    ("prefork:4", "early"),
    ("prefork:4", "late"),
    ("threads:4", "early"),
    ("threads:4", "late"),
    ("solo", "early"),
)
_SHARED: Final = "@@broker faults of "
_SHORT: Final = {("prefork:4", "early"), ("threads:4", "late")}
BROKER: Final = tuple(fault.name for fault in FAULTS if fault.where == "broker")
#: After these no connection is lost: nothing is forgotten, and nothing runs twice.
PATIENT: Final = ("redis-pause", "broker-slow")
#: After these a worker may end by itself, if its remote control hears of it first: it is a race of
#: Celery's and kombu's, which the claim "outage-fatal" decides on purpose.
FATAL: Final = ("redis-restart", "broker-cut")


class Played:
    """Plays all faults on a pool under a policy in one run, when one is first asked for."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch
        self._outcomes: dict[tuple[str, str], Outcome] = {}

    def outcome(self, pool: str, policy: str) -> Outcome:
        if (pool, policy) not in self._outcomes:
            self._outcomes[pool, policy] = self._play(pool, policy)
        return self._outcomes[pool, policy]

    def _play(self, pool: str, policy: str) -> Outcome:
        crashes = [Crash(fault=f, policy=policy, prefetch=1, task_s=0.2) for f in BROKER]
        with ExitStack() as stack:
            struck, other = (stack.enter_context(RedisServer.start()) for _ in range(2))
            redis, counts = (stack.enter_context(connect(each.url)) for each in (struck, other))
            self._patch.setenv("ORACLE_REDIS_URL", other.url)
            return Bench(struck, redis, self.folder, counts).crash(pool, *crashes)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield Played(tmp_path_factory.mktemp("broker"), patch)


def _cases() -> Iterator[ParameterSet]:
    for pool, policy in SESSIONS:
        marks = () if (pool, policy) in _SHORT else pytest.mark.long
        for fault in BROKER:
            name = f"{pool}-{policy}-{fault}{_SHARED}{pool} {policy}"
            yield pytest.param(pool, policy, fault, marks=marks, id=name)


@pytest.mark.parametrize(("pool", "policy", "fault"), list(_cases()))
def test_the_books_balance_over_a_fault_of_the_broker_and_what_the_worker_did_is_told(
    played: Played, pool: str, policy: str, fault: str
) -> None:
    outcome = played.outcome(pool, policy)
    (crash,) = (each for each in outcome.summary["crashes"] if each["fault"] == fault)

    numbers = outcome.numbers(fault)
    assert outcome.summary["books"]["balanced"]
    assert outcome.contradictions(numbers) == []
    assert crash["books"]["enqueued"] == len(numbers)
    assert crash["ended"] == "everything came to rest"
    _check_ops(outcome, fault)
    if crash["worker_died"]:
        assert fault in FATAL
        assert _stderr_of_exit(outcome, crash)[-1].endswith(LAST_WORDS)
        assert crash["slots_gone"] == PoolSpec.parse(pool).concurrency
        assert crash["restarted_by"] == "supervisor"
        return
    # A worker that cannot reach its broker goes on with what it runs.
    assert crash["interrupted"] == crash["slots_gone"] == 0, crash
    # Redis keeps all, so only what was on the wire at that moment can be lost: never begun.
    assert all(outcome.tallies[number].taken == 0 for number in _lost(outcome, numbers))
    if fault in PATIENT:
        assert crash["books"]["innocent"] == {"completed": len(numbers)}
        assert crash["stranded"] == crash["given_back"] == 0
    # Given to a worker more than once, and run once: these it had forgotten.
    forgotten = crash["stranded"] + crash["given_back"]
    assert forgotten == len(_run_once_of_more(outcome, numbers))
    assert crash["rescued"].keys() == ({"same worker"} if forgotten else set())


def _stderr_of_exit(outcome: Outcome, crash: dict[str, Any]) -> list[str]:
    # The first: a later fault of the run may end the worker too.
    end = next(
        op
        for op in outcome.case.evidence.named("worker-exit")
        if op.t_ns >= crash["at_ns"] and not op["asked"]
    )
    lines: list[str] = end["stderr"]
    return lines


def _run_once_of_more(outcome: Outcome, numbers: list[int]) -> list[int]:
    received = outcome.case.evidence.ledger.count(Event.RECEIVED)
    return [n for n in numbers if received[n] > 1 and outcome.tallies[n].taken == 1]


def _lost(outcome: Outcome, numbers: list[int]) -> list[int]:
    return [number for number in numbers if outcome.verdicts[number].word == "lost"]


def _check_ops(outcome: Outcome, fault: str) -> None:
    evidence = outcome.case.evidence
    (begin,) = (op for op in evidence.named("fault") if op["fault"] == fault)
    (end,) = (op for op in evidence.named("fault-end") if op["fault"] == fault)
    trouble = find(fault)[1].trouble
    assert trouble
    assert begin["applied"]
    assert begin["workers"] == [begin["worker"]]
    assert end.t_ns - begin.t_ns >= trouble.lasts_s * 1e9
    assert (begin["connections"] is not None) == (fault == "client-kill")
    # It was over while the pool was still fed: tasks began after it.
    numbers = outcome.numbers(fault)
    assert (evidence.ledger["last_start"][numbers] > end.t_ns).any()


@pytest.mark.parametrize("policy", ["early"], ids=[f"{_SHARED}prefork:4 early"])
def test_prefork_forgets_what_it_holds_when_it_loses_its_connections(
    played: Played, policy: str
) -> None:
    outcome = played.outcome("prefork:4", policy)
    crashes = [each for each in outcome.summary["crashes"] if each["fault"] not in PATIENT]

    assert sum(crash["stranded"] + crash["given_back"] for crash in crashes) >= 1


def test_a_redis_that_is_not_ours_is_left_alone(redis_server: RedisServer, tmp_path: Path) -> None:
    words = ("--pool", "solo", "--redis-url", redis_server.url, "--out", str(tmp_path), "--json")
    pid = redis_server.pid

    _, out, _, left = cli.run("crash", "--fault", "redis-restart", "--fault", "redis-pause", *words)

    cells: list[dict[str, Any]] = json.loads(out)["cells"]
    assert [cell["status"] for cell in cells] == ["not applicable"] * 2
    assert all("not started by us" in cell["reason"] for cell in cells)
    assert redis_server.pid == pid
    redis_server.check()
    assert left.left() == []
