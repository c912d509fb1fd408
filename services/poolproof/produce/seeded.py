"""Workloads in which a seed decides: drawn arguments, and a mix of several kinds of task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolproof_workers.workloads import draws

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.produce.works import Work, Workload


@dataclass(frozen=True, slots=True)
class Seeded:
    """Another workload, whose arguments are drawn by a seed in place of the tasks' numbers.

    What is drawn depends on a task's place in its block, so that every block has the same.
    """

    base: Workload
    seed: int

    @property
    def text(self) -> str:
        """The workload with its seed."""
        return f"{self.base.text}?seed={self.seed}"

    @property
    def seconds(self) -> float:
        """As without a seed."""
        return self.base.seconds

    @property
    def core_s(self) -> float:
        """As without a seed."""
        return self.base.core_s

    @property
    def most(self) -> int | None:
        """As without a seed."""
        return self.base.most

    @property
    def works(self) -> tuple[Work, ...]:
        """As without a seed."""
        return self.base.works

    def deal(self, places: range) -> Sequence[int] | None:
        """As without a seed."""
        return self.base.deal(places)

    def values(self, places: range) -> Sequence[int]:
        """Return the numbers that are drawn."""
        return [draws.number(self.seed, place) for place in places]

    def parameters(self) -> dict[str, Any]:
        """Return those of the workload, and the seed."""
        return {**self.base.parameters(), "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Mix:
    """Several kinds of task, as many of each as its weight says.

    Which one a task gets depends on its place in its block: every block has the same.
    """

    text: str
    parts: tuple[Workload, ...]
    weights: tuple[int, ...]
    seed: int

    @property
    def seconds(self) -> float:
        """The mean."""
        return self._mean([part.seconds for part in self.parts])

    @property
    def core_s(self) -> float:
        """The mean."""
        return self._mean([part.core_s for part in self.parts])

    @property
    def most(self) -> int | None:
        """Return how many leave room for the large ones among them."""
        total = sum(self.weights)
        least = [
            part.most * total // weight
            for part, weight in zip(self.parts, self.weights, strict=True)
            if part.most is not None
        ]
        return min(least, default=None)

    @property
    def works(self) -> tuple[Work, ...]:
        """One for each weight."""
        return tuple(part.works[0] for part in self.parts)

    def deal(self, places: range) -> Sequence[int]:
        """Return which part each place gets."""
        return draws.deal(self.seed, self.weights, places)

    def values(self, places: range) -> None:  # noqa: ARG002
        """The numbers stand for themselves."""
        return

    def parameters(self) -> dict[str, Any]:
        """Return the weights, and what each part says of itself."""
        parts = [
            {"workload": part.text, "weight": weight, **part.parameters()}
            for part, weight in zip(self.parts, self.weights, strict=True)
        ]
        return {"mix": parts, "deal_seed": self.seed}

    def _mean(self, of_parts: list[float]) -> float:
        weighted = zip(of_parts, self.weights, strict=True)
        return sum(each * weight for each, weight in weighted) / sum(self.weights)
