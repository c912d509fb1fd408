"""How the monotonic clock of each host is put on the producer's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Clocks:
    """What the ops of a run have said so far of its clocks; each `boot` of a host has one.

    An op's `boot` says by which clock its time is. The best of all `clock` ops of a boot counts:
    they give Redis's Unix time minus that clock. Times are in nanoseconds.
    """

    reference: str = ""  #: boot id of the producer's host
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)  #: boot -> (error, offset)
    boots: dict[str, str] = field(default_factory=dict)  #: who writes ops -> boot of the last one

    def take(self, writer: str, op: Mapping[str, Any]) -> None:
        """Learn from an op."""
        boot = self.boots[writer] = op["boot"]
        if op["op"] == "run-begin":
            self.reference = boot
        elif op["op"] == "clock":
            found = (op["error_ns"], op["offset_ns"])
            self.offsets[boot] = min(found, self.offsets.get(boot, found))

    def shift(self, boot: str, onto: str = "") -> int | None:
        """Return what to add to times of `boot`; None if that is not known.

        `onto` is the boot on whose clock they are put, if it is not the producer's.
        """
        onto = onto or self.reference
        if boot == onto:
            return 0
        if boot not in self.offsets or onto not in self.offsets:
            return None
        return self.offsets[boot][1] - self.offsets[onto][1]

    def shift_of(self, writer: str) -> int:
        """Return what to add to the times of what `writer` writes now; 0 if it is not known."""
        return self.shift(self.boots.get(writer, self.reference)) or 0

    def error(self, boot: str) -> int | None:
        """Return by how much times of `boot` may be off on the producer's clock."""
        if boot == self.reference:
            return 0
        if self.shift(boot) is None:
            return None
        return self.offsets[boot][0] + self.offsets[self.reference][0]

    def from_unix(self, seconds: float) -> int | None:
        """Return the time of a Unix time, None if no clock op tells."""
        known = self.offsets.get(self.reference)
        return None if known is None else round(seconds * 1e9) - known[1]

    def all_from_unix(self, seconds: np.ndarray) -> np.ndarray:
        """Return the times of Unix times; 0 if no clock op tells."""
        known = self.offsets.get(self.reference)
        return (
            np.zeros(len(seconds), np.int64)
            if known is None
            else (np.rint(seconds * 1e9).astype(np.int64) - known[1])
        )

    def unknown(self) -> list[str]:
        """Return who writes by a clock that cannot be put on the producer's."""
        return [writer for writer, boot in self.boots.items() if self.shift(boot) is None]
