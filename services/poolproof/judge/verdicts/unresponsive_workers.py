"""What only a living worker that does not answer can have: a message between two of its steps.

A main process takes a message from the queue and then writes it to `unacked`; with early
acknowledgement it deletes it there and then begins the task. One that hangs between two of these
steps has the only copy, in its memory: the broker has none, and there is no record of a start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from poolproof.history.participants import Worker
    from poolproof.judge.run_data import RunData


def kept_in_silence(evidence: RunData) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the tasks that such a worker may have, and of those that nobody else can.

    They hold for tasks of which the broker has no copy, and whose last delivery was not begun.
    """
    ledger = evidence.ledger
    may, must = np.zeros(ledger.size, bool), np.zeros(ledger.size, bool)
    answered = {op["worker"]: op["answered"] for op in evidence.named("celery")}
    for side in ledger.sides:
        workers = [w for w in ledger.roster.workers.values() if w.side == side]
        silent = [w for w in workers if _takes(w) and answered.get(w.name) is False]
        if silent:
            mine = ledger["side"] == ledger.sides.index(side)
            may |= mine
            must |= mine & (_never_lost(evidence, workers) | _received_by(evidence, silent))
    return may, must


def _takes(worker: Worker) -> bool:
    # One that was still starting does not answer either. When the broker was read it had nothing.
    return bool(worker.ready and worker.took_tasks and worker.flushed and worker.flushed["pid"])


def _never_lost(evidence: RunData, workers: list[Worker]) -> np.ndarray:
    """Return a mask of the tasks since which no worker of a side ended or lost its connection."""
    names = {worker.name for worker in workers}
    troubles = [
        op.t_ns
        for op in evidence.named("fault")
        if op["applied"] and names & set(op.get("workers") or ())
    ]
    since = max([*(worker.up_ns for worker in workers), *troubles], default=0)
    ledger = evidence.ledger
    return np.asarray((ledger["enqueued_ns"] >= since) & (ledger["last_received"] == 0))


def _received_by(evidence: RunData, silent: list[Worker]) -> np.ndarray:
    """Return a mask of the tasks that the present main process of one of these received last."""
    ledger = evidence.ledger
    mains = {(worker.name, worker.flushed["pid"]) for worker in silent if worker.flushed}
    sources = ledger.roster.sources.values()
    mine = np.array([not s.gone and (s.worker, s.pid) in mains for s in sources], bool)
    receiver = ledger["last_receiver"]
    found = np.zeros(ledger.size, bool)
    known = receiver >= 0
    found[known] = mine[receiver[known]]
    return found
