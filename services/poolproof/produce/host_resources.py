"""What making a workload asks of the machine that it will run on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from poolproof_workers.errors import UsageError
from poolproof_workers.workloads.calibration import turns_per_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof_workers.workloads.calibration import Turn


class HostResources(Protocol):
    """What a workload cannot know by itself. Nothing is asked that no workload needs."""

    def turns_per_ms(self, turn: Turn) -> float:
        """Return how much of a kind of work is done in a millisecond of CPU."""

    def http_url(self) -> str:
        """Return where the workers find a server that takes its time. Raises UsageError."""


def _no_server() -> str:
    raise UsageError(
        "The workload http needs workers on this machine, beside its own small server: "
        "use compare, or enqueue with --wait."
    )


@dataclass(frozen=True, slots=True)
class MeasuredResources:
    """This machine, each kind of work calibrated once: all blocks of a run get the same."""

    server: Callable[[], str] = _no_server
    _known: dict[Turn, float] = field(default_factory=dict)

    def turns_per_ms(self, turn: Turn) -> float:
        """Calibrate, or return what was found before."""
        if turn not in self._known:
            self._known[turn] = turns_per_ms(turn)
        return self._known[turn]

    def http_url(self) -> str:
        """Ask for the server, which is started if it is not there yet."""
        return self.server()


@dataclass(frozen=True, slots=True)
class AssumedResources:
    """No machine at all: enough to see whether a workload is written as it should be."""

    local: bool = True  #: the workers will be on this machine, and their server with them

    def turns_per_ms(self, turn: Turn) -> float:  # noqa: ARG002
        """Return 1."""
        return 1.0

    def http_url(self) -> str:
        """Return an address where nobody is."""
        return "http://127.0.0.1:0" if self.local else _no_server()
