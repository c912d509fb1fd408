"""Whoever wants to know how far a run is."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Whoever wants to know how far a run is."""

    def phase(self, text: str) -> None:
        """Say what the run does next."""

    def step(self, done: int, total: int) -> None:
        """Say how far it is, whatever the phase; a total of 0: nobody knows."""

    def note(self, text: str) -> None:
        """Say what is worth knowing also when the phase is over."""


class NullListener:
    """A listener that does nothing."""

    def phase(self, text: str) -> None:
        """Say nothing."""

    def step(self, done: int, total: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
