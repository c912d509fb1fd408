"""A limit on this process's memory: a cgroup of its own where we may make one, or an rlimit."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB: Final = 1 << 20
_GROUP_BYTES: Final = 64 * MIB
_GROUPS: Final = Path("/sys/fs/cgroup")
_PREFIX: Final = "poolproof-"


class Way(IntEnum):
    """How a fault was done, where there is more than one way."""

    PLAIN = 0
    CGROUP = 1  #: the kernel kills the process
    RLIMIT = 2  #: no cgroup could be made: allocation fails, and the process kills itself


def enter() -> Way:
    """Limit what this process may take from now on to about 64 MiB; return how.

    The cgroup stays behind when the process is gone: `remove_left` removes it.
    """
    for parent, limit in _parents():
        group = parent / f"{_PREFIX}{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(_GROUP_BYTES))
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            with suppress(OSError):
                group.rmdir()
        else:
            return Way.CGROUP
    lower(_GROUP_BYTES)
    return Way.RLIMIT


def lower(room_bytes: int) -> tuple[int, int]:
    """Set the soft limit on address space so much above what is in use; return both of before."""
    soft, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space_bytes() + room_bytes
    if soft == resource.RLIM_INFINITY or wanted < soft:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    return before


def remove_left() -> None:
    """Remove the cgroups of processes that are gone, in the cgroup that this process is in."""
    for parent, _ in _parents():
        for group in parent.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # in use, or another's
                group.rmdir()


def _parents() -> Iterator[tuple[Path, str]]:
    """Yield this process's cgroup and the name of its limit, of version 1 and 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield _GROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        elif not controllers and (_GROUPS / "cgroup.controllers").exists():
            yield _GROUPS / path.lstrip("/"), "memory.max"


def _address_space_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux, where the limit on address space is not kept either
        return 1 << 40
    return pages * resource.getpagesize()
