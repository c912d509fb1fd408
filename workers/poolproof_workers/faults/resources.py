"""Bodies of faults that take or give too much: memory, output, results. Each has a cap."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Final

from poolproof_workers.faults import memory_limit
from poolproof_workers.faults.crashes import kill_self
from poolproof_workers.faults.memory_limit import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES: Final = 8 * MIB
_ROOM_BYTES: Final = 256 * MIB
_LEAK_BYTES: Final = 256 * MIB
_RESULT_BYTES: Final = 32 * MIB
_OUTPUT_BYTES: Final = 4 * MIB
#: Near enough to a limit, and more than a chunk takes while it is made.
_LAST_BYTES: Final = 4 * _CHUNK_BYTES
_LINE: Final = b"x" * 79 + b"\n"

#: What `approach_limit` and `outgrow_limit` have taken.
_held: Final[list[bytearray]] = []
#: What `leak` never gives back.
_leaked: Final[list[bytearray]] = []


def fill_memory() -> None:
    """Take memory up to a limit of this process, which is lifted again when MemoryError comes."""
    before = memory_limit.lower(_ROOM_BYTES)
    held: list[bytearray] = []
    try:
        held.extend(bytearray(_CHUNK_BYTES) for _ in range(2 * _ROOM_BYTES // _CHUNK_BYTES))
    finally:
        held.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def approach_limit() -> None:
    """Take almost all that the worker's own limit allows, if it has one.

    To fill a container takes as long as a task, and is no part of the kernel's kill.
    """
    limit_bytes = memory_limit.own_limit_bytes() or 0
    while (
        len(_held) * _CHUNK_BYTES < limit_bytes and (memory_limit.room_bytes() or 0) > _LAST_BYTES
    ):
        _held.append(_chunk())


def outgrow_limit() -> None:
    """Take memory until the kernel kills the process; it does so itself where that cannot be."""
    most_bytes = max(_ROOM_BYTES, (memory_limit.own_limit_bytes() or 0) + _CHUNK_BYTES)
    try:
        while len(_held) * _CHUNK_BYTES < most_bytes:
            _held.append(_chunk())
    except MemoryError:
        _held.clear()
    kill_self()


def _chunk() -> bytearray:
    return bytearray(b"x" * _CHUNK_BYTES)  # written to: only then memory is taken


def leak() -> None:
    """Keep 256 MiB for the rest of the process's life. Once in a process."""
    while len(_leaked) * _CHUNK_BYTES < _LEAK_BYTES:
        _leaked.append(_chunk())


def flood_output() -> None:
    """Write 4 MiB of lines to the standard error that all processes of the worker share."""
    lines = _LINE * (65_536 // len(_LINE))
    for _ in range(_OUTPUT_BYTES // len(lines)):
        os.write(2, lines)


def huge_result() -> str:
    """Return 32 MiB."""
    return "x" * _RESULT_BYTES


def unpicklable_result() -> Callable[[], None]:
    """Return what can neither be pickled nor written as JSON."""
    return lambda: None
