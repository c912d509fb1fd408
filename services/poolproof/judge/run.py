"""A run with the verdict on each of its tasks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from poolproof.history.file import FILE_NAME
from poolproof.judge.faults.events import FaultEvent, strikes
from poolproof.judge.performance.blocks import Block, blocks
from poolproof.judge.run_data import RunData, gather
from poolproof.judge.verdicts.attempts import deaths
from poolproof.judge.verdicts.final_state import FinalState, ending
from poolproof.judge.verdicts.uncertainty import doubtful, returns
from poolproof.judge.verdicts.verdicts import judge
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

#: What judging raises, if a history is not one of a run.
_NONSENSE: Final = (
    *(ArithmeticError, AttributeError, LookupError),
    *(MemoryError, TypeError, ValueError),
)


@dataclass(frozen=True)
class JudgedRun:
    """A run with the verdict on each of its tasks, and what several questions need, once."""

    evidence: RunData
    ending: FinalState
    verdicts: np.ndarray  #: `Verdict` by task number

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks of all sides, in their order."""
        return blocks(self.evidence)

    @cached_property
    def strikes(self) -> list[FaultEvent]:
        """The faults that were done, in their order."""
        return strikes(self.evidence)

    @cached_property
    def deaths(self) -> np.ndarray:
        """When the process of each ring ended (monotonic ns, by its index); `NEVER` if it lived."""
        return deaths(self.evidence)

    @property
    def sides(self) -> list[str]:
        """The sides, in the order in which they first had tasks; then those that had none."""
        roster = self.evidence.ledger.roster
        named = [worker.side for worker in roster.workers.values() if worker.side]
        return list(dict.fromkeys([*self.evidence.ledger.sides, *named]))


def consider(folder: Path) -> JudgedRun:
    """Read the run in `folder` and judge its tasks. Raises DiskError if there is none."""
    with judging(folder):
        return decide(gather(folder))


@contextmanager
def judging(folder: Path) -> Iterator[None]:
    """Raise DiskError, in one line, where a history says what nobody can make sense of.

    The reader knows the form of each op (see `form`), not what ops mean together.
    """
    try:
        yield
    except _NONSENSE as error:
        what = f"{type(error).__name__}: {error}"
        raise DiskError(
            f"{folder / FILE_NAME} cannot be judged: no run writes what it says ({what}). If "
            "poolproof wrote all of it, report this as a bug, with the file."
        ) from error


def decide(evidence: RunData) -> JudgedRun:
    """Judge the tasks of a run. Raises DiskError if nothing was run."""
    if evidence.last("run-begin") is None:
        path = evidence.folder / FILE_NAME
        if evidence.damage:
            raise DiskError(
                f"{evidence.damage[0]}, and with them its beginning: it proves nothing."
            )
        raise DiskError(f"{path} has no beginning: nothing was run in it.")
    state = ending(evidence)
    doubt = doubtful(evidence.ledger, state, returns(evidence))
    verdicts = judge(evidence.ledger, state, doubt)
    return JudgedRun(evidence, state, verdicts)
