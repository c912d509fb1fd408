"""The blocks of a run and what the ledger says of their speed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.verdicts.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from poolproof.history.ledger import Ledger
    from poolproof.judge.run_data import RunData

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Block:
    """One uninterrupted stretch of one workload on one side."""

    index: int
    side: str
    workload: str
    first: int
    count: int
    measured: bool
    events: bool
    rate_per_s: float | None  #: None: a closed loop
    values: tuple[int, ...] | None  #: what stood in the arguments in place of the numbers
    begin_ns: int
    end_ns: int | None  #: None: it was never ended
    drained: bool
    continues: bool = False  #: it only feeds the stretch that an earlier block began
    round: int | None = None  #: of a comparison; None: it is none of a round, or one by itself
    why: str = ""  #: why it was ended, if anybody said
    parameters: Mapping[str, Any] = field(default_factory=dict)  #: of the work

    @property
    def is_open(self) -> bool:
        """True if its tasks were sent at a set rate, whatever came of them."""
        return self.rate_per_s is not None

    @property
    def rows(self) -> slice:
        """Its tasks in the ledger's columns."""
        return slice(self.first, self.first + self.count)


def blocks(evidence: RunData) -> list[Block]:
    """Return the blocks whose tasks were enqueued, at least some of them."""
    ends = {op["block"]: op for op in evidence.named("block-end")}
    found = []
    for op in evidence.named("block-begin"):
        end = ends.get(op["block"])
        count = evidence.ledger.enqueued_of_block[op["block"]]
        parameters = op.get("parameters") or {}
        values = parameters.get("values")
        if count:
            found.append(
                Block(
                    index=op["block"],
                    side=op["side"],
                    workload=op["workload"],
                    first=op["first"],
                    count=count,
                    measured=bool(op["measured"]) and not op["warmup"],
                    events=bool(op.get("events")),
                    rate_per_s=parameters.get("rate_per_s"),
                    values=tuple(values[:count]) if values else None,
                    begin_ns=op.t_ns,
                    end_ns=end.t_ns if end else None,
                    drained=bool(end and end["drained"]),
                    continues=bool(op.get("continues")),
                    round=op.get("round"),
                    why=str(end.get("why", "")) if end else "",
                    parameters=parameters,
                )
            )
    return found


def by_round(items: Iterable[_T], round_of: Callable[[_T], int | None]) -> dict[int, list[_T]]:
    """Return round -> what is of it. What is of none is a round by itself, in its order."""
    found: dict[int, list[_T]] = {}
    for place, item in enumerate(items):
        number = round_of(item)
        found.setdefault(place if number is None else number, []).append(item)
    return found


def stretch(block_list: list[Block], side: str, t_ns: int) -> list[Block]:
    """Return the blocks that a side was fed from, without a pause, at `t_ns`; none if it was not.

    A crash is fed block after block until the pool is back: to the pool it is one stretch of work.
    """
    found: list[Block] = []
    for block in (each for each in block_list if each.side == side):
        if block.continues:
            found.append(block)
        elif block.begin_ns > t_ns:
            break
        else:
            found = [block]
    return found


def rows(block_list: list[Block]) -> np.ndarray:
    """Return the numbers of the tasks of some blocks."""
    return np.concatenate([np.arange(b.first, b.first + b.count) for b in block_list])


def is_complete(ledger: Ledger, block: Block, verdicts: np.ndarray) -> bool:
    """Tell whether every task of a block ran to its end exactly once, and all its times are known.

    A hole in the recordings may leave no doubt about a task, and yet have taken one of its times.
    """
    times = [ledger[name][block.rows] for name in ("first_received", "first_start")]
    is_timed = all((each != NEVER).all() for each in times)
    return is_timed and bool((verdicts[block.rows] == Verdict.COMPLETED).all())


def throughput_per_s(ledger: Ledger, block_list: list[Block]) -> float:
    """Return tasks / (last finish - first start), added up. Only for blocks that are complete."""
    spans = [span_ns(ledger, block) for block in block_list]
    tasks = sum(block.count for block in block_list)
    return tasks * 1e9 / max(1, sum(last - first for first, last in spans))


def span_ns(ledger: Ledger, block: Block) -> tuple[int, int]:
    """Return when its first task began and its last ended; of one in which none did, no time."""
    starts, ends = ledger["first_start"][block.rows], ledger["last_end"][block.rows]
    first = int(starts.min())
    first = block.begin_ns if first == NEVER else first
    return first, max(first, int(ends.max()))


def utilisation(ledger: Ledger, block_list: list[Block], slots: int) -> float:
    """Return the share of all slots' time in which they ran a task, over complete blocks."""
    parts = [ledger.part(block.rows) for block in block_list]
    busy = sum(int((part["last_end"] - part["first_start"]).sum()) for part in parts)
    spans = [span_ns(ledger, block) for block in block_list]
    return busy / max(1, slots * sum(last - first for first, last in spans))


def ran_dry(ledger: Ledger, block: Block) -> int:
    """Return how often the queue of a closed block was empty before the producer had sent all.

    That is: all that had been sent was taken in when the next batch came, and that was waited for.
    """
    mine = ledger.part(block.rows)
    sent, received = mine["enqueued_ns"], mine["first_received"]
    batches = np.flatnonzero(np.diff(sent)) + 1
    taken_by = np.maximum.accumulate(received)[batches - 1]
    return int(np.count_nonzero(taken_by < sent[batches]))
