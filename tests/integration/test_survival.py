"""The collector and the supervisor may be killed in mid-run: the books balance all the same."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from poolproof.experiments.crash import Crash
from poolproof.infra.workers import registered
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce.plan import BlockSpec
from poolproof_workers.pools import PoolSpec

from .test_isolation import Bench, bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.runner.session import Session

__all__ = ["bench"]

SETTINGS = Crash(visibility_timeout_s=3.0)
COUNT = 64


def collector(session: Session) -> int:
    """Pid of the collector of this run, which is a child of ours."""
    children = psutil.Process(os.getpid()).children()
    (found,) = [child.pid for child in children if "collect" in child.cmdline()]
    return found


def supervisor(session: Session) -> int:
    """Pid of the supervisor of the only worker."""
    (found,) = registered(session.redis, session.keys).values()
    pid: int = found["supervisor_pid"]
    return pid


@dataclass(frozen=True)
class Killing:
    """A block of tasks, in the middle of which one of us is killed, once or more often."""

    whom: Callable[[Session], int]
    times: int = 1

    def strike_all(self, session: Session) -> None:
        (side,) = session.sides
        block = BlockSpec(side.label, "sleep:100ms", COUNT)
        sent = session.producer.enqueue(block, session.workload(block.workload))
        for time in range(1, self.times + 1):
            assert session.holds(lambda now, least=8 * time: now.settled_in(sent) >= least, 30)
            os.kill(self.whom(session), signal.SIGKILL)
        assert session.until_quiet(side, 40)
        session.producer.end(sent, drained=True)

    def settings(self) -> dict[str, str]:
        return SETTINGS.settings()

    def to_json(self) -> dict[str, Any]:
        return {"name": "killing"}


@pytest.mark.parametrize("pool", ["prefork:2", "threads:2"])
def test_a_collector_killed_in_mid_run_loses_and_doubles_nothing(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, Killing(collector, times=2))

    assert outcome.summary["books"]["balanced"]
    assert outcome.contradictions() == []
    assert set(outcome.verdicts) == {Verdict.COMPLETED}


@pytest.mark.parametrize("pool", ["prefork:2", "threads:2", "solo"])
def test_a_supervisor_killed_in_mid_run_leaves_nothing_unknown(bench: Bench, pool: str) -> None:
    outcome = bench.crash(pool, Killing(supervisor))

    assert outcome.summary["books"]["balanced"]
    assert outcome.contradictions() == []
    assert outcome.of(Verdict.UNKNOWN) == []
    # Celery dies with its supervisor: what ran is lost, or comes back where the ack comes late.
    may_be = {Verdict.COMPLETED, Verdict.LOST, Verdict.RECOVERED}
    if pool == "solo":  # it acknowledges after the task: what had just ended runs again
        may_be.add(Verdict.REPEATED)
    assert set(outcome.verdicts) <= may_be
    # One more may have been on its way from the queue to the worker; solo may be between two.
    touched = len(outcome.verdicts) - len(outcome.of(Verdict.COMPLETED))
    assert touched <= PoolSpec.parse(pool).concurrency + 1
