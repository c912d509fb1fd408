"""One side of a run: the workers of one pool, as the session knows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolproof.runner.progress import Progress


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a run: its label, its slots, and its workers' names."""

    label: str
    pool: str
    concurrency: int
    workers: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)  #: `POOLPROOF_*` that are its own
    restarts: bool = True  #: False: a worker that ends is not started again

    def standing(self, now: Progress) -> frozenset[str]:
        """Return the workers that are there, or will be again."""
        return frozenset(name for name in self.workers if self.restarts or not now.exits.get(name))
