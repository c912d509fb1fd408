"""What was done in a sequence, step by step, for whoever looks into why it failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Journal:
    """Lines with the seconds since its beginning, in a file and on `lines`."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self.at_closing: Callable[[], None] | None = None  #: done when the run's end is recorded
        self._path = path
        self._began_ns = time.monotonic_ns()

    def write(self, text: str) -> None:
        """Add a line; it is in the file when this returns."""
        now_ns = time.monotonic_ns()
        self.lines.append(f"{(now_ns - self._began_ns) / 1e9:7.3f} s ({now_ns})  {text}")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(self.lines[-1] + "\n")

    # --- as a listener of the session -------------------------------------------------------------

    def phase(self, text: str) -> None:
        """Say what the run does next."""
        self.write(text)
        if text == "closing the books" and self.at_closing:
            act, self.at_closing = self.at_closing, None
            act()

    def note(self, text: str) -> None:
        """Say what is worth knowing also when the phase is over."""
        self.write(text)

    def step(self, done: int, total: int) -> None:
        """Say how far it is."""
