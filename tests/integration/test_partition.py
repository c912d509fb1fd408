"""The network between Redis and the workers of a side goes down, and the books close meanwhile."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.infra.connection import connect
from poolproof.infra.proxy import Proxy
from poolproof.infra.redis_server import RedisServer
from poolproof.judge.run import consider
from poolproof.judge.verdicts.books import books
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce.plan import BlockSpec
from poolproof.runner.listener import NullListener
from poolproof.runner.remote_environment import RemoteEnvironment
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys

from .cli import Cli
from .crash_bench import Onlooker, tallies

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.runner.session import Session
    from tests.conftest import Eventually

_SIDE = "away"
_WORKERS = ("one@away", "two@away")


@dataclass(frozen=True)
class Partition:
    """A block of tasks; with the queue full the way to all workers is cut, for good."""

    way: Proxy
    counts: Redis
    onlooker: Onlooker
    eventually: Eventually
    crash: Any = None
    events: bool = False

    def play(self, session: Session) -> None:
        (side,) = session.sides
        block = BlockSpec(side.label, "sleep:100ms", 60)
        sent = session.producer.enqueue(block, session.workload(block.workload))
        assert session.holds(lambda now: now.settled_in(sent) >= 4, 60)
        self.way.cut()
        known = session.progress().settled_in(sent)
        # What they hold they run nevertheless, and nobody here learns of it.
        self.eventually(lambda: self._ended() > known + 4, 60)
        session.producer.end(sent, drained=False)
        self.onlooker.phase("closing the books")

    def _ended(self) -> int:
        return sum(tally.ended for tally in tallies(self.counts).values())

    def to_json(self) -> dict[str, Any]:
        return {"name": "partition"}


@pytest.mark.timeout(300)
def test_what_runs_behind_a_partition_is_unknown_and_never_stranded(
    redis_server: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(RedisServer.start())
        way = stack.enter_context(Proxy(redis_server.url))
        redis, counts = (stack.enter_context(connect(each.url)) for each in (redis_server, other))
        env = {
            "POOLPROOF_RINGS": str(tmp_path / "rings"),
            "POOLPROOF_INCLUDE": "tests.integration.oracle",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "ORACLE_REDIS_URL": other.url,
        }
        words = ["collect", "--redis-url", redis_server.url, "--once", "--runs", str(tmp_path)]
        collector = Cli.start(*words, env=env)
        stack.callback(_end, collector)
        for name in _WORKERS:
            words = ["--side", _SIDE, "--name", name, "--redis-url", way.url, "--grace-s", "1"]
            stack.callback(_end, Cli.start("worker", "--pool", "threads:2", *words, env=env))
        onlooker = Onlooker(redis, counts)
        registered = RemoteEnvironment(redis, Keys(DEFAULT_NAMESPACE), redis_server.url)

        played = registered.play(
            Partition(way, counts, onlooker, eventually),  # type: ignore[arg-type]
            NullListener(),
            len(_WORKERS),
        )

        case, found = consider(tmp_path / played.run), tallies(counts)
    for number, copies in onlooker.copies.items():
        found[number].copies = copies
    verdicts = [Verdict(value) for value in case.verdicts.tolist()]
    assert books(case)["balanced"]
    wrong = {
        number: (verdict, found[number])
        for number, verdict in enumerate(verdicts)
        if verdict != Verdict.UNKNOWN and not found[number].allows(verdict)
    }
    assert wrong == {}
    hidden = [n for n, verdict in enumerate(verdicts) if verdict == Verdict.UNKNOWN]
    assert any(found[number].succeeded and found[number].copies for number in hidden)
    assert verdicts.count(Verdict.QUEUED) > 0


def _end(cli: Cli) -> None:
    if cli.process.poll() is None:
        cli.process.terminate()
    cli.finish(60)
