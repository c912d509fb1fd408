"""What deadly faults do under each late policy, and that an independent count agrees.

One run a policy and pool: a child is killed, then the worker, then three poisons strike, each of
which kills the process that it runs in. On threads and solo all of them come back, and the first
may leave the others no time to begin: under each policy another one is the first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from poolproof.claims.facts.handover import Handover
from poolproof.experiments.crash import Crash
from poolproof.experiments.sustained_load import SustainedLoad
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce.plan import Poison
from poolproof_workers.pools import PoolSpec
from tests.cases import chosen

from .crash_bench import Bench, Outcome, Tally

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

POLICIES: Final = ("late", "late-reject", "late-retry")
SPECS: Final = ("prefork:4", "threads:4", "solo")
BLOWS: Final = ("kill-child", "kill-worker")
POISONS: Final = ("segfault", "os-exit", "kill-self")
#: One strike more than there are poisons, with nothing ending in between: one has come back.
AGAIN: Final = 4
#: Celery retries what lost its slot three times: then all ends.
RETRIED: Final = 13
ROUNDS_BEFORE: Final = 4
ROUNDS_BETWEEN: Final = 2
ROUNDS: Final = 12

#: Prefork may take 5 s to see that a child is gone: with a shorter timeout a second copy runs then.
#: And what comes back goes before what waits: a new worker must have time for that in between.
SMALL: Final = Crash(
    rounds=8, task_s=0.1, prefetch=1, visibility_timeout_s=8.0, deadline_s=60.0, retry_delay_s=0.5
)


def _poisons(policy: str) -> tuple[str, ...]:
    turn = POLICIES.index(policy)
    return POISONS[turn:] + POISONS[:turn]


@dataclass(frozen=True)
class Deaths:
    """Blows from outside, one after the other, and then poisons that are on their way together."""

    crash: Crash

    def play(self, session: Session) -> None:
        (side,) = session.sides
        session.warm_up(side)
        for blow in BLOWS:
            assert replace(self.crash, fault=blow).strike_all(session), f"{blow} came to no rest"
        if not self._poison(session, side):
            self.crash.lay_still(session, side)

    def _poison(self, session: Session, side: Side) -> bool:
        pool = PoolSpec.parse(side.pool).name
        again = RETRIED if (pool, self.crash.policy) == ("prefork", "late-retry") else AGAIN
        stretch = SustainedLoad(session, side, session.workload("sleep:100ms"), again)
        poisons = [
            # The later one is quicker: it strikes also if an earlier one came back beside it.
            Poison((ROUNDS_BEFORE + turn * ROUNDS_BETWEEN) * side.concurrency, fault, after_s)
            for turn, (fault, after_s) in enumerate(
                zip(_poisons(self.crash.policy), (0.15, 0.05, 0.0), strict=True)
            )
        ]
        stretch.send(ROUNDS, *poisons)
        stretch.until_struck(30.0)
        stretch.feed_until_back(side.concurrency)
        return stretch.end(self.crash.deadline_s, None)

    def to_json(self) -> dict[str, Any]:
        return {"name": "deaths", **self.crash.to_json()}


@pytest.fixture
def bench(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    return Bench(redis_server, redis, tmp_path)


@pytest.mark.parametrize(
    ("spec", "policy"), chosen(product(SPECS, POLICIES), zip(SPECS, POLICIES, strict=True))
)
def test_a_late_policy_brings_back_all_but_what_was_on_its_way(
    bench: Bench, spec: str, policy: str
) -> None:
    is_prefork = PoolSpec.parse(spec).name == "prefork"
    crash = replace(SMALL, policy=policy)

    outcome = bench.play(spec, Deaths(crash), crash.settings())

    books = outcome.summary["books"]
    assert books["balanced"]
    assert books["enqueued"] == len(outcome.verdicts)
    assert books["unexpected"] == 0
    assert outcome.contradictions() == []
    struck = {each["fault"] for each in outcome.summary["crashes"]}
    certain = {*BLOWS, *POISONS} if is_prefork else {"kill-worker", _poisons(policy)[0]}
    assert certain <= struck <= {*BLOWS, *POISONS}
    _check_innocents(outcome, failed=is_prefork and policy == "late")
    _check_poisons(outcome, fails=is_prefork and policy != "late-reject")


def test_what_is_on_its_way_to_threads_when_they_die_is_lost_whatever_the_policy(
    bench: Bench,
) -> None:
    """Kombu takes a message and then writes it to `unacked`: kombu #305."""
    crash = replace(SMALL, policy="late-reject", visibility_timeout_s=3.0)

    outcome = bench.play("threads:2", Handover(crash), crash.settings())

    assert outcome.contradictions() == []
    (lost,) = outcome.of(Verdict.LOST)
    assert outcome.tallies[lost] == Tally()
    assert outcome.starts.get(lost) is None
    others = set(outcome.verdicts[:lost] + outcome.verdicts[lost + 1 :])
    assert others == {Verdict.COMPLETED}


def _check_innocents(outcome: Outcome, *, failed: bool) -> None:
    poisons = _numbers(outcome)
    innocents = [n for n in range(len(outcome.verdicts)) if n not in poisons]
    found = {
        verdict: [n for n in innocents if outcome.verdicts[n] is verdict] for verdict in Verdict
    }
    # Acknowledged when its process was lost.
    assert len(found[Verdict.FAILED]) == int(failed)
    # A worker asks for one message at a time, so its death takes along one that was on its way.
    deaths = [op for op in outcome.case.evidence.named("worker-exit") if not op["asked"]]
    assert len(found[Verdict.LOST]) <= len(deaths)
    # Of four slots one is always in the middle of a task; solo may just be between two.
    assert found[Verdict.RECOVERED] or outcome.summary["crashes"][0]["pool"] == "solo"
    assert not found[Verdict.RUNNING] + found[Verdict.PHANTOM] + found[Verdict.UNKNOWN]


def _check_poisons(outcome: Outcome, *, fails: bool) -> None:
    poisons = _numbers(outcome)
    assert len(poisons) == len(POISONS)
    assert all(outcome.tallies[number].returned == 0 for number in poisons)
    if fails:
        assert all(outcome.tallies[number].begun >= 1 for number in poisons)
        assert {outcome.verdicts[number] for number in poisons} == {Verdict.FAILED}
    else:
        assert any(outcome.tallies[number].begun >= 2 for number in poisons)
        assert Verdict.FAILED not in {outcome.verdicts[number] for number in poisons}


def _numbers(outcome: Outcome) -> list[int]:
    found: list[int] = outcome.case.evidence.ledger["poison"].nonzero()[0].tolist()
    return found
