"""The books of a run: every task that was enqueued has one verdict, and they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge.verdicts.verdicts import Verdict

if TYPE_CHECKING:
    from poolproof.judge.run import JudgedRun

#: What an enqueued task can be.
_FATES: Final = [v for v in Verdict if v not in {Verdict.NONE, Verdict.UNEXPECTED}]
_DONE: Final = (Verdict.COMPLETED, Verdict.REPEATED, Verdict.RECOVERED, Verdict.FAILED)


def books(case: JudgedRun) -> dict[str, Any]:
    """Return how many tasks have each verdict, and whether they add up to what was enqueued.

    `enqueued` is what the producer said, counted apart from the rows that have verdicts.
    """
    ledger, verdicts = case.evidence.ledger, case.verdicts
    mine = ledger["block"] >= 0
    found = present(verdicts[mine])
    counts = {verdict.word: found.get(verdict.word, 0) for verdict in _FATES}
    producer_is_whole = not any(loss.worker == "producer" for loss in ledger.real_losses())
    return {
        "enqueued": ledger.enqueued,
        "verdicts": counts,
        "balanced": sum(counts.values()) == ledger.enqueued and producer_is_whole,
        "unexpected": len(ledger.unexpected)
        + int(np.count_nonzero(verdicts == Verdict.UNEXPECTED)),
        "copies_left": int(np.count_nonzero(_copies_left(case))),
        "poison": present(verdicts[mine & (ledger["poison"] > 0)]),
        "by_pool": {
            side: present(verdicts[ledger["side"] == index])
            for index, side in enumerate(ledger.sides)
        },
    }


def present(verdicts: np.ndarray) -> dict[str, int]:
    """Return verdict -> how many of the tasks have it, without those that none has."""
    counts = {each.word: int(np.count_nonzero(verdicts == each)) for each in Verdict}
    return {word: count for word, count in counts.items() if count}


def _copies_left(case: JudgedRun) -> np.ndarray:
    """Return a mask of the tasks that are done and will be delivered once more."""
    state = case.ending
    done = np.zeros(len(case.verdicts), bool)
    for verdict in _DONE:
        done |= case.verdicts == verdict
    return np.asarray(done & (state.queued | (state.unacked & ~state.held)))
