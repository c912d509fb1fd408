"""One workload, measured on all sides: short closed blocks in turn, then one rate for each."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import combinations, islice
from statistics import median
from typing import TYPE_CHECKING, Final

from poolproof.judge.performance.statistics import is_narrow
from poolproof.produce.plan import BlockSpec, block_size, rounds
from poolproof.produce.works import fastest_per_s
from poolproof_workers.supervisor.host import cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

#: What a bare Celery worker does at most, whatever its pool: bounds the first guess at a rate.
_CELERY_PER_S: Final = 1_000.0
_PILOT_S: Final = 0.25
#: A block lasts at least so long, and so many tasks a slot: while the last of them run, some slots
#: have none.
_LEAST_BLOCK_S: Final = 0.15
_LEAST_TASKS: Final = 16
#: What a side gets of a round at most: longer only averages over what a count of rounds could tell.
_MOST_ROUND_S: Final = 3.0
#: Rounds that the time is divided by; what a workload does not need is left to the next.
ROUNDS: Final = 8
#: From the last task's end to the next block's first: mostly the collector's news.
_BETWEEN_BLOCKS_S: Final = 0.1
#: Share of a workload's time that an open loop gets, and the load that it puts on the slower side.
OPEN_SHARE: Final = 0.3
_OPEN_LOAD: Final = 0.7
#: So many tasks support p50, p90, p99, p99.9.
_SUPPORTING: Final = (20, 100, 1_000, 10_000)
#: With fewer blocks of equal sides all of one may be ahead by chance (`can_show`), and more
#: than so many say little more. A block has so many tasks at least.
_LEAST_OPEN_BLOCKS: Final = 4
_MOST_OPEN_BLOCKS: Final = 6
_OPEN_TASKS: Final = 100
#: An open loop may be so much longer than its share if that makes one more percentile.
_STRETCH: Final = 1.5


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all workloads of a comparison."""

    rounds: int  #: at least
    tasks: int | None  #: a block; None: as many as fit the time
    precision: float  #: of the ratio of any two sides, as a share
    seed: int
    events: bool
    by_concurrency: bool = False  #: only sides of one concurrency are compared


class Measurement:
    """Measures one workload: `prepare`, `play_round` until it `is_over`, and `play_open`."""

    def __init__(self, session: Session, workload: str, terms: Terms) -> None:
        self._session = session
        self._workload = workload
        self._work = session.workload(workload)
        self._terms = terms
        self._sides = {side.label: side for side in session.sides}
        self._rates: dict[str, list[float]] = {label: [] for label in self._sides}
        self._orders = rounds(tuple(self._sides), terms.seed)
        self._count = 0  #: tasks a block
        self._turns = self._most_turns = 1  #: blocks a side in a round
        self._patience_s = 0.0
        self._done = 0  #: rounds
        self._round_s = self._least_round_s()

    # --- closed loop ------------------------------------------------------------------------------

    def prepare(self, seconds: float) -> None:
        """Learn the pace of each side; of about `seconds` the rest is for the rounds."""
        ends = time.monotonic() + seconds
        pilots = {side.label: self._pilot(side) for side in self._session.sides}
        self._turns, self._count = self._size(pilots, ends - time.monotonic())
        self._patience_s = 30.0 + 10.0 * self._count / min(pilots.values())
        self._round_s = sum(
            self._turns * (self._count / rate_per_s + _BETWEEN_BLOCKS_S)
            for rate_per_s in pilots.values()
        )

    @property
    def rounds_left(self) -> int:
        """How many rounds it must still have, at least."""
        return max(0, self._terms.rounds - self._done)

    @property
    def left_s(self) -> float:
        """About how long these take, if the last one, or the first look, tells."""
        return self.rounds_left * self._round_s

    @property
    def scatter(self) -> float | None:
        """How far the ratio of two sides lay apart from round to round; None before two rounds."""
        if self._done < 2:
            return None
        apart = [
            [math.log(x / y) for x, y in zip(self._rates[a], self._rates[b], strict=True)]
            for a, b in self._pairs()
        ]
        return max((max(each) - min(each) for each in apart), default=0.0)

    def allot(self, seconds: float) -> None:
        """Have as many blocks in the next round as fit in so many seconds, one a side at least."""
        if self._terms.tasks is None:
            turn_s = self._round_s / self._turns
            self._turns = max(1, min(self._most_turns, int(seconds / turn_s)))

    def play_round(self) -> None:
        """Play the blocks of a round in turn, in the order that the lot says, A B A B.

        As short as they may be: then what slows the machine down for a while slows all sides.
        """
        took_s = dict.fromkeys(self._sides, 0.0)
        began = time.monotonic()
        order = next(self._orders)
        self._session.listener.phase(self._words(order))
        for _ in range(self._turns):
            for label in order:
                block = BlockSpec(
                    label,
                    self._workload,
                    self._count,
                    measured=True,
                    events=self._terms.events,
                    round=self._done,
                )
                took_s[label] += self._play(self._sides[label], block, self._patience_s)
        for label, seconds in took_s.items():
            self._rates[label].append(self._turns * self._count / seconds)
        self._done += 1
        self._round_s = time.monotonic() - began

    def is_over(self, latest: float) -> bool:
        """Tell whether the ratios are known well enough, or it is too late to begin a round.

        It is looked at after every second round, when each side has gone first as often as last.
        """
        if self._done < self._terms.rounds:
            return False
        return time.monotonic() > latest or (self._done % 2 == 0 and self._is_known())

    def _least_round_s(self) -> float:
        """Return what a round takes of which nothing is known but what its tasks do."""
        slots = min(side.concurrency for side in self._sides.values())
        per_s = fastest_per_s(self._work, slots, cores(), _CELERY_PER_S)
        block_s = max(_LEAST_BLOCK_S, (self._terms.tasks or 0) / per_s)
        return len(self._sides) * (block_s + _BETWEEN_BLOCKS_S)

    def _pilot(self, side: Side) -> float:
        """Return the tasks a second that a short block, not counted, did."""
        self._session.listener.phase(f"{self._workload} on {side.label}: a first look")
        guess = fastest_per_s(self._work, side.concurrency, cores(), _CELERY_PER_S)
        count = self._bearable(block_size(guess, _PILOT_S, side.concurrency, rounds=2))
        block = BlockSpec(side.label, self._workload, count, warmup=True, events=self._terms.events)
        return count / self._play(side, block, 60.0 + 20.0 * count * self._work.seconds)

    def _pairs(self) -> list[tuple[str, str]]:
        """Return the sides that are compared, each with each."""
        return [
            (a.label, b.label)
            for a, b in combinations(self._session.sides, 2)
            if not self._terms.by_concurrency or a.concurrency == b.concurrency
        ]

    def _is_known(self) -> bool:
        rates, precision = self._rates, self._terms.precision
        return all(is_narrow(rates[a], rates[b], precision) for a, b in self._pairs())

    def _size(self, pilots: dict[str, float], seconds: float) -> tuple[int, int]:
        """Return the blocks a round and the tasks a block, the same on every side.

        The slower one keeps to the time.
        """
        if self._terms.tasks is not None:
            return 1, self._terms.tasks
        slots = max(side.concurrency for side in self._session.sides)
        rate_per_s = min(pilots.values())
        least_s = max(_LEAST_BLOCK_S, _LEAST_TASKS * slots / rate_per_s)
        self._most_turns = _most_turns(least_s)
        turns, block_s = _turns(seconds / len(pilots) / max(ROUNDS, self._terms.rounds), least_s)
        return turns, self._bearable(block_size(rate_per_s, block_s, slots))

    def _words(self, order: Sequence[str]) -> str:
        tasks = f"{self._count} tasks" + (f", {self._turns} times" if self._turns > 1 else "")
        return f"{self._workload} on {', '.join(order)} in turn: {tasks}"

    def _bearable(self, count: int) -> int:
        """Return what Redis should hold at once, if that is less."""
        return count if self._work.most is None else min(count, self._work.most)

    # --- open loop --------------------------------------------------------------------------------

    def play_open(self, seconds: float) -> None:
        """Send every side the same tasks at the same rate, which the slowest can still bear."""
        seconds /= len(self._session.sides)
        rate_per_s = _OPEN_LOAD * min(median(rates) for rates in self._rates.values())
        count = _supporting(rate_per_s, max(_LEAST_BLOCK_S, seconds - _BETWEEN_BLOCKS_S))
        blocks = _open_blocks(count)
        count = math.ceil(count / blocks)
        for order in islice(rounds(tuple(self._sides), self._terms.seed), blocks):
            for label in order:
                words = f"{self._workload} on {label}: {rate_per_s:,.0f} tasks a second"
                self._session.listener.phase(words)
                block = BlockSpec(
                    label,
                    self._workload,
                    count,
                    measured=True,
                    events=self._terms.events,
                    rate_per_s=rate_per_s,
                )
                self._play(self._sides[label], block, 30.0 + 10.0 * count / rate_per_s)

    # --- both -------------------------------------------------------------------------------------

    def _play(self, side: Side, block: BlockSpec, patience_s: float) -> float:
        """Play a block, ask what it cost, and return the seconds that its tasks took."""
        if not self._rates[side.label]:
            self._session.weigh(side)
        sent, took_s = self._session.play(block, patience_s)
        self._session.weigh(side)
        return self._session.progress().span_s(sent) or took_s


def shares(scatters: Sequence[float | None]) -> list[float]:
    """Divide a round between workloads by how far the ratios of each scatter: the more, the more.

    Not by where they lie: that plays no part in how much is measured. All get the same until each
    has scattered.
    """
    known = [each for each in scatters if each is not None]
    if len(known) < len(scatters) or not sum(known):
        return [1 / len(scatters)] * len(scatters)
    return [each / sum(known) for each in known]


def _most_turns(least_s: float) -> int:
    return max(1, int(_MOST_ROUND_S / least_s))


def _turns(seconds: float, least_s: float) -> tuple[int, float]:
    """Return how many blocks a side gets in a round of so long a side, and the seconds of each.

    A round that is too short for a block of `least_s` gets one that is shorter.
    """
    fitting = int(seconds / (least_s + _BETWEEN_BLOCKS_S))
    turns = max(1, min(fitting, _most_turns(least_s)))
    block_s = min(seconds / turns - _BETWEEN_BLOCKS_S, _MOST_ROUND_S / turns)
    return turns, max(_LEAST_BLOCK_S, block_s)


def _open_blocks(count: int) -> int:
    """Return into how many blocks so many tasks of an open loop are divided, the sides in turn.

    Several, so that two runs can be compared; but a queue that begins empty needs a while to become
    what it will be: one, where there would be few tasks in each.
    """
    blocks = min(_MOST_OPEN_BLOCKS, count // _OPEN_TASKS)
    return blocks if blocks >= _LEAST_OPEN_BLOCKS else 1


def _supporting(rate_per_s: float, seconds: float) -> int:
    """Return how many tasks to send in about `seconds`: enough for one more percentile if near."""
    in_reach = [n for n in _SUPPORTING if n <= rate_per_s * seconds * _STRETCH]
    return max([round(rate_per_s * seconds), *in_reach[-1:], 2])
