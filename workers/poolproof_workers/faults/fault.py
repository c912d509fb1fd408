"""One way to break something, and to which pools it can be done."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

    from poolproof_workers.faults.memory_limit import Way
    from poolproof_workers.pools import Pool, Slots

#: How long a process that is stopped stays so.
PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class SignalFault:
    """A signal from outside."""

    whom: Literal["child", "main", "group"]  #: a busy child; the main process; its process group
    signal: signal.Signals
    pause_s: float | None = None  #: when SIGCONT follows


@dataclass(frozen=True, slots=True)
class BrokerFault:
    """What befalls the broker, or the connections between it and a worker."""

    kind: Literal["restart", "pause", "kill", "cut", "slow"]
    lasts_s: float = 0.0
    delay_s: float = 0.0  #: of `slow`, each way

    @property
    def on_the_way(self) -> bool:
        """Whether it is done by a proxy between the worker and the broker."""
        return self.kind in {"cut", "slow"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break something: by a task (`do`), to the worker (`blow`), to the broker."""

    name: str
    what: str
    lesson: str
    do: Callable[[], object] | None = None
    _: KW_ONLY
    blow: SignalFault | None = None
    trouble: BrokerFault | None = None
    approach: Callable[[], None] | None = None  #: what takes time, done long before it is recorded
    prepare: Callable[[], Way] | None = None  #: done before it is recorded; tells how it is done
    see: Callable[[], int] | None = None  #: what innocent tasks look with: see `shared_state`
    revoked: bool = False  #: the task is revoked with `terminate` as soon as it is at it
    may_hang: bool = False  #: on some pool it never ends, so nobody can wait for its end
    settings: Mapping[str, str] = field(default_factory=dict)  #: of the workers, `POOLPROOF_*`
    only_on: tuple[Slots, ...] = ()  #: kinds of slots that it can be done to; empty: all
    why_only: str = ""

    @property
    def where(self) -> Literal["inside", "outside", "broker"]:
        """Whether a task does it, the supervisor to the worker, or who plays it to the broker."""
        return "broker" if self.trouble else "outside" if self.blow else "inside"

    def why_not(self, pool: Pool) -> str | None:
        """Return why it cannot be done to a pool; None if it can."""
        return self.why_only if self.only_on and pool.slots not in self.only_on else None
