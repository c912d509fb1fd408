"""What a comparison has shown so far: its closed blocks, as the report will have them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from poolproof.judge.performance.ratios import comparisons

_NEVER: Final = 1 << 62
_NOT_JUDGED: Final = {"outcome": None, "verdict": None}


@dataclass(slots=True)
class _Block:
    """A closed block that is being measured."""

    workload: str
    round: int | None
    numbers: range
    start_ns: int = _NEVER
    end_ns: int = 0
    ended: int = 0

    @property
    def is_over(self) -> bool:
        """True if every task was seen to end once, in some time."""
        return self.ended == len(self.numbers) and self.end_ns > self.start_ns


@dataclass(slots=True)
class _Round:
    """What is over of a side's blocks in a round."""

    tasks: int = 0
    span_ns: int = 0

    @property
    def per_s(self) -> float:
        """Its tasks a second."""
        return self.tasks * 1e9 / self.span_ns


class Measured:
    """Follows the measured blocks of a run. Each side has one at a time."""

    def __init__(self) -> None:
        self.count = 0  #: blocks that are over, of all workloads and sides
        self._rounds: dict[str, dict[str, dict[int, _Round]]] = {}  #: workload -> side -> round
        self._now: dict[str, _Block] = {}

    @property
    def workloads(self) -> list[str]:
        """Those of which a block is over."""
        return list(self._rounds)

    def begin(self, op: dict[str, Any]) -> None:
        """Learn of a block: only closed ones that are measured count."""
        is_open = (op.get("parameters") or {}).get("rate_per_s") is not None
        if op.get("measured") and not op.get("warmup") and not is_open:
            numbers = range(op["first"], op["first"] + op["count"])
            self._now[op["side"]] = _Block(op["workload"], op.get("round"), numbers)
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
        if block.is_over:
            rounds = self._rounds.setdefault(block.workload, {}).setdefault(side, {})
            number = len(rounds) if block.round is None else block.round
            of_round = rounds.setdefault(number, _Round())
            of_round.tasks += block.ended
            of_round.span_ns += block.end_ns - block.start_ns
            self.count += 1
            del self._now[side]

    def summary(self, sides: list[str]) -> dict[str, Any]:
        """Return the part of a run's summary that is known so far, for the report's own plots.

        Nothing is called an outcome before all is measured: who looks again and again would sooner
        or later see a difference, and how busy the host was is for the judge to tell.
        """
        pools = {side: {"workloads": dict(self._of(side))} for side in sides}
        known = [one | _NOT_JUDGED for one in comparisons(pools, set())]
        return {"pools": pools, "comparisons": known}

    def _of(self, side: str) -> list[tuple[str, Any]]:
        found = []
        for workload, of_sides in self._rounds.items():
            if rounds := of_sides.get(side):
                rates = [each.per_s for each in rounds.values()]
                throughput = {"median": median(rates), "blocks": rates, "rounds": list(rounds)}
                found.append((workload, {"throughput_per_s": throughput}))
        return found
