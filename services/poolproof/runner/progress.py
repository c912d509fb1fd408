"""What the collector says of a run while it is played."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolproof.produce.handle import BlockHandle


@dataclass(frozen=True, slots=True)
class Progress:
    """What the collector knows of the run so far; about 0.1 s old while tasks run."""

    hello: frozenset[str] = frozenset()
    ready: frozenset[str] = frozenset()
    slots: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    running: int = 0
    unreported: int = 0
    settled: int = 0
    enqueued: int = 0
    lives: Mapping[str, int] = field(default_factory=dict)
    exits: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    poison_open: int = 0
    closed: bool = False
    judges: bool = False  #: the collector judges the run when it is closed

    @classmethod
    def of(cls, news: Mapping[str, Any]) -> Progress:
        """Read the collector's JSON."""
        known = {name: news[name] for name in cls.__slots__ if name in news}
        for name in ("hello", "ready"):
            known[name] = frozenset(known.get(name, ()))
        return cls(**known)

    def settled_in(self, sent: BlockHandle) -> int:
        """Return how many tasks of a block have ended."""
        if (told := self.blocks.get(str(sent.block))) is not None:
            return told["settled"]
        # Of one that settled long ago nothing is said any more.
        return sent.count if any(int(block) > sent.block for block in self.blocks) else 0

    def span_s(self, sent: BlockHandle) -> float | None:
        """Return the time from a block's first start to its last end, None if it is not known."""
        span_ns = self.blocks.get(str(sent.block), {}).get("span_ns")
        return span_ns / 1e9 if span_ns and span_ns > 0 else None
