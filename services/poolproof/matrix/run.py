"""A turn: one run of a matrix, one fault on one or more sides. It has a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.judge.save import judge_and_save
from poolproof.produce.plan import Run
from poolproof.runner.listener import NullListener
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from poolproof.experiments.crash import Crash
    from poolproof.infra.sides import SideSpec
    from poolproof.runner.session import Session

#: The books are closed by then: whatever still runs is of no interest.
_LAST_GRACE_S: Final = 1.0

#: Fault, policy, prefetch, workers, whether they are restarted, repeat, side.
Cell: TypeAlias = tuple[str, str, int, int, bool, int, str]


@dataclass(frozen=True, slots=True)
class MatrixRun:
    """One run of a matrix: one fault on one or more sides, one after the other.

    A fault gets a fresh Redis and fresh workers, because it may leave behind what the next one must
    not meet: changed state, a task that never ends, a poison that keeps coming back.
    """

    crash: Crash
    repeat: int  #: from 1
    sides: Mapping[str, SideSpec]
    jobs: int = 1  #: runs of the matrix that may be played at the same time

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

    def without(self, done: AbstractSet[Cell]) -> MatrixRun | None:
        """Return what is left of it; None if nothing is."""
        left = {side: spec for side, spec in self.sides.items() if self.cell(side) not in done}
        return replace(self, sides=left) if left else None

    def to_json(self) -> dict[str, Any]:
        """Return the turn as the history keeps it."""
        return {**self.crash.to_json(), "repeat": self.repeat, "jobs": self.jobs}

    def words(self) -> list[str]:
        """Return how a person asks for this run alone: words after `poolproof`."""
        crash = self.crash
        options = {
            "fault": crash.fault,
            "policy": crash.policy,
            "prefetch": crash.prefetch,
            "workers": crash.workers,
            "jobs": self.jobs,
            "repeat": self.repeat,
        }
        return [
            "crash",
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
            *(() if crash.restarts else ("--no-restart",)),
            *(word for label, side in self.sides.items() for word in ("--pool", side.named(label))),
        ]

    def run(self, out: Path, redis_url: str | None) -> None:
        """Play and judge it; its folder is in `out` then. One that failed is shown as such.

        Raises a PoolproofError, or KeyboardInterrupt.
        """
        run = Run.new()
        local = LocalEnvironment(
            self.sides,
            out,
            redis_url,
            settings=self.crash.settings(),
            grace_s=_LAST_GRACE_S,
            proxied=self.crash.proxied,
            workers=self.crash.workers,
        )
        try:
            judge_and_save(local.play(self, NullListener(), run))
        except WorkerError:
            if (out / run.id).exists():
                judge_and_save(out / run.id)
            raise


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
