"""The crew: plays the turns of a matrix, so many at a time, each in a process of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from poolproof.infra.child import Child
from poolproof.infra.interruption import uninterrupted
from poolproof.matrix.run import filled
from poolproof_workers.errors import WorkerError

if TYPE_CHECKING:
    from poolproof.matrix.folder import MatrixFolder
    from poolproof.matrix.plan import Matrix
    from poolproof.matrix.run import Cell, MatrixRun
    from poolproof.runner.listener import Listener

#: About what a crash takes; the first run corrects it.
_FIRST_GUESS_S: Final = 11.0
_POLL_S: Final = 0.05
#: In which a run that is told to stop sends its workers away and closes its books.
_STOP_DEADLINE_S: Final = 60.0
#: Runs in a row that a worker could not go on in: it will not go on in the next one either.
_FAILURES: Final = 3


class ParallelRunner:
    """Plays what a folder does not have yet.

    A run has a process of its own, as `MatrixRun.words` has it, so that many can be played at a
    time and none meets what another left in the process. It may be stopped at any time; what is
    finished then stays.
    """

    def __init__(
        self, matrix: Matrix, folder: MatrixFolder, listener: Listener, redis_url: str | None
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._jobs = matrix.jobs
        # The URL may hold a password: not on the command line, which every user can read.
        self._env = {"POOLPROOF_REDIS_URL": redis_url} if redis_url else {}
        self._done: set[Cell] = set()
        self._waiting = list(reversed(list(matrix.turns())))
        self._total = sum(len(turn.sides) for turn in self._waiting)
        self._playing: dict[Child, MatrixRun] = {}
        self._failures = 0
        self._note_finished()
        self._clock = _Clock(self._total - len(self._done))

    def play(self) -> None:
        """Play all runs.

        Raises a PoolproofError for what would meet the next run too; a run whose worker cannot go
        on is kept as one that shows nothing. Whatever ends it, no run is left behind.
        """
        try:
            while self._waiting or self._playing:
                while self._waiting and len(self._playing) < self._jobs:
                    self._begin(self._waiting.pop())
                time.sleep(_POLL_S)
                for child in list(self._playing):
                    if self._has_ended(child):
                        self._settle(child)
        finally:
            for child in self._playing:
                child.ask_to_stop()
            for child in self._playing:
                child.end(_STOP_DEADLINE_S)

    def _begin(self, turn: MatrixRun) -> None:
        missing = turn.without(self._done)
        if missing is None:
            return
        under_way = {each.cell(side) for each in self._playing.values() for side in each.sides}
        place = len(self._done | under_way) + 1
        self._listener.phase(f"{place} of {self._total} ({self._clock.left()}): {missing.text}")
        self._listener.step(len(self._done), self._total)
        words = [*missing.words(), "--out", str(self._folder.path)]
        with uninterrupted():
            self._playing[Child("a crash", words, self._env)] = missing

    def _has_ended(self, child: Child) -> bool:
        try:
            child.check()
        except WorkerError as error:
            self._listener.note(f"{self._playing[child].text} did not succeed: {error}")
            self._failures += 1
            if self._failures >= _FAILURES:
                raise
            return True
        if child.over:
            self._failures = 0
        return child.over

    def _settle(self, child: Child) -> None:
        """Take in what a run filled; if it did fill something, what it left is played again."""
        child.end(_STOP_DEADLINE_S)
        turn = self._playing.pop(child)
        self._note_finished()
        new = {turn.cell(side) for side in turn.sides} & self._done
        self._clock.tick(len(new))
        if new:
            self._waiting.append(turn)

    def _note_finished(self) -> None:
        self._done.update(*map(filled, self._folder.finished()))


class _Clock:
    """Knows how long the crashes that are left will take, from how long the others took."""

    def __init__(self, left: int) -> None:
        self._began = time.monotonic()
        self._left = left
        self._done = 0

    def tick(self, done: int) -> None:
        """So many more are done."""
        self._done += done
        self._left -= done

    def left(self) -> str:
        """Say how long the rest takes."""
        took_s = time.monotonic() - self._began
        left_s = self._left * (took_s / self._done if self._done else _FIRST_GUESS_S)
        return f"about {left_s / 60:.0f} min left" if left_s > 90 else f"about {left_s:.0f} s left"
