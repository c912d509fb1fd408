"""Shows a run's progress on stderr: a moving line on a terminal, otherwise a line a phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from types import TracebackType


class Watching:
    """A listener for people. A context manager: it leaves the terminal as it was."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)

    def phase(self, text: str) -> None:
        """Say what the run does next."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=text, completed=0, total=None)
        else:
            self._console.print(text, markup=False, soft_wrap=True)

    def step(self, done: int, total: int) -> None:
        """Say how far it is."""
        self._bar.update(self._task, completed=done, total=total or None)

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
