"""What a comparison has shown so far: its closed blocks, as the report will have them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from poolproof.judge.pairs import comparisons

_NEVER: Final = 1 << 62


@dataclass(slots=True)
class _Block:
    """A closed block that is being measured."""

    workload: str
    numbers: range
    start_ns: int = _NEVER
    end_ns: int = 0
    ended: int = 0

    @property
    def per_s(self) -> float | None:
        """Its tasks a second; None unless every task was seen to end once, in some time."""
        if self.ended != len(self.numbers) or self.end_ns <= self.start_ns:
            return None
        return self.ended * 1e9 / (self.end_ns - self.start_ns)


class Measured:
    """Follows the measured blocks of a run. Each side has one at a time."""

    def __init__(self) -> None:
        self.rates: dict[str, dict[str, list[float]]] = {}  #: workload -> side -> tasks a second
        self._now: dict[str, _Block] = {}

    @property
    def count(self) -> int:
        """Blocks that are over, of all workloads and sides."""
        return sum(len(rates) for of_sides in self.rates.values() for rates in of_sides.values())

    def begin(self, op: dict[str, Any]) -> None:
        """Learn of a block: only closed ones that are measured count."""
        is_open = (op.get("parameters") or {}).get("rate_per_s") is not None
        if op.get("measured") and not op.get("warmup") and not is_open:
            numbers = range(op["first"], op["first"] + op["count"])
            self._now[op["side"]] = _Block(op["workload"], numbers)
        else:
            self._now.pop(op["side"], None)

    def started(self, side: str, number: int, t_ns: int) -> None:
        """Learn of a task that began."""
        block = self._now.get(side)
        if block is not None and number in block.numbers:
            block.start_ns = min(block.start_ns, t_ns)

    def ended(self, side: str, number: int, t_ns: int) -> None:
        """Learn of a task that came to its end; the last one ends the block."""
        block = self._now.get(side)
        if block is None or number not in block.numbers:
            return
        block.ended += 1
        block.end_ns = max(block.end_ns, t_ns)
        if block.per_s is not None:
            of_sides = self.rates.setdefault(block.workload, {})
            of_sides.setdefault(side, []).append(block.per_s)
            del self._now[side]

    def summary(self, sides: list[str]) -> dict[str, Any]:
        """Return the part of a run's summary that is known so far, for the report's own plots."""
        pools = {side: {"workloads": dict(self._of(side))} for side in sides}
        return {"pools": pools, "comparisons": comparisons(pools, set())}

    def _of(self, side: str) -> list[tuple[str, Any]]:
        return [
            (workload, {"throughput_per_s": {"median": median(of[side]), "blocks": of[side]}})
            for workload, of in self.rates.items()
            if side in of
        ]
