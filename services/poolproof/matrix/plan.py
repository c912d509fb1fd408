"""The matrix: every fault on every pool under every policy, each fault in a run of its own."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.crash import Crash
from poolproof.infra.machine import commit
from poolproof.matrix.run import MatrixRun
from poolproof_workers import __version__
from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor import host

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolproof.infra.sides import SideSpec

FORMAT: Final = 1
#: Settings of a worker that each run makes itself, or that change nothing of what a fault does.
_NO_MATTER: Final = {
    f"POOLPROOF_{name}"
    for name in ("POOL", "SIDE", "NAME", "REDIS_URL", "BROKER_URL", "NAMESPACE", "RINGS")
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
    jobs: int = 1  #: runs at the same time; not a part of the plan, which may go on with another
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def turns(self) -> Iterator[MatrixRun]:
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
                yield MatrixRun(crash, repeat, sides, self.jobs)

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
