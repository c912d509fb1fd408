"""How long a run takes in all, and whether that is what it was given."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.runner.listener import Listener

#: Only what is longer by so much is worth a word, and then only what is longer again.
_OVER: Final = 1.25


class Course:
    """A run that was given so many seconds, from now on."""

    def __init__(
        self, listener: Listener, budget_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener = listener
        self._budget_s = budget_s
        self._clock = clock
        self._began = clock()
        self._told_s = budget_s

    def expect(self, left_s: float) -> None:
        """Tell how far the run is, if at least so many seconds are left; at once if it is late."""
        done_s = self._clock() - self._began
        total_s = max(self._budget_s, done_s + left_s)
        self._listener.step(round(done_s), round(total_s))
        if total_s > _OVER * self._told_s:
            self._told_s = total_s
            self._listener.note(
                f"This will take about {total_s:.0f} s, more than the budget of "
                f"{self._budget_s:g} s: the fewest rounds that tell anything take so long."
            )
