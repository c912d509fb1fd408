"""Crashes a pool, and counts in Redis what became of its tasks, with code that the judge lacks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from poolproof.infra.sides import SideSpec
from poolproof.judge.run import consider
from poolproof.judge.summary import summarise
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.contract import parse_task_id

from . import oracle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from redis import Redis

    from poolproof.experiments.crash import Crash
    from poolproof.infra.redis_server import RedisServer
    from poolproof.judge.run import JudgedRun
    from poolproof.runner.local_environment import Playable
    from poolproof.runner.session import Session

#: A closed channel has no transport to give its messages back with, whichever part of it is looked
#: for first. The second was seen once, printed by the interpreter and not by Celery's own log.
LAST_WORDS: Final = (
    "'NoneType' object has no attribute 'hostname'",
    "'NoneType' object has no attribute 'connection_errors'",
)
_UUID = re.compile(rb"[0-9a-f]{8}-0000-8000-8000-[0-9a-f]{12}")


@dataclass(slots=True)
class Tally:
    """What was counted of one task. A process that dies may leave it between two counts.

    The recorder's record of a start lies between `taken` and `begun`, that of a success between
    `returned` and `succeeded`: where two agree it must have it, or cannot have it.
    """

    taken: int = 0
    begun: int = 0
    returned: int = 0
    succeeded: int = 0
    ended: int = 0  #: when the books were closed, in whatever way
    copies: int = 0  #: in Redis, then

    def allows(self, verdict: Verdict) -> bool:  # noqa: PLR0911  a line a verdict
        """Tell whether a verdict can be true of the task."""
        starts = range(self.begun, max(self.begun, self.taken) + 1)
        successes = range(self.succeeded, max(self.succeeded, self.returned) + 1)
        match verdict:
            case Verdict.COMPLETED:
                return 1 in starts and 1 in successes
            case Verdict.RECOVERED:
                return starts[-1] > 1 and 1 in successes
            case Verdict.REPEATED:
                return successes[-1] >= 2
            case Verdict.FAILED:
                return starts[-1] >= 1 and 0 in successes and self.copies == 0
            case Verdict.LOST:
                return 0 in successes and self.copies == 0
            case Verdict.PHANTOM:
                return 0 in successes
            case Verdict.STRANDED:
                return 0 in successes and self.copies >= 1
            case Verdict.QUEUED:
                # A worker that hangs may have taken the only copy from Redis, and not begun it.
                return 0 in successes and (self.copies >= 1 or self.taken == 0)
            case Verdict.RUNNING:
                return starts[-1] > self.ended
            case _:
                return False  # nothing may be unknown or unexpected in these runs


@dataclass
class Onlooker:
    """A listener that looks into Redis just before the books are closed, with code of its own."""

    redis: Redis
    counts: Redis
    copies: Counter[int] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)

    def phase(self, text: str) -> None:
        if text != "closing the books":
            return
        # Later, when the workers are stopped, tasks that never end are ended.
        self.ended = Counter(
            {number: tally.ended for number, tally in tallies(self.counts).items()}
        )
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

    def note(self, text: str) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass


@dataclass(frozen=True)
class Outcome:
    """What poolproof says of a run, and what the oracle counted."""

    case: JudgedRun
    summary: dict[str, Any]
    verdicts: list[Verdict]
    tallies: dict[int, Tally]
    starts: dict[int, list[float]]  #: number -> Unix time of each start
    poison: int | None

    @property
    def crash(self) -> dict[str, Any]:
        (crash,) = self.summary["crashes"]
        return crash

    def of(self, verdict: Verdict) -> list[int]:
        return [number for number, found in enumerate(self.verdicts) if found is verdict]

    def numbers(self, fault: str) -> list[int]:
        """Return the tasks that the pool was fed with around a fault."""
        found, of = [], ""
        for op in self.case.evidence.named("strike", "block-begin"):
            of = op["fault"] if op.name == "strike" else of
            if op.name == "block-begin" and of == fault:
                found += range(op["first"], op["first"] + op["count"])
        return found

    def contradictions(self, numbers: Sequence[int] | None = None) -> list[str]:
        """Return every task, of these, whose verdict the independent count contradicts."""
        return [
            f"{number}: {verdict.word}, but {self.tallies[number]}"
            for number, verdict in enumerate(self.verdicts)
            if (numbers is None or number in numbers) and not self.tallies[number].allows(verdict)
        ]


def _number(task_id: bytes) -> int:
    return parse_task_id(task_id.decode())[1]


def tallies(redis: Redis) -> dict[int, Tally]:
    """Return number -> what was counted of it so far, but for its copies."""
    found: dict[int, Tally] = defaultdict(Tally)
    for name, count in redis.hgetall(oracle.KEY).items():
        what, _, task_id = name.decode().partition(":")
        tally, of = found[parse_task_id(task_id)[1]], int(count)
        match what.split("-"):
            case ["ended", state]:
                tally.ended += of
                tally.succeeded += of if state == "SUCCESS" else 0
            case _:
                setattr(tally, what, of)
    return found


def starts(redis: Redis) -> dict[int, list[float]]:
    """Return number -> the Unix time of each of its starts, the first one first."""
    found: dict[int, list[float]] = defaultdict(list)
    for text in redis.lrange(oracle.TIMES, 0, -1):
        task_id, _, seconds = text.partition(b" ")
        found[_number(task_id)].append(float(seconds))
    return {number: sorted(times) for number, times in found.items()}


class InTurn:
    """Crashes each side by one fault after the other."""

    def __init__(self, crashes: Sequence[Crash]) -> None:
        self._crashes = crashes

    def play(self, session: Session) -> None:
        for side in session.sides:
            session.warm_up(side)
        for crash in self._crashes:
            # Only one that has a run of its own may not come to rest.
            if crash.strike_all(session) is False and len(self._crashes) == 1:
                crash.lay_still(session, session.sides[-1])

    def to_json(self) -> dict[str, Any]:
        return {"name": "crashes", "crashes": [crash.to_json() for crash in self._crashes]}


class Bench:
    """Crashes one pool, on a Redis that outlives the run."""

    def __init__(
        self, server: RedisServer, redis: Redis, folder: Path, counts: Redis | None = None
    ) -> None:
        """`counts`: the Redis in which the oracle counts, if it is another."""
        self._server = server
        self._redis = redis
        self._counts = counts or redis
        self._folder = folder

    def crash(self, pool: str, *crashes: Crash) -> Outcome:
        """Crash a pool by one fault after the other."""
        settings: dict[str, str] = {}
        for crash in crashes:
            settings |= crash.settings()
        return self.play(
            pool,
            InTurn(crashes),
            settings,
            proxied=any(getattr(crash, "proxied", False) for crash in crashes),
            workers=max(getattr(crash, "workers", 1) for crash in crashes),
        )

    def play(
        self, pool: str, experiment: Playable, settings: Mapping[str, str], **local: Any
    ) -> Outcome:
        """Play an experiment on a pool; `local` are further arguments of `LocalEnvironment`."""
        # Of a run before, whose tasks had the same numbers.
        self._counts.delete(oracle.KEY, oracle.TIMES)
        onlooker = Onlooker(self._redis, self._counts)
        ours = {
            "POOLPROOF_INCLUDE": "tests.integration.oracle",
            "POOLPROOF_RESTART_DELAY_S": "0.3",
        }
        folder = LocalEnvironment(
            {pool: SideSpec.parse(pool)},
            self._folder,
            server=self._server,
            settings=ours | dict(settings),
            grace_s=1.0,
            **local,
        ).play(experiment, onlooker)
        case = consider(folder)
        found = tallies(self._counts)
        for number in range(len(case.verdicts)):
            found[number].ended = onlooker.ended[number]
            found[number].copies = onlooker.copies[number]
        poison = case.evidence.ledger["poison"].nonzero()[0].tolist()
        return Outcome(
            case=case,
            summary=summarise(folder),
            verdicts=[Verdict(value) for value in case.verdicts.tolist()],
            tallies=found,
            starts=starts(self._counts),
            poison=poison[0] if poison else None,
        )
