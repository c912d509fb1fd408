"""The matrix: every fault on every pool under every policy, each fault in a run of its own."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.experiments.crash import Crash
from poolproof.experiments.local import Local
from poolproof.experiments.session import Silence
from poolproof.fleet.machine import commit
from poolproof.judge.saved import judge_and_save
from poolproof_workers import __version__, host
from poolproof_workers.errors import WorkerError
from poolproof_workers.faults import FAULTS, find
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from poolproof.experiments.matrix_folder import MatrixFolder
    from poolproof.experiments.session import Listener, Session
    from poolproof.fleet.sides import SideSpec

FORMAT: Final = 1
#: About what a crash takes; the first run corrects it.
_FIRST_GUESS_S: Final = 11.0
#: The books are closed by then: whatever still runs is of no interest.
_LAST_GRACE_S: Final = 1.0
#: Runs in a row that a worker could not go on in: it will not go on in the next one either.
_FAILURES: Final = 3
#: Settings of a worker that each run makes itself, or that change nothing of what a fault does.
_NO_MATTER: Final = {
    f"POOLPROOF_{name}"
    for name in ("POOL", "SIDE", "NAME", "REDIS_URL", "BROKER_URL", "NAMESPACE", "RINGS")
}

#: Fault, policy, prefetch, workers, whether they are restarted, repeat, side.
Cell: TypeAlias = tuple[str, str, int, int, bool, int, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a matrix: one fault on one or more sides, one after the other.

    A fault gets a fresh Redis and fresh workers, because it may leave behind what the next one must
    not meet: changed state, a task that never ends, a poison that keeps coming back.
    """

    crash: Crash
    repeat: int  #: from 1
    sides: Mapping[str, SideSpec]

    @property
    def text(self) -> str:
        """What a person wants to know of it."""
        repeat = f", repeat {self.repeat}" if self.repeat > 1 else ""
        crash, sides = self.crash, " and ".join(self.sides)
        workers = f", {crash.workers} workers" if crash.workers > 1 else ""
        what = f"{crash.fault}, {crash.policy}, prefetch {crash.prefetch}{workers}"
        return f"{what} on {sides}{repeat}"

    def play(self, session: Session) -> None:
        """Crash one side after the other, as long as each comes to rest.

        Where something still runs or comes back again and again, the next side would be disturbed:
        it is left for another run.
        """
        for side in session.sides:
            session.warm_up(side)
        for side in session.sides:
            if not self.crash.strike(session, side):
                self.crash.lay_still(session, side)
                return

    def cell(self, side: str) -> Cell:
        """Return what its crash of a side is to fill."""
        crash = self.crash
        fleet = (crash.workers, crash.restarts)
        return (crash.fault, crash.policy, crash.prefetch, *fleet, self.repeat, side)

    def without(self, done: AbstractSet[Cell]) -> Turn | None:
        """Return what is left of it; None if nothing is."""
        left = {side: spec for side, spec in self.sides.items() if self.cell(side) not in done}
        return replace(self, sides=left) if left else None

    def to_json(self) -> dict[str, Any]:
        """Return the turn as the history keeps it."""
        return {**self.crash.to_json(), "repeat": self.repeat}


def filled(summary: Mapping[str, Any]) -> set[Cell]:
    """Return what a run has filled."""
    of = summary["plan"]
    return {
        (
            *(of["fault"], of["policy"], of["prefetch"]),
            *(of.get("workers", 1), of.get("restarts", True), of["repeat"], side),
        )
        for side in summary["struck"]
    }


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is done to what."""

    faults: tuple[str, ...]
    sides: Mapping[str, SideSpec]
    policies: tuple[str, ...] = ("early",)
    prefetches: tuple[int, ...] = (4,)
    workers: tuple[int, ...] = (1,)  #: of each side
    restarts: bool = True  #: a struck worker that is not the only one of its side
    repeats: int = 1
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def turns(self) -> Iterator[Turn]:
        """Yield all runs. All cells are run once before any is repeated."""
        for repeat, (workers, restarts), policy, prefetch, fault in product(
            range(1, self.repeats + 1), self._fleets(), self.policies, self.prefetches, self.faults
        ):
            crash = Crash(
                fault=fault,
                policy=policy,
                prefetch=prefetch,
                seed=repeat,
                workers=workers,
                restarts=restarts,
            )
            for sides in self._groups(fault):
                yield Turn(crash, repeat, sides)

    def to_json(self) -> dict[str, Any]:
        """Return the plan: all that must be the same for runs to belong to one matrix."""
        skipped: dict[str, dict[str, str]] = defaultdict(dict)
        for fault, (label, spec) in product(self.faults, self.sides.items()):
            if reason := find(fault)[1].why_not(spec.pool):
                skipped[fault][label] = reason
        return {
            "format": FORMAT,
            "name": "matrix",
            "faults": list(self.faults),
            "all_faults": len(self.faults) == len(FAULTS),
            "pools": {label: spec.text for label, spec in self.sides.items()},
            "policies": list(self.policies),
            "prefetches": list(self.prefetches),
            "fleets": [list(fleet) for fleet in self._fleets()],
            "repeats": self.repeats,
            "not_applicable": skipped,
            "what": {fault: find(fault)[1].what for fault in self.faults},
            "crash": Crash().to_json(),
            "environment": self._environment(),
            "versions": {**host.versions(), "poolproof": __version__, "commit": commit()},
        }

    def _fleets(self) -> list[tuple[int, bool]]:
        """Return how many workers a side has, each with whether a struck one is restarted."""
        return [(count, self.restarts or count == 1) for count in self.workers]

    def _groups(self, fault: str) -> list[dict[str, SideSpec]]:
        """Return the sides that it can be done to, those that share a run together."""
        row = find(fault)[1]
        mine = {label: spec for label, spec in self.sides.items() if not row.why_not(spec.pool)}
        if row.may_hang:
            # It would still run, and take its time of the machine, while the next side is hit.
            return [{label: spec} for label, spec in mine.items()]
        return [mine] if mine else []

    def _environment(self) -> dict[str, str]:
        """Return what the environment changes of the workers' settings."""
        known = Settings.from_env({}).to_env().keys() - _NO_MATTER
        return {name: self.environ[name] for name in sorted(known & self.environ.keys())}


def play(
    matrix: Matrix, folder: MatrixFolder, listener: Listener, redis_url: str | None = None
) -> None:
    """Play all runs of the matrix that its folder does not have yet.

    It may be stopped at any time; what is finished then stays. Raises a PoolproofError for what
    would meet the next run too; a run whose worker cannot go on is kept as one that shows nothing.
    """
    done = set().union(*map(filled, folder.summaries()))
    turns = list(matrix.turns())
    total = sum(len(turn.sides) for turn in turns)
    clock = _Clock(total - len(done))
    failures = 0
    for turn in turns:
        while missing := turn.without(done):
            listener.phase(f"{len(done) + 1} of {total} ({clock.left()}): {missing.text}")
            listener.step(len(done), total)
            try:
                new = {missing.cell(side) for side in missing.sides} & _play(
                    missing, folder.path, redis_url
                )
                failures = 0
            except WorkerError:
                failures += 1
                if failures >= _FAILURES:
                    raise
                break
            if not new:
                break
            clock.tick(len(new))
            done |= new


def _play(turn: Turn, out: Path, redis_url: str | None) -> set[Cell]:
    """Play and judge a run; return what it filled. One that failed is shown as such."""
    before = set(out.iterdir())
    local = Local(
        turn.sides,
        out,
        redis_url,
        settings=turn.crash.settings(),
        grace_s=_LAST_GRACE_S,
        proxied=turn.crash.proxied,
        workers=turn.crash.workers,
    )
    try:
        folder = local.play(turn, Silence())
    except WorkerError:
        for path in set(out.iterdir()) - before:
            judge_and_save(path)
        raise
    return filled(judge_and_save(folder))


class _Clock:
    """Knows how long the crashes that are left will take, from how long the others took."""

    def __init__(self, left: int) -> None:
        self._began = time.monotonic()
        self._left = left
        self._done = 0

    def tick(self, done: int) -> None:
        """So many more are done."""
        self._done += done
        self._left -= done

    def left(self) -> str:
        """Say how long the rest takes."""
        took_s = time.monotonic() - self._began
        left_s = self._left * (took_s / self._done if self._done else _FIRST_GUESS_S)
        return f"about {left_s / 60:.0f} min left" if left_s > 90 else f"about {left_s:.0f} s left"
