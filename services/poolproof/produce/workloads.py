"""The table of workloads, and how one is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poolproof.produce import kinds, units
from poolproof.produce.host_resources import AssumedResources
from poolproof.produce.kinds import Kind
from poolproof.produce.seeded import Mix, Seeded
from poolproof_workers.errors import UsageError
from poolproof_workers.workloads import answers

if TYPE_CHECKING:
    from poolproof.produce.host_resources import HostResources
    from poolproof.produce.works import Workload

_MAX_WEIGHT: Final = 1_000
_MAX_SEED: Final = (1 << 32) - 1
_DEFAULT_MIX_SEED: Final = 1
_MIXED: Final = "square=8,sleep:50ms=1,cpu:5ms=1"


def _mix(name: str, given: str, means: HostResources) -> Workload:
    return _dealt(name, given, means, _DEFAULT_MIX_SEED)


def _dealt(name: str, given: str, means: HostResources, seed: int) -> Workload:
    parts, weights = [], []
    for written in given.split(","):
        part, equals, weight = written.rpartition("=")
        if not equals or part.partition(":")[0] == name:
            raise UsageError(
                f"{written!r} is no part of a mix. Write each as WORKLOAD=WEIGHT: {name}:{_MIXED}."
            )
        parts.append(parse(part, means))
        weights.append(units.whole(weight, f"{name}:{written}", 1, _MAX_WEIGHT, "weight"))
    if sum(weights) > _MAX_WEIGHT:
        raise UsageError(f"The weights of a {name} add up to {_MAX_WEIGHT} at most.")
    written = ",".join(f"{part.text}={weight}" for part, weight in zip(parts, weights, strict=True))
    text = f"{name}:{written}" + (f"?seed={seed}" if seed != _DEFAULT_MIX_SEED else "")
    return Mix(text, tuple(parts), tuple(weights), seed)


WORKLOADS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            "square",
            "",
            "n * n and nothing else",
            "what Celery itself costs",
            "the square of its number",
            kinds.square,
        ),
        Kind(
            "sleep",
            "50ms",
            "n * n after a sleep",
            "waiting, with no cost to anybody",
            "the square of its number",
            kinds.sleep,
        ),
        Kind(
            "cpu",
            "5ms",
            "n * n after pure Python that needs the CPU",
            "computing in Python: needs the GIL all the while",
            "the square of its number",
            kinds.cpu,
        ),
        Kind(
            "hash",
            "5ms",
            "SHA-256 of 64 KiB, again and again",
            "computing in C that lets go of the GIL",
            "the sum of all digests, folded with its number",
            kinds.in_c(answers.HASH, "hash"),
        ),
        Kind(
            "compress",
            "5ms",
            "zlib and back of 16 KiB, again and again",
            "computing in C that lets go of the GIL, with memory to allocate",
            "the sum of the checksums of all that came back, folded with its number",
            kinds.in_c(answers.COMPRESS, "compress"),
        ),
        Kind(
            "http",
            "20ms",
            "a GET from a server of ours that answers after this time",
            "calling a service: a connection, a wait, an answer",
            "what the server computed from its number",
            kinds.http,
        ),
        Kind(
            "redis",
            "5",
            "so many round trips to Redis: SET, GET, SET, ...",
            "asking a cache or a database",
            "the sum of all answers, which tell its number",
            kinds.redis,
        ),
        Kind(
            "payload",
            "1MB",
            "takes a text and returns one; IN/OUT if they differ",
            "large arguments, and results in Celery's result backend",
            "length and CRC-32 of both texts, folded with its number",
            kinds.payload,
        ),
        Kind(
            "memory",
            f"50MB/{kinds.HELD}",
            "takes memory, touches every page, holds it for this time",
            "tasks that load something large",
            "the pages that kept what was written, folded with its number",
            kinds.memory,
        ),
        Kind(
            "counter",
            "100000",
            "adds so often to a counter in the module, without a lock",
            "shared state, and what threads lose of it",
            "not right or wrong: what all processes counted, and what was lost of it",
            kinds.counter,
        ),
        Kind(
            "mix",
            _MIXED,
            "several of the others, by weights",
            "a queue that all kinds of tasks share",
            "each part as it is by itself",
            _mix,
        ),
    )
}


def parse(text: str, means: HostResources) -> Workload:
    """Read a workload as a person writes it: `square`, `sleep:50ms`, `cpu`, `square?seed=7`.

    `means` is only asked for what the workload needs. Raises UsageError.
    """
    written, seeded, option = text.partition("?")
    name, colon, given = written.partition(":")
    kind = WORKLOADS.get(name)
    if kind is None:
        raise UsageError(f"There is no workload {name!r}. Use one of: {allowed()}.")
    given = given if colon else kind.default
    if not seeded:
        return kind.make(name, given, means)
    seed = _seed(text, option)
    if kind.make is _mix:
        return _dealt(name, given, means, seed)
    return Seeded(kind.make(name, given, means), seed)


def check(text: str, *, most: int = 1, local: bool = True) -> Workload:
    """Read a workload without its calibration: what is wrong with it is said before all else.

    Raises UsageError, also if Redis should not hold `most` of its tasks at once, or if it needs
    workers that are on this machine (`local`).
    """
    workload = parse(text, AssumedResources(local))
    if workload.most is not None and most > workload.most:
        raise UsageError(
            f"{most:,} tasks of {text!r} are too much for Redis at once: at most {workload.most:,}."
        )
    return workload


def allowed() -> str:
    """Return the workloads as a person would write them, for messages and help."""
    return ", ".join(kind.shape for kind in WORKLOADS.values())


def table() -> str:
    """Return the table, a line each, for help."""
    width = max(len(kind.shape) for kind in WORKLOADS.values() if kind.make is not _mix)
    return "\n".join(f"{kind.shape:{width}}  {kind.what}" for kind in WORKLOADS.values())


def _seed(text: str, option: str) -> int:
    name, _, value = option.partition("=")
    if name != "seed":
        raise UsageError(f"{text!r}: after a question mark comes a seed, as in square?seed=7.")
    return units.whole(value, text, 0, _MAX_SEED, "seed")
