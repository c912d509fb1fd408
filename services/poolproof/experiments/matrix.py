"""The matrix: every fault on every pool under every policy, each fault in a run of its own."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.crash import Crash
from poolproof.experiments.local import Local
from poolproof.experiments.session import Silence
from poolproof.judge.saved import judge_and_save
from poolproof_workers import __version__, host
from poolproof_workers.errors import WorkerError
from poolproof_workers.faults import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from poolproof.experiments.matrix_folder import MatrixFolder
    from poolproof.experiments.session import Listener, Session
    from poolproof_workers.pools import PoolSpec

FORMAT: Final = 1
#: About what a run takes, and what each crash in it adds; the first run corrects it.
_FIXED_S: Final = 6.0
_A_SIDE_S: Final = 8.0
#: The books are closed by then: whatever still runs is of no interest.
_LAST_GRACE_S: Final = 1.0
#: Runs in a row that a worker could not go on in: it will not go on in the next one either.
_FAILURES: Final = 3
#: Read from the environment by workers, and of no influence on what a fault does.
_NO_MATTER: Final = {"RUNS", "REDIS_URL", "NAMESPACE", "RINGS"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a matrix: one fault on one or more sides, one after the other.

    A fault gets a fresh Redis and fresh workers, because it may leave behind what the next one must
    not meet: changed state, a task that never ends, a poison that keeps coming back.
    """

    crash: Crash
    repeat: int  #: from 1
    sides: Mapping[str, PoolSpec]

    @property
    def text(self) -> str:
        """What a person wants to know of it."""
        repeat = f", repeat {self.repeat}" if self.repeat > 1 else ""
        crash, sides = self.crash, " and ".join(self.sides)
        return f"{crash.fault}, {crash.policy}, prefetch {crash.prefetch} on {sides}{repeat}"

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from the other runs of its matrix."""
        crash = self.crash
        return (crash.fault, crash.policy, crash.prefetch, self.repeat, *self.sides)

    def play(self, session: Session) -> None:
        """Crash every side; the run is begun and ended by the caller."""
        self.crash.play(session)

    def to_json(self) -> dict[str, Any]:
        """Return the turn as the history keeps it."""
        return {**self.crash.to_json(), "repeat": self.repeat, "sides": list(self.sides)}


def key_of(plan: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key of the turn whose history has this plan."""
    names = ("fault", "policy", "prefetch", "repeat")
    return (*(plan[name] for name in names), *plan["sides"])


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is done to what."""

    faults: tuple[str, ...]
    sides: Mapping[str, PoolSpec]
    policies: tuple[str, ...] = ("early",)
    prefetches: tuple[int, ...] = (4,)
    repeats: int = 1
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def turns(self) -> Iterator[Turn]:
        """Yield all runs. All cells are run once before any is repeated."""
        for repeat, policy, prefetch, fault in product(
            range(1, self.repeats + 1), self.policies, self.prefetches, self.faults
        ):
            crash = Crash(fault=fault, policy=policy, prefetch=prefetch)
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
            "pools": {label: spec.text for label, spec in self.sides.items()},
            "policies": list(self.policies),
            "prefetches": list(self.prefetches),
            "repeats": self.repeats,
            "not_applicable": skipped,
            "what": {fault: find(fault)[1].what for fault in self.faults},
            "crash": Crash().to_json(),
            "environment": self._environment(),
            "versions": {**host.versions(), "poolproof": __version__},
        }

    def _groups(self, fault: str) -> list[dict[str, PoolSpec]]:
        """Return the sides that it can be done to, those that share a run together."""
        row = find(fault)[1]
        mine = {label: spec for label, spec in self.sides.items() if not row.why_not(spec.pool)}
        if row.may_hang:
            # It would still run, and take its time of the machine, while the next side is hit.
            return [{label: spec} for label, spec in mine.items()]
        return [mine] if mine else []

    def _environment(self) -> dict[str, str]:
        names = (name for name in sorted(self.environ) if name.startswith("POOLPROOF_"))
        return {
            name: self.environ[name]
            for name in names
            if name.removeprefix("POOLPROOF_") not in _NO_MATTER and not name.endswith("_URL")
        }


def play(
    matrix: Matrix, folder: MatrixFolder, listener: Listener, redis_url: str | None = None
) -> None:
    """Play all runs of the matrix that its folder does not have yet.

    It may be stopped at any time; what is finished then stays. Raises a PoolproofError for what
    would meet the next run too; a run whose worker cannot go on is kept as one that shows nothing.
    """
    turns = list(matrix.turns())
    have = {key_of(summary["plan"]) for summary in folder.summaries()}
    clock = _Clock([turn for turn in turns if turn.key not in have])
    failures = 0
    for number, turn in enumerate(turns, 1):
        if turn.key in have:
            continue
        listener.phase(f"{number} of {len(turns)} ({clock.left()}): {turn.text}")
        listener.step(number - 1, len(turns))
        try:
            with clock.of(turn):
                _play(turn, folder.path, redis_url)
            failures = 0
        except WorkerError:
            failures += 1
            if failures >= _FAILURES:
                raise


def _play(turn: Turn, out: Path, redis_url: str | None) -> None:
    """Play and judge a run. One that failed is judged too, and shown as such."""
    before = set(out.iterdir())
    local = Local(turn.sides, out, redis_url, settings=turn.crash.settings(), grace_s=_LAST_GRACE_S)
    try:
        folder = local.play(turn, Silence())
    except WorkerError:
        for path in set(out.iterdir()) - before:
            judge_and_save(path)
        raise
    judge_and_save(folder)


class _Clock:
    """Knows how long the runs that are left will take, from how long the others took."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._left_s = sum(map(_guess_s, turns))
        self._guessed_s = self._took_s = 0.0

    @contextmanager
    def of(self, turn: Turn) -> Iterator[None]:
        """Time a run."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._took_s += time.monotonic() - began
            self._guessed_s += _guess_s(turn)
            self._left_s -= _guess_s(turn)

    def left(self) -> str:
        """Say how long the rest takes."""
        pace = self._took_s / self._guessed_s if self._guessed_s else 1.0
        left_s = max(0.0, self._left_s * pace)
        return f"about {left_s / 60:.0f} min left" if left_s > 90 else f"about {left_s:.0f} s left"


def _guess_s(turn: Turn) -> float:
    return _FIXED_S + _A_SIDE_S * len(turn.sides)
