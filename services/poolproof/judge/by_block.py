"""The figures of each block by itself: what intervals are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.latency import latency
from poolproof.judge.memory import loaded_bytes

if TYPE_CHECKING:
    from poolproof.judge.blocks import Block
    from poolproof.judge.case import Case

_CLOSED: Final = ("running",)
_OPEN: Final = ("total", "queued")


def by_block(case: Case, side: str, closed: list[Block], opened: list[Block]) -> dict[str, Any]:
    """Return measure -> one value for each complete block; only those that every block has.

    Of `running` and of memory that of closed loops, of `total` and `queued` that of open ones.
    """
    found = _whole([_times(case, block, _CLOSED) for block in closed])
    found |= _whole([_times(case, block, _OPEN) for block in opened if block.is_open])
    memory = [loaded_bytes(case.evidence, side, block) for block in closed]
    known = [each for each in memory if each is not None]
    # A block that is shorter than the time between two samples may have none.
    return found | ({"pss_bytes": known} if known else {})


def work(case: Case, block: Block) -> dict[str, Any]:
    """Return what a task of a block was given to do: its parameters that are one for all tasks."""
    begin = next(op for op in case.evidence.named("block-begin") if op["block"] == block.index)
    parameters = begin.get("parameters") or {}
    return {name: of for name, of in parameters.items() if not isinstance(of, list | dict)}


def _times(case: Case, block: Block, wanted: tuple[str, ...]) -> dict[str, float]:
    parts = latency(case.evidence.ledger, [block])
    return {
        f"{part}_{percent}_s": at
        for part, of in parts.items()
        if part in wanted
        for percent, at in of.items()
        if percent != "n"
    }


def _whole(blocks: list[dict[str, float]]) -> dict[str, list[float]]:
    if not blocks:
        return {}
    names = [name for name in blocks[0] if all(name in block for block in blocks)]
    return {name: [block[name] for block in blocks] for name in names}
