"""Whether what the tasks returned is right, by what the history says of their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof_workers.contract import Event
from poolproof_workers.workloads import draws
from poolproof_workers.workloads.answers import ANSWERS, SQUARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolproof.history.ledger import Ledger
    from poolproof.judge.performance.blocks import Block

    Facts = Mapping[str, Any]

#: Workloads of the square job, whose blocks did not always name their task.
_SQUARES: Final = {"square", "sleep", "cpu"}


def wrong(ledger: Ledger, block: Block) -> int | None:
    """Return how many tasks of a block succeeded with a wrong result; None if it cannot be told.

    Of a mix those parts are told that can be.
    """
    rows = block.rows
    judged = (ledger.count(Event.SUCCEEDED)[rows] > 0) & (ledger["poison"][rows] == 0)
    found = ledger["result"][rows].astype(np.uint64)
    counts = [
        int(np.count_nonzero(judged[which] & (found[which] != right)))
        for which, right in _expected(block.workload, block.parameters, block.first, block.count)
    ]
    return sum(counts) if counts else None


def expected(workload: str, parameters: Facts, first: int, count: int) -> list[int | None]:
    """Return what the record of each right result of a block holds; None where it cannot be told.

    The block's tasks have the numbers from `first` on.
    """
    found: list[int | None] = [None] * count
    places = np.arange(count)
    for which, values in _expected(workload, parameters, first, count):
        for at, value in zip(places[which].tolist(), values.tolist(), strict=True):
            found[at] = value
    return found


def arguments(parameters: Facts, first: int, count: int) -> np.ndarray:
    """Return what each task of a block was given: its number, a given value, or a drawn one."""
    if values := parameters.get("values"):
        # They may be negative, or greater than 64 bits.
        return np.array(values[:count], dtype=object)
    places = np.arange(count, dtype=np.uint64)
    if (seed := parameters.get("seed")) is not None:
        return draws.number(seed, places)
    return places + np.uint64(first)


def _expected(
    workload: str, parameters: Facts, first: int, count: int
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield (mask or slice of a block's tasks, their right results)."""
    given = arguments(parameters, first, count)
    for which, facts in _works(workload, parameters, count):
        yield which, np.asarray(ANSWERS[facts["task"]](given[which], facts)).astype(np.uint64)


def _works(workload: str, parameters: Facts, count: int) -> Iterator[tuple[Any, Facts]]:
    """Yield (mask or slice, facts) of each kind of task whose answer is known."""
    if "mix" not in parameters:
        if (facts := _facts(workload, parameters)) is not None:
            yield slice(None), facts
        return
    weights = [part["weight"] for part in parameters["mix"]]
    dealt = np.array(draws.deal(parameters["deal_seed"], weights, range(count)))
    for index, part in enumerate(parameters["mix"]):
        if (facts := _facts(part["workload"], part)) is not None:
            yield dealt == index, facts


def _facts(workload: str, parameters: Facts) -> Facts | None:
    task = parameters.get("task")
    if task is None and workload.partition(":")[0] in _SQUARES:
        return {"task": SQUARE}
    return parameters if task in ANSWERS else None
