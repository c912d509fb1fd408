"""The kinds of workload: a row of the table each, and how it is made of what a person writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from poolproof.produce import units
from poolproof.produce.works import Job, Square
from poolproof_workers.errors import UsageError
from poolproof_workers.workloads import answers
from poolproof_workers.workloads import payload as texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.produce.host_resources import HostResources
    from poolproof.produce.works import Workload
    from poolproof_workers.workloads.calibration import Turn

    #: Name, and what follows the colon -> workload.
    Make = Callable[[str, str, HostResources], Workload]

MAX_PAYLOAD_BYTES: Final = 10_000_000
MAX_MEMORY_BYTES: Final = 1_000_000_000
#: How long memory is held, if nothing is written.
HELD: Final = "200ms"
_MAX_TRIPS: Final = 10_000
_MAX_TURNS: Final = 10_000_000
#: First guesses at what costs a slot, to size the first block; all else is measured.
_TRIP_S: Final = 0.000_2
_TURN_S: Final = 0.000_000_1
_BYTE_S: Final = 0.000_000_03


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table."""

    name: str
    default: str  #: what follows the colon, if nothing is written; empty: nothing may
    what: str  #: it does
    stands_for: str
    checked: str  #: how its result is
    make: Make

    @property
    def shape(self) -> str:
        """The workload as a person may write it."""
        return f"{self.name}:{self.default}" if self.default else self.name


def square(name: str, given: str, _means: HostResources) -> Workload:
    """Make `square`."""
    if given:
        raise UsageError(f"The workload {name!r} takes nothing more: write it without {given!r}.")
    return Square(name)


def sleep(name: str, given: str, _means: HostResources) -> Workload:
    """Make `sleep:TIME`."""
    text, seconds = _timed(name, given)
    return Square(text, sleep_s=seconds)


def cpu(name: str, given: str, means: HostResources) -> Workload:
    """Make `cpu:TIME`."""
    text, seconds = _timed(name, given)
    return Square(text, spins=_turns(seconds, "spin", means), cpu_s=seconds)


def in_c(task: str, turn: Turn) -> Make:
    """Return what makes `NAME:TIME` of calibrated rounds of a kind."""

    def make(name: str, given: str, means: HostResources) -> Workload:
        text, seconds = _timed(name, given)
        rounds = _turns(seconds, turn, means)
        facts = {"rounds": rounds, "cpu_s": seconds, "rounds_per_ms": means.turns_per_ms(turn)}
        return Job(
            text=text, task=task, given=(rounds,), facts=facts, seconds=seconds, core_s=seconds
        )

    return make


def http(name: str, given: str, means: HostResources) -> Workload:
    """Make `http:TIME`."""
    text, seconds = _timed(name, given)
    url = means.http_url()
    facts = {"url": url, "latency_s": seconds}
    return Job(text=text, task=answers.HTTP, given=(url, seconds), facts=facts, seconds=seconds)


def redis(name: str, given: str, _means: HostResources) -> Workload:
    """Make `redis:TRIPS`."""
    trips = units.whole(given, f"{name}:{given}", 1, _MAX_TRIPS)
    return Job(
        text=f"{name}:{trips}",
        task=answers.REDIS,
        given=(trips,),
        facts={"round_trips": trips},
        seconds=trips * _TRIP_S,
    )


def payload(name: str, given: str, _means: HostResources) -> Workload:
    """Make `payload:SIZE` or `payload:IN/OUT`."""
    text = f"{name}:{given}"
    before, slash, after = given.partition("/")
    in_bytes = units.size(before, text, MAX_PAYLOAD_BYTES)
    out_bytes = units.size(after, text, MAX_PAYLOAD_BYTES) if slash else in_bytes
    sizes = dict.fromkeys(map(units.size_text, (in_bytes, out_bytes)))
    cost_s = (in_bytes + out_bytes) * _BYTE_S
    return Job(
        text=f"{name}:{'/'.join(sizes)}",
        task=answers.PAYLOAD,
        given=(texts.text(in_bytes), out_bytes),
        facts={"in_bytes": in_bytes, "out_bytes": out_bytes},
        seconds=cost_s,
        core_s=cost_s,
        # Celery's body is base64; the result waits in Redis until it expires.
        message_bytes=in_bytes * 4 // 3 + out_bytes,
    )


def memory(name: str, given: str, _means: HostResources) -> Workload:
    """Make `memory:SIZE/TIME`."""
    text = f"{name}:{given}"
    before, slash, after = given.partition("/")
    size = units.size(before, text, MAX_MEMORY_BYTES)
    seconds = units.duration(after if slash else HELD, text)
    return Job(
        text=f"{name}:{units.size_text(size)}/{units.duration_text(seconds)}",
        task=answers.MEMORY,
        given=(size, seconds),
        facts={"bytes": size, "hold_s": seconds},
        seconds=seconds,
    )


def counter(name: str, given: str, _means: HostResources) -> Workload:
    """Make `counter:TURNS`."""
    turns = units.whole(given, f"{name}:{given}", 1, _MAX_TURNS)
    return Job(
        text=f"{name}:{turns}",
        task=answers.COUNTER,
        given=(turns,),
        facts={"turns": turns},
        seconds=turns * _TURN_S,
        core_s=turns * _TURN_S,
    )


def _timed(name: str, given: str) -> tuple[str, float]:
    seconds = units.duration(given, f"{name}:{given}")
    return f"{name}:{units.duration_text(seconds)}", seconds


def _turns(seconds: float, turn: Turn, means: HostResources) -> int:
    return max(1, round(seconds * 1_000 * means.turns_per_ms(turn)))
