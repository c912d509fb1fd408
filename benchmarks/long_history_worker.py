"""A worker of a long history that never ran: its lives, rings, and what was written to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

SLOTS: Final = 4
#: What stands for the slot in a record of the main process itself.
MAIN: Final = -1


@dataclass(slots=True)
class SoakWorker:
    """One worker, alive: its rings and what was written to them."""

    side: str
    pids: int = 100
    life: int = 0
    rings: dict[int, tuple[str, int]] = field(default_factory=dict)  #: slot -> ring, pid
    written: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As a worker is called."""
        return f"{self.side.replace(':', '-')}@soak"

    def ring(self, slot: int) -> int:
        """Return the slot by which the ring that a slot writes to is called."""
        return slot if self.side.startswith("prefork") else MAIN

    def begin(self, t_ns: int) -> None:
        """Begin a life, with a new ring for each process."""
        self.life += 1
        self.rings = {
            slot: self._ring(t_ns) for slot in sorted({MAIN, *map(self.ring, range(SLOTS))})
        }

    def _ring(self, t_ns: int) -> tuple[str, int]:
        self.pids += 1
        return f"{self.name}/{self.pids}-{t_ns}", self.pids

    def whole(self) -> dict[str, Any]:
        """Return what an op says of it."""
        pid = self.rings[MAIN][1]
        return {"worker": self.name, "side": self.side, "life": self.life, "pid": pid}
