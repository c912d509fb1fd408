"""What is done to a worker in one sequence, as data that a seed decides."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from poolproof_workers.faults.fault import BrokerFault

POOLS: Final = ("prefork:3", "threads:3", "solo")
POLICIES: Final = ("early", "late", "late-reject", "late-retry")

#: Deaths of our own processes, and of Celery's main process at any moment: all by SIGKILL.
COLLECTOR: Final = "collector"
SUPERVISOR: Final = "supervisor"
CELERY: Final = "celery"
#: The supervisor is killed and what its worker had recorded is deleted, as when a container goes
#: with its tmpfs: the rings, or the whole folder.
RINGS_GONE: Final = "rings-gone"
FOLDER_GONE: Final = "folder-gone"
DEATHS: Final = (COLLECTOR, SUPERVISOR, CELERY)
ERASURES: Final = (RINGS_GONE, FOLDER_GONE)
#: Where the faults of the table come from, as `Fault.where` says it.
PLACES: Final = ("inside", "outside", "broker")

#: Faults that are left out, and why.
LEFT_OUT: Final = {
    "leak": "it keeps 256 MiB for ever, and a poison that comes back would keep it again",
    "python-loop": "it takes a core from all that runs beside it",
    "c-loop": "it takes a core from all that runs beside it",
}
#: A child of ours that is killed is started again three times.
_MOST_DEATHS: Final = 3


@dataclass(frozen=True, slots=True)
class Step:
    """Tasks are sent, and some time later one or two things are done at the same moment."""

    tasks: int  #: sent at the beginning; a fault from inside is the one in their middle
    wait_s: float
    acts: tuple[str, ...]  #: names of faults, of `DEATHS` or of `ERASURES`


@dataclass(frozen=True, slots=True)
class Sequence:
    """Three to six faults to one worker, and what is killed while its books are closed."""

    seed: int
    pool: str
    policy: str
    prefetch: int
    steps: tuple[Step, ...]
    at_closing: str | None  #: one of `DEATHS`
    closing_s: float  #: how long after the run's end that is

    @classmethod
    def of(cls, seed: int) -> Sequence:
        """Return the sequence of a seed: the same one each time. Three in a row have each pool."""
        # Reproducible on purpose.
        choose = random.Random(seed)
        pool = POOLS[seed % len(POOLS)]
        acts = _acts(choose, pool)
        return cls(
            seed,
            pool,
            choose.choice(POLICIES),
            choose.choice((1, 4)),
            tuple(_steps(choose, acts, PoolSpec.parse(pool).concurrency)),
            choose.choice((None, None, None, COLLECTOR, SUPERVISOR, CELERY)),
            round(choose.uniform(0.0, 0.4), 2),
        )

    @property
    def acts(self) -> list[str]:
        """All that is done before the books are closed, in order."""
        return [act for step in self.steps for act in step.acts]

    @property
    def may_hang(self) -> bool:
        """Tell whether a task of it may never end."""
        return any(find(act)[1].may_hang for act in self.acts if act in TABLE)

    @property
    def troubles(self) -> list[BrokerFault]:
        """What befalls the broker in it."""
        rows = [find(act)[1] for act in self.acts if act in TABLE]
        return [row.trouble for row in rows if row.trouble]

    @property
    def erases(self) -> bool:
        """Tell whether recordings are deleted in it."""
        return any(act in ERASURES for act in self.acts)

    def settings(self) -> dict[str, str]:
        """Return the worker's settings: what is stranded comes back soon, as does a worker."""
        settings = {
            "POOLPROOF_POLICY": self.policy,
            "POOLPROOF_PREFETCH": str(self.prefetch),
            "POOLPROOF_VISIBILITY_TIMEOUT_S": str(VISIBILITY_S),
            "POOLPROOF_RESTORE_INTERVAL_S": "1",
            "POOLPROOF_RESTORE_THROTTLE": "1",
            "POOLPROOF_RETRY_DELAY_S": "0.5",
            "POOLPROOF_RESTART_DELAY_S": "0.2",
        }
        for act in self.acts:
            settings |= find(act)[1].settings if act in TABLE else {}
        return settings

    def to_json(self) -> dict[str, Any]:
        """Return the sequence as the history keeps it."""
        return {"name": "chaos", **asdict(self)}

    def lines(self) -> list[str]:
        """Return the sequence for a person, a line a step."""
        head = f"seed {self.seed}: {self.pool}, {self.policy}, prefetch {self.prefetch}"
        steps = [
            f"  {step.tasks} tasks, after {step.wait_s:.2f} s: {' and '.join(step.acts)}"
            for step in self.steps
        ]
        if self.at_closing:
            steps.append(f"  {self.closing_s:.2f} s after the end of the run: {self.at_closing}")
        return [head, *steps]


VISIBILITY_S: Final = 2.0
TABLE: Final = {fault.name for fault in FAULTS}


def _acts(choose: random.Random, pool: str) -> list[str]:
    """Return three to six acts, one of them a death of `DEATHS`, and no victim too often."""
    of_pool = PoolSpec.parse(pool).pool
    faults = [each for each in FAULTS if each.name not in LEFT_OUT and not each.why_not(of_pool)]
    kinds = [
        list(DEATHS),
        *([each.name for each in faults if each.where == where] for where in PLACES),
        list(ERASURES),
    ]
    acts = [choose.choice(DEATHS)]
    wanted = choose.randint(3, 6)
    while len(acts) < wanted:
        act = choose.choice(choose.choices(kinds, (38, 26, 20, 13, 3))[0])
        if [_victim(each) for each in acts].count(_victim(act)) < _MOST_DEATHS - 1:
            acts.append(act)
    choose.shuffle(acts)
    return acts


def _victim(act: str) -> str:
    """Return who has to be started again after an act, or the act."""
    return SUPERVISOR if act in ERASURES else act


def _steps(choose: random.Random, acts: list[str], slots: int) -> list[Step]:
    steps = []
    while acts:
        together = 2 if len(acts) > 1 and choose.random() < 0.3 else 1
        now, acts = acts[:together], acts[together:]
        wait_s = round(choose.uniform(0.0, 1.2), 2)
        steps.append(Step(slots * choose.randint(3, 8), wait_s, tuple(now)))
    return steps
