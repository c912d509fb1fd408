"""Redis goes away in mid-run, and nobody planned it: it comes back and all goes on, or one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

from poolproof.experiments.crash import Crash
from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce.plan import BlockSpec
from poolproof_workers.errors import REDIS

from .cli import Cli
from .crash_bench import LAST_WORDS, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.runner.session import Session
    from tests.conftest import Eventually

COUNT = 96
_OWNER = """
import sys
from poolproof.infra.redis_server import RedisServer
with RedisServer.start() as server:
    server.keep()
    print(server.url, flush=True)
    for line in sys.stdin:
        server.restart(1.0)
        print("back", flush=True)
"""


class Elsewhere:
    """A Redis that another process restarts when it is told to, while we go on."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OWNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()

    def restart(self) -> None:
        """Begin a restart; does not wait for its end."""
        assert self._process.stdin
        self._process.stdin.write("now\n")
        self._process.stdin.flush()

    def check(self) -> None:
        """What a server of ours would be asked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)


@dataclass(frozen=True)
class Restarted:
    """A block of tasks, in the middle of which Redis is restarted, more than once."""

    server: Elsewhere
    policy: str
    times: int = 2

    def strike_all(self, session: Session) -> None:
        (side,) = session.sides
        block = BlockSpec(side.label, "sleep:100ms", COUNT)
        sent = session.producer.enqueue(block, session.workload(block.workload))
        for time in range(1, self.times + 1):
            least = 16 * time
            assert session.holds(lambda now, least=least: now.settled_in(sent) >= least, 60)
            self.server.restart()
            # These are sent, or not, while Redis goes: each must be there once.
            more = [session.play(BlockSpec(side.label, "square", 8), 60)[0] for _ in range(4)]
            assert [each.count for each in more] == [8] * 4
        assert session.until_quiet(side, 60)
        session.producer.end(sent, drained=True)

    def settings(self) -> dict[str, str]:
        return Crash(policy=self.policy, prefetch=1).settings()

    def to_json(self) -> dict[str, Any]:
        return {"name": "restarted"}


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as found:
        yield found


@pytest.mark.parametrize(("pool", "policy"), [("prefork:4", "late"), ("threads:4", "early")])
def test_a_redis_that_comes_back_in_mid_run_costs_no_record_and_no_task_its_verdict(
    elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str, policy: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with ExitStack() as stack:
        other = stack.enter_context(RedisServer.start())
        redis, counts = (stack.enter_context(connect(each.url)) for each in (elsewhere, other))
        monkeypatch.setenv("ORACLE_REDIS_URL", other.url)
        outcome = Bench(elsewhere, redis, tmp_path, counts).crash(
            pool, Restarted(elsewhere, policy)
        )

    assert outcome.summary["books"]["balanced"]
    assert outcome.contradictions() == []
    assert outcome.of(Verdict.UNKNOWN) == []
    # Begun is run to the end, whatever became of the connection.
    assert all(outcome.tallies[number].taken == 0 for number in outcome.of(Verdict.LOST))
    assert set(outcome.verdicts) <= {Verdict.COMPLETED, Verdict.REPEATED, Verdict.LOST}
    codes = {warning["code"] for warning in outcome.summary["warnings"]}
    assert not codes & {"records_lost", "incomplete", "not_closed"}
    # Which of its two connections a worker hears of first decides whether it lives on (kombu #582).
    exits = [op for op in outcome.case.evidence.named("worker-exit") if not op["asked"]]
    assert all(op["stderr"][-1].endswith(LAST_WORDS) for op in exits), exits


def test_an_embedded_redis_that_was_killed_ends_the_run_at_once_with_one_line(
    tmp_path: Path, eventually: Eventually
) -> None:
    def kill_redis(cli: Cli, line: str) -> None:
        if "segfault on" in line:
            children = psutil.Process(cli.process.pid).children()
            (server,) = (child for child in children if "server" in child.name())
            os.kill(server.pid, signal.SIGKILL)

    cli = Cli.start("crash", "--pool", "threads:2", cwd=tmp_path, on_line=kill_redis)
    code, out, lines = cli.finish()

    assert code == REDIS
    assert not out
    assert not any("Traceback" in line for line in lines)
    said = [line for line in lines if line.startswith("poolproof:")]
    assert said == ["poolproof: the embedded Redis was killed by signal 9."]
    eventually(lambda: not cli.left())
