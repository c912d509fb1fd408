"""Where claims are tried: it plays runs and measures Python, each only once."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from poolproof.infra.sides import parse
from poolproof.judge.run import consider
from poolproof.judge.summary import summary_of
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.errors import WorkerError
from poolproof_workers.supervisor.host_load import surroundings
from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from poolproof.experiments.crash import Crash
    from poolproof.judge.run import JudgedRun
    from poolproof.runner.listener import Listener
    from poolproof.runner.local_environment import Playable
    from poolproof.runner.session import Session


@dataclass(frozen=True, slots=True)
class Played:
    """A run that was played, and judged."""

    folder: Path
    summary: dict[str, Any]
    case: JudgedRun

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
    _taken: dict[str, float | None] = field(default_factory=dict)

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
            local = LocalEnvironment(parse(pools.split()), self.out, settings=dict(settings or {}))
            folder = local.play(experiment, self.listener)
            case = consider(folder)
            self._played[key] = Played(folder, summary_of(case), case)
        self.used.append(self._played[key].folder.name)
        return self._played[key]

    def measure(self, name: str, deadline_s: float) -> dict[str, list[float]]:
        """Run a measurement of `poolproof.claims.textbook` in a Python of its own."""
        if name not in self._measured:
            self.listener.phase(f"measuring {name}")
            words = leashed([sys.executable, "-m", "poolproof.claims.textbook", name])
            before = _spent()
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
            self._taken[name] = _taken_since(before)
        return self._measured[name]

    def taken_share(self, name: str) -> float | None:
        """Return what others took of this machine's CPU time during a measurement that was run."""
        return self._taken.get(name)


def _spent() -> tuple[dict[str, Any], float]:
    """Return the counters of this machine, and the CPU seconds of processes that ended here."""
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    return surroundings(), ours.ru_utime + ours.ru_stime


def _taken_since(before: tuple[dict[str, Any], float]) -> float | None:
    """Return the share of the CPU time since then that others took; None where it is not told."""
    (then, ours_then_s), (now, ours_now_s) = before, _spent()
    if now["cpu_s"] is None or then["cpu_s"] is None or now["cpu_s"] <= then["cpu_s"]:
        return None
    busy_s = now["cpu_s"] - now["idle_s"] - (then["cpu_s"] - then["idle_s"])
    others_s: float = busy_s - (ours_now_s - ours_then_s)
    return max(0.0, others_s) / float(now["cpu_s"] - then["cpu_s"])
