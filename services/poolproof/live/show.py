"""One run on the page: its stage, kept up to date for every browser that looks at it."""

from __future__ import annotations

import re
import time
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from poolproof.history.file import FILE_NAME
from poolproof.live.flower.beside import Beside
from poolproof.live.follow import Following, Replay
from poolproof.live.side import State
from poolproof.live.stage import Stage
from poolproof.report.publish import HTML_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolproof.live.flower.client import Flower
    from poolproof.live.follow import Reel

#: How often it looks for a newer run: there may be many old ones.
_LOOK_EVERY_S: Final = 0.5


#: As `Run.new` makes them: nothing that leads out of the folder of runs.
_RUN: Final = re.compile(r"[0-9]+-[0-9]+-[0-9a-f]+")


class Show:
    """What the server shows. Browsers read it; only `advance` and `again` change it.

    Bokeh draws for each browser in a thread: whoever reads or changes it holds its `lock`.
    """

    def __init__(
        self,
        runs: Path,
        run: Path | None = None,
        speed: float = 1.0,
        order: Callable[[dict[str, Any]], None] | None = None,
        flower: Flower | None = None,
    ) -> None:
        """Show the newest run in `runs` as it goes on; or play `run` again at a speed.

        `order` hands what people ask for to whoever plays the run; None: they may only look.
        `flower` is one that the page links and, of a run that goes on, compares with the books.
        """
        self.lock = RLock()
        self.flower = flower.link if flower else ""
        self.beside = Beside(flower, lock=self.lock) if flower and run is None else None
        self.stage = Stage()
        self.order = order
        self.replay = Replay(run, speed) if run else None
        self._runs = runs
        self._folder = run
        self._reel: Reel | None = self.replay
        self._look_at = 0.0

    @property
    def now_ns(self) -> int:
        """The present of the run; 0 if there is none yet."""
        return self._reel.now_ns if self._reel else 0

    @property
    def damage(self) -> str:
        """Where the history is damaged first; empty if it is whole."""
        return str(self._reel.damage[0]) if self._reel and self._reel.damage else ""

    def report(self, run: str) -> Path | None:
        """Return the report of a run, once there is one."""
        folder = self._folder.parent if self._folder else self._runs
        path = folder / run / HTML_NAME
        return path if _RUN.fullmatch(run) and path.is_file() else None

    def advance(self) -> None:
        """Take what has come since: for all browsers, whoever asks for it."""
        with self.lock:
            self._advance()

    def _advance(self) -> None:
        if self.replay is None:
            self._find()
        if self._reel is None:
            return
        for entry in self._reel.take():
            self.stage.take(entry)
        now_ns = self.now_ns
        for side in self.stage.sides.values():
            if not self.stage.closed:
                side.series.waiting(now_ns, side.counts[State.QUEUED])
        self.stage.forget_before(now_ns)

    async def ask_flower(self) -> None:
        """Ask the Flower beside the page, if there is one, what it shows of this run."""
        if self.beside is not None:
            await self.beside.ask(self.stage, self.now_ns)

    def again(self) -> None:
        """Play a saved run from its beginning."""
        with self.lock:
            if self.replay is not None and self._folder is not None:
                self.replay = Replay(self._folder, self.replay.speed)
                self._reel, self.stage = self.replay, Stage()

    def _find(self) -> None:
        """Change to a newer run, if one has begun."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        newest = max(
            self._runs.glob(f"*/{FILE_NAME}"), default=None, key=lambda path: path.parent.name
        )
        if newest is not None and newest.parent != self._folder:
            self._folder = newest.parent
            self._reel, self.stage = Following(newest.parent), Stage()
