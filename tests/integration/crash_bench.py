"""Crashes a pool, and counts in Redis what became of its tasks, with code that the judge lacks."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolproof.experiments.local import Local
from poolproof.judge.case import consider
from poolproof.judge.summary import summarise
from poolproof.judge.verdicts import Verdict
from poolproof_workers.contract import parse_task_id
from poolproof_workers.pools import PoolSpec

from . import oracle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from redis import Redis

    from poolproof.experiments.crash import Crash
    from poolproof.experiments.session import Session
    from poolproof.fleet.redis_server import RedisServer
    from poolproof.judge.case import Case

_UUID = re.compile(rb"[0-9a-f]{8}-0000-8000-8000-[0-9a-f]{12}")
#: What a signal from outside and a write to Redis may take on a busy machine.
_INSTANT_NS = 20_000_000


@dataclass
class Onlooker:
    """A listener that looks into Redis just before the books are closed, with code of its own."""

    redis: Redis
    copies: Counter[int] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)

    def phase(self, text: str) -> None:
        if text != "closing the books":
            return
        # Later, when the workers are stopped, tasks that never end are ended.
        _, _, self.ended = counts(self.redis)
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

    case: Case
    summary: dict[str, Any]
    verdicts: list[Verdict]
    begun: Counter[int]
    succeeded: Counter[int]
    ended: Counter[int]
    copies: Counter[int]
    ended_ns: dict[int, int]
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
            f"{number}: {verdict.word}, but begun {self.begun[number]}, succeeded "
            f"{self.succeeded[number]}, ended {self.ended[number]}, copies {self.copies[number]}"
            for number, verdict in enumerate(self.verdicts)
            if (numbers is None or number in numbers)
            and not self._agrees(number, verdict)
            and not self._was_ending(number)
        ]

    def _was_ending(self, number: int) -> bool:
        """Tell whether a fault hit a task between its last line and the records of its end.

        Of two who write that down only one may have got there; neither is wrong.
        """
        strikes = [crash["at_ns"] for crash in self.summary["crashes"]]
        ended_ns = self.ended_ns.get(number, 0)
        return any(abs(ended_ns - at_ns) < _INSTANT_NS for at_ns in strikes)

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


def counts(redis: Redis) -> tuple[Counter[int], Counter[int], Counter[int]]:
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


class InTurn:
    """Crashes each side by one fault after the other."""

    def __init__(self, crashes: Sequence[Crash]) -> None:
        self._crashes = crashes

    def play(self, session: Session) -> None:
        for side in session.sides:
            session.warm_up(side)
        for crash in self._crashes:
            crash.strike_all(session)

    def to_json(self) -> dict[str, Any]:
        return {"name": "crashes", "crashes": [crash.to_json() for crash in self._crashes]}


class Bench:
    """Crashes one pool, on a Redis that outlives the run."""

    def __init__(self, server: RedisServer, redis: Redis, folder: Path) -> None:
        self._server = server
        self._redis = redis
        self._folder = folder

    def crash(self, pool: str, *crashes: Crash) -> Outcome:
        onlooker = Onlooker(self._redis)
        settings = {"POOLPROOF_INCLUDE": "tests.integration.oracle"}
        for crash in crashes:
            settings |= crash.settings()
        sides = {pool: PoolSpec.parse(pool)}
        local = Local(sides, self._folder, self._server.url, settings=settings, grace_s=1.0)
        folder = local.play(InTurn(crashes), onlooker)
        case = consider(folder)
        begun, succeeded, _ = counts(self._redis)
        poison = case.evidence.ledger["poison"].nonzero()[0].tolist()
        return Outcome(
            case=case,
            summary=summarise(folder),
            verdicts=[Verdict(value) for value in case.verdicts.tolist()],
            begun=begun,
            succeeded=succeeded,
            ended=onlooker.ended,
            copies=onlooker.copies,
            ended_ns={
                _number(task): int(when)
                for task, when in self._redis.hgetall(oracle.ENDED_NS).items()
            },
            poison=poison[0] if poison else None,
        )
