"""A run with the verdict on each of its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolproof.collect.history import FILE_NAME
from poolproof.judge.blocks import Block, blocks
from poolproof.judge.doubt import doubtful, returns
from poolproof.judge.ending import Ending, ending
from poolproof.judge.evidence import Evidence, gather
from poolproof.judge.verdicts import judge
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


@dataclass(frozen=True, slots=True)
class Case:
    """A run with the verdict on each of its tasks."""

    evidence: Evidence
    ending: Ending
    verdicts: np.ndarray  #: `Verdict` by task number
    blocks: list[Block]

    @property
    def sides(self) -> list[str]:
        """The sides, in the order in which they first had tasks; then those that had none."""
        roster = self.evidence.ledger.roster
        named = [worker.side for worker in roster.workers.values() if worker.side]
        return list(dict.fromkeys([*self.evidence.ledger.sides, *named]))


def consider(folder: Path) -> Case:
    """Read the run in `folder` and judge its tasks. Raises DiskError if there is none."""
    return decide(gather(folder))


def decide(evidence: Evidence) -> Case:
    """Judge the tasks of a run. Raises DiskError if nothing was run."""
    if evidence.last("run-begin") is None:
        path = evidence.folder / FILE_NAME
        raise DiskError(f"{path} has no beginning: nothing was run in it.")
    state = ending(evidence)
    doubt = doubtful(evidence.ledger, state, returns(evidence))
    verdicts = judge(evidence.ledger, state, doubt)
    return Case(evidence, state, verdicts, blocks(evidence))
