"""The blocks of a run and what the ledger says of their speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge import statistics
from poolproof.judge.verdicts import Verdict

if TYPE_CHECKING:
    from poolproof.collect.ledger import Ledger
    from poolproof.judge.evidence import Evidence

_PERCENTS: Final = (50, 90, 99, 99.9)


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
    why: str = ""  #: why it was ended, if anybody said

    @property
    def rows(self) -> slice:
        """Its tasks in the ledger's columns."""
        return slice(self.first, self.first + self.count)


def blocks(evidence: Evidence) -> list[Block]:
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
                    why=str(end.get("why", "")) if end else "",
                )
            )
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


def is_complete(block: Block, verdicts: np.ndarray) -> bool:
    """Tell whether every task of a block ran to its end exactly once."""
    return bool((verdicts[block.rows] == Verdict.COMPLETED).all())


def throughput_per_s(ledger: Ledger, block: Block) -> float:
    """Return tasks / (last finish - first start). Only for a block that is complete."""
    first, last = ledger["first_start"][block.rows].min(), ledger["last_end"][block.rows].max()
    return block.count * 1e9 / max(1, int(last - first))


def span_ns(ledger: Ledger, block: Block) -> tuple[int, int]:
    """Return when its first task began and its last ended, as far as any did."""
    starts, ends = ledger["first_start"][block.rows], ledger["last_end"][block.rows]
    return int(starts.min()), int(ends.max())


def latency(ledger: Ledger, block_list: list[Block]) -> dict[str, Any]:
    """Return percentiles in seconds over complete blocks, only those that the sample supports.

    In a closed loop only `running`: the rest would say how many tasks were sent at once. In an open
    loop `total`, from the time at which a task was meant to be sent, and its parts.
    """
    numbers = rows(block_list)
    intended, received, started, ended = (
        ledger[name][numbers]
        for name in ("intended_ns", "first_received", "first_start", "last_end")
    )
    parts = {"running": ended - started}
    if all(block.rate_per_s for block in block_list):
        parts |= {
            "total": ended - intended,
            "queued": received - intended,
            "prefetched": started - received,
        }
    return {name: _percentiles(ns / 1e9) for name, ns in parts.items()}


def _percentiles(values_s: np.ndarray) -> dict[str, float | int]:
    known = {f"p{percent:g}": statistics.percentile(values_s, percent) for percent in _PERCENTS}
    return {"n": len(values_s)} | {name: at for name, at in known.items() if at is not None}
