"""Where claims are tried: it plays runs and measures Python, each only once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from poolproof.experiments.local import Local
from poolproof.fleet.sides import parse
from poolproof.judge.case import consider
from poolproof.judge.summary import summarise
from poolproof_workers.errors import WorkerError
from poolproof_workers.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from poolproof.experiments.crash import Crash
    from poolproof.experiments.listener import Listener
    from poolproof.experiments.local import Playable
    from poolproof.experiments.session import Session
    from poolproof.judge.case import Case


@dataclass(frozen=True, slots=True)
class Played:
    """A run that was played, and judged."""

    folder: Path
    summary: dict[str, Any]
    case: Case

    @property
    def doubt(self) -> str:
        """Why nothing may be concluded from it; empty if something may."""
        books = self.summary["books"]
        if not books["balanced"]:
            return "the books of the run do not balance"
        unknown = books["verdicts"]["unknown"]
        return f"{unknown} tasks of the run cannot be accounted for" if unknown else ""

    @property
    def crashes(self) -> list[dict[str, Any]]:
        """What each fault of the run did."""
        found: list[dict[str, Any]] = self.summary["crashes"]
        return found


@dataclass(frozen=True, slots=True)
class Crashes:
    """Several faults, one after the other, on the same workers."""

    crash: Crash
    faults: tuple[str, ...]

    def play(self, session: Session) -> None:
        """Warm up once, then do one fault after the other."""
        for side in session.sides:
            session.warm_up(side)
        for fault in self.faults:
            replace(self.crash, fault=fault).strike_all(session)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {**self.crash.to_json(), "name": "crashes", "fault": list(self.faults)}


@dataclass(slots=True)
class Lab:
    """Everything that a check may use. A run that two claims look at is played once."""

    out: Path  #: gets a folder a run
    listener: Listener
    loss_tasks: int = 120  #: size of the scenario behind "Celery loses 8 %"
    used: list[str] = field(default_factory=list)  #: names of the runs that were looked at
    _played: dict[str, Played] = field(default_factory=dict)
    _measured: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def crash(self, pool: str, crash: Crash, *faults: str) -> Played:
        """Play one or several faults on one pool."""
        experiment = Crashes(crash, faults or (crash.fault,))
        return self.play(pool, experiment, crash.settings())

    def play(
        self, pools: str, experiment: Playable, settings: Mapping[str, str] | None = None
    ) -> Played:
        """Play an experiment on pools as `[LABEL=]POOL`, with blanks between them, and judge it."""
        plan = (pools, experiment.to_json(), dict(settings or {}))
        key = json.dumps(plan, sort_keys=True)
        if key not in self._played:
            local = Local(parse(pools.split()), self.out, settings=dict(settings or {}))
            folder = local.play(experiment, self.listener)
            self._played[key] = Played(folder, summarise(folder), consider(folder))
        self.used.append(self._played[key].folder.name)
        return self._played[key]

    def measure(self, name: str, deadline_s: float) -> dict[str, list[float]]:
        """Run a measurement of `poolproof.experiments.textbook` in a Python of its own."""
        if name not in self._measured:
            self.listener.phase(f"measuring {name}")
            words = leashed([sys.executable, "-m", "poolproof.experiments.textbook", name])
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, check=True, timeout=deadline_s
                )
            except subprocess.TimeoutExpired as error:
                raise WorkerError(f"{name} was not measured in {deadline_s:.0f} s") from error
            except subprocess.CalledProcessError as error:
                last = (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise WorkerError(f"{name} cannot be measured here: {last}") from error
            self._measured[name] = json.loads(done.stdout)
        return self._measured[name]
