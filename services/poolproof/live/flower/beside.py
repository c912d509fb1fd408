"""Flower beside the page: asked now and then while somebody looks, and held against the books."""

from __future__ import annotations

import time
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from poolproof.live.flower.client import Heard, NoAnswerError
from poolproof.live.flower.difference import COMPARED, Difference, Picture, differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from poolproof.live.flower.client import Flower
    from poolproof.live.stage import Stage

#: What neither has changed for so long, beyond what they lag behind, is compared.
SETTLED_S: Final = 5.0
_PICTURES: Final = 30


@dataclass(slots=True)
class Beside:
    """What is known of a Flower and of how it differs. `ask` changes it; all browsers read it."""

    flower: Flower
    clock: Callable[[], float] = time.monotonic
    lock: AbstractContextManager[object] = field(default_factory=nullcontext)  #: of the stage
    trouble: str = ""  #: why it did not answer the last time, as the end of a sentence
    found: dict[str, Difference] | None = None  #: by side; None: nothing could be compared yet
    behind_s: float = 0.0  #: how much later than the present Flower, or the page, is
    _heard: Heard = field(default_factory=lambda: Heard(-1))
    _pictures: deque[tuple[float, Picture]] = field(default_factory=lambda: deque(maxlen=_PICTURES))

    async def ask(self, stage: Stage, now_ns: int) -> None:
        """Ask it once, if there is a run, and compare; whoever calls it is never kept waiting."""
        if not stage.run:
            return
        if stage.tag != self._heard.tag:
            self._heard, self.found = Heard(stage.tag), None
            self._pictures.clear()
        heard = self._heard
        try:
            tasks = await self.flower.tasks(heard.tag, heard.offset)
        except NoAnswerError as error:
            self.trouble, self.found = str(error), None
            return
        self.trouble = ""
        # Another run may have begun meanwhile.
        if stage.tag == heard.tag:
            last_s = heard.newest_s
            heard.take(tasks)
            if not heard.offset:
                self.behind_s = max(_flower_lags_s(heard, last_s), _page_lags_s(stage, now_ns))
                with self.lock:
                    self._compare(stage)

    def _compare(self, stage: Stage) -> None:
        first = max(0, len(stage.tasks) - COMPARED)
        now = Picture.of(first, stage.tasks.states(first), bytes(self._heard.seen[first:]))
        now_s = self.clock()
        old = [p for at, p in self._pictures if at <= now_s - SETTLED_S - self.behind_s]
        self.found = differences(now, old[-1], stage.tasks.stretches, stage.sides) if old else None
        self._pictures.append((now_s, now))


def _flower_lags_s(heard: Heard, last_s: float) -> float:
    """Return how old Flower's latest news is, if it still comes in: how far it is behind."""
    return max(0.0, time.time() - heard.newest_s) if heard.newest_s > last_s else 0.0


def _page_lags_s(stage: Stage, now_ns: int) -> float:
    return 0.0 if stage.closed else max(0.0, (now_ns - stage.news_ns) / 1e9)
