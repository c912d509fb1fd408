"""A limit on this process's memory: its container's, a cgroup that we made, or an rlimit."""

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
#: Of version 1 and 2.
_LIMIT_1: Final = "memory.limit_in_bytes"
_LIMIT_2: Final = "memory.max"
_USAGES: Final = {_LIMIT_1: "memory.usage_in_bytes", _LIMIT_2: "memory.current"}


class Way(IntEnum):
    """How a fault was done, where there is more than one way."""

    PLAIN = 0
    CGROUP = 1  #: the kernel kills the process
    RLIMIT = 2  #: no cgroup could be made: allocation fails, and the process kills itself
    CONTAINER = 3  #: the worker has a limit already, such as its container's: the kernel kills


def enter() -> Way:
    """Limit what this process may take from now on to about 64 MiB; return how.

    Where the worker is in a cgroup with a limit that nobody else is in, that one will do. A cgroup
    that is made stays behind when the process is gone: `remove_left` removes it.
    """
    if own_limit_bytes() is not None:
        return Way.CONTAINER
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


def own_limit_bytes() -> int | None:
    """Return the limit of the cgroup that only the worker of this process is in; None without one.

    Where others are in it too they might be killed in place of the worker.
    """
    own = _own_group()
    return own[1] if own else None


def room_bytes() -> int | None:
    """Return how much may still be taken under that limit; None without one."""
    own = _own_group()
    used = own and _read(own[0] / _USAGES[own[2]])
    return own[1] - int(used) if own and used else None


def _own_group() -> tuple[Path, int, str] | None:
    for parent, limit in _parents():
        # In a container the path is the host's, and the container's own group is the root.
        group = parent if parent.exists() else _root(limit)
        if (found := limit_bytes(group / limit)) is not None and _is_ours_alone(group):
            return group, found, limit
    return None


def limit_bytes(file: Path) -> int | None:
    """Read a limit as version 1 and 2 write it; None if there is none that can be reached."""
    text = _read(file)
    if text is None or not text.isdecimal():  # "max"
        return None
    # Version 1 writes "none" as a number that no machine has.
    number, there = int(text), os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()
    return number if number < there else None


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _is_ours_alone(group: Path) -> bool:
    """Tell whether a cgroup holds only our worker, who started it, and what looks in from outside.

    Such as a check of health: it was put into the container, nobody in there has started it.
    """
    pids = [int(pid) for pid in (_read(group / "cgroup.procs") or "0").split()]
    line, session = _line(os.getpid()), os.getsid(0)
    return all(_may_be_there(pid, line, session) for pid in pids)


def _may_be_there(pid: int, line: list[int], session: int) -> bool:
    if pid == 0:  # it is outside of our PID namespace, or nobody would say
        return False
    try:
        if pid in line or os.getsid(pid) == session:
            return True
    except ProcessLookupError:  # it has ended
        return True
    try:
        return line[-1] == 1 and _line(pid)[-1] != 1
    except OSError:
        return False


def _line(pid: int) -> list[int]:
    """Return a process and those that it descends from; the last has its parent elsewhere."""
    line = [pid]
    while parent := int(_stat(line[-1])[1]):
        line.append(parent)
    return line


def _stat(pid: int) -> list[str]:
    # After the name, which may hold blanks: state, parent, ...
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parents() -> Iterator[tuple[Path, str]]:
    """Yield this process's cgroup and the name of its limit, of version 1 and 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield _root(_LIMIT_1) / path.lstrip("/"), _LIMIT_1
        elif not controllers and (_GROUPS / "cgroup.controllers").exists():
            yield _root(_LIMIT_2) / path.lstrip("/"), _LIMIT_2


def _root(limit: str) -> Path:
    return _GROUPS / "memory" if limit == _LIMIT_1 else _GROUPS


def _address_space_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux, where the limit on address space is not kept either
        return 1 << 40
    return pages * resource.getpagesize()
