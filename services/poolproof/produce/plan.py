"""What a run is made of, as data: its name, its blocks, their order and their size."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Run:
    """What names one execution of a plan."""

    id: str  #: `YYYYMMDD-HHMMSS-xxxxxxxx` (UTC, the tag last)
    tag: int  #: 32 random bits, in the id of every task

    @classmethod
    def new(cls, now: datetime | None = None, tag: int | None = None) -> Run:
        """Name a run that begins now."""
        moment = datetime.now(UTC) if now is None else now.astimezone(UTC)
        # 0 is the tag of no run, so that an id with an empty first part is never ours.
        bits = random.SystemRandom().randrange(1, 1 << 32) if tag is None else tag
        return cls(f"{moment:%Y%m%d-%H%M%S}-{bits:08x}", bits)


@dataclass(frozen=True, slots=True)
class Poison:
    """A task of a block that does a fault instead of the block's work."""

    offset: int  #: place in the block, from 0
    fault: str  #: name in `poolproof_workers.faults.catalogue.FAULTS`
    after_s: float = 0.0  #: how long it runs before it does it


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One uninterrupted stretch of one workload on one side."""

    side: str
    workload: str  #: as `workloads.parse` reads it
    count: int
    warmup: bool = False
    measured: bool = False
    events: bool = False  #: Celery's own task events are on
    rate_per_s: float | None = None  #: None: as fast as possible; otherwise an open loop
    poison: tuple[Poison, ...] = ()
    continues: bool = False  #: it feeds the stretch that the block before it on this side began
    round: int | None = None  #: of a comparison, from 0: each side has the same blocks in it


def rounds(sides: Sequence[str], seed: int) -> Iterator[tuple[str, ...]]:
    """Yield for ever the order of the sides in each round: A B, B A, then by lot again.

    Every second round runs backwards, so a drift that is linear in time touches all sides alike;
    the seed decides which side begins each pair of rounds.
    """
    # Reproducible on purpose: nothing here is a secret.
    generator = random.Random(seed)  # noqa: S311
    while True:
        forth = tuple(generator.sample(list(sides), len(sides)))
        yield forth
        yield forth[::-1]


def block_size(rate_per_s: float, seconds: float, slots: int, rounds: int = 4) -> int:
    """Return how many tasks take about `seconds`, in whole rounds over all slots.

    At least `rounds` of them: with fewer, the last round's idle slots would decide the throughput.
    """
    needed = math.ceil(rate_per_s * seconds / slots)
    return slots * max(needed, rounds)
