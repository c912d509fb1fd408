"""The figures of each round by itself: what intervals are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.performance.latency import latency
from poolproof.judge.performance.memory import loaded_bytes

if TYPE_CHECKING:
    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run import Case

_CLOSED: Final = ("running",)
_OPEN: Final = ("total", "queued")


def by_block(
    case: Case, side: str, rounds: list[list[Block]], opened: list[Block]
) -> dict[str, Any]:
    """Return measure -> one value for each complete round; only those that every round has.

    Of `running` and of memory that of closed loops, of `total` and `queued` that of each block in
    an open one.
    """
    found = _whole([_times(case, blocks, _CLOSED) for blocks in rounds])
    found |= _whole([_times(case, [block], _OPEN) for block in opened])
    memory = [loaded_bytes(case.evidence, side, blocks) for blocks in rounds]
    known = [each for each in memory if each is not None]
    # A round that is shorter than the time between two samples may have none.
    return found | ({"pss_bytes": known} if known else {})


def work(case: Case, block: Block) -> dict[str, Any]:
    """Return what a task of a block was given to do: its parameters that are one for all tasks."""
    begin = next(op for op in case.evidence.named("block-begin") if op["block"] == block.index)
    parameters = begin.get("parameters") or {}
    return {name: of for name, of in parameters.items() if not isinstance(of, list | dict)}


def _times(case: Case, blocks: list[Block], wanted: tuple[str, ...]) -> dict[str, float]:
    parts = latency(case.evidence.ledger, blocks)
    return {
        f"{part}_{percent}_s": at
        for part, of in parts.items()
        if part in wanted
        for percent, at in of.items()
        if percent != "n"
    }


def _whole(figures: list[dict[str, float]]) -> dict[str, list[float]]:
    if not figures:
        return {}
    names = [name for name in figures[0] if all(name in each for each in figures)]
    return {name: [each[name] for each in figures] for name in names}
