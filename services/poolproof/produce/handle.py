"""A block of tasks that were sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockHandle:
    """A block whose tasks are all in Redis."""

    block: int  #: its index in the history
    side: str
    first: int
    count: int
    began_ns: int  #: monotonic
    ended_ns: int
    late_ns: int  #: the most that a task of an open loop was sent after its intended time

    @property
    def numbers(self) -> range:
        """Numbers of its tasks."""
        return range(self.first, self.first + self.count)

    @property
    def per_s(self) -> float:
        """Tasks a second at which it was sent."""
        return self.count * 1e9 / max(1, self.ended_ns - self.began_ns)
