"""Shows a run's progress on stderr: a moving line on a terminal, otherwise a line a phase."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class _Share(TaskProgressColumn):
    """How much is done, where anything is known of that."""

    def render(self, task: Task) -> Text:
        """Return it."""
        return super().render(task) if task.fields["known"] else Text()


class _Left(ProgressColumn):
    """How long the rest takes, where anything is known of that."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(Column(no_wrap=True))
        self._clock = clock

    def render(self, task: Task) -> Text:
        """Return it."""
        ends_s: float | None = task.fields["ends_s"]
        if ends_s is None:
            return Text()
        return Text(f"{timedelta(seconds=round(max(0.0, ends_s - self._clock())))} left")


class ConsoleListener:
    """A listener for people. A context manager: it leaves the terminal as it was."""

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._first: tuple[float, int] | None = None  # when it was how far
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            _Share(),
            TimeElapsedColumn(),
            _Left(clock),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, known=False, ends_s=None)

    def phase(self, text: str) -> None:
        """Say what the run does next."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=text)
        else:
            self.note(text)

    def step(self, done: int, total: int) -> None:
        """Say how far it is; a total of 0: nobody knows."""
        # Rich has no way back to a total that is not known.
        self._bar.update(
            self._task,
            total=total or 1,
            completed=done,
            known=total > 0,
            ends_s=self._ends_s(done, total),
        )

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _ends_s(self, done: int, total: int) -> float | None:
        """Return when it is over if the rest goes as what was done since the first step."""
        now_s = self._clock()
        if not total or self._first is None:
            self._first = (now_s, done) if total else None
            return None
        since_s, from_ = self._first
        return now_s + (now_s - since_s) * (total - done) / (done - from_) if done > from_ else None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
