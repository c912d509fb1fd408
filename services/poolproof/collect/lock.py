"""Keeps a second collector away from a namespace: two would take each other's entries away."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.contract import parsed
from poolproof_workers.errors import UsageError
from poolproof_workers.supervisor.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from poolproof_workers.contract import Keys

#: A lease outlives a collector that was killed, and that nobody can see to be dead, by so long.
LEASE_S: Final = 5.0
_RENEW_S: Final = 1.0
_POLL_S: Final = 0.1
_TRIES: Final = 3
#: Take it over from one holder and from no other.
_REPLACE: Final = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) return 1
"""


class Held(UsageError):  # noqa: N818  says what it is
    """Another collector works on the namespace."""


class Lease:
    """The right to collect the runs of a namespace, in Redis. Only its holder may trim the stream.

    A collector that is seen to be dead is succeeded at once; otherwise its lease has to run out.
    """

    def __init__(self, redis: Redis, keys: Keys, runs: Path) -> None:
        self._redis = redis
        self._key = keys.collector
        self._runs = str(runs.absolute())
        self._mine = json.dumps({**_identity(), "runs": self._runs, "since_ns": time.time_ns()})
        self._due = 0.0

    def take(self, sleep: Callable[[float], Any] = time.sleep) -> None:
        """Take it. Raises Held if another collector keeps it, or redis.RedisError."""
        deadline = time.monotonic() + LEASE_S + _RENEW_S
        while not self._try():
            if time.monotonic() > deadline:
                raise self._held()
            sleep(_POLL_S)
        self._due = time.monotonic() + _RENEW_S

    def renew(self) -> None:
        """Keep it; call it often. Raises Held if another has it by now, or redis.RedisError."""
        if time.monotonic() < self._due:
            return
        # It may run out between two looks at it, on a machine that stood still: then it is free.
        if not any(self._try() for _ in range(_TRIES)):
            raise self._held()
        self._due = time.monotonic() + _RENEW_S

    def give_up(self) -> None:
        """Let another have it at once."""
        if self._holder() == self._mine:
            self._redis.delete(self._key)

    def _try(self) -> bool:
        if self._redis.set(self._key, self._mine, nx=True, px=round(LEASE_S * 1000)):
            return True
        known = self._holder()
        if known is None:
            return False
        if known != self._mine and not _is_over(parsed(known)):
            if _is_here(parsed(known)):
                raise self._held()
            return False
        milliseconds = round(LEASE_S * 1000)
        return bool(self._redis.eval(_REPLACE, 1, self._key, known, self._mine, milliseconds))

    def _holder(self) -> str | None:
        text: Any = self._redis.get(self._key)
        return None if text is None else str(text.decode(errors="replace"))

    def _held(self) -> Held:
        holder = parsed(self._holder())
        of = f"{holder.get('host', '?')}, process {holder.get('pid', '?')}"
        return Held(
            f"another collector ({of}) keeps the runs of {self._key.rpartition(':')[0]} in "
            f"{holder.get('runs', '?')}: stop it first, or choose another --namespace."
        )


def _identity() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "pids": _pid_namespace(),
        "pid": pid,
        "began": _began(pid),
    }


def _is_here(holder: dict[str, Any]) -> bool:
    """Tell whether a holder's process, dead or alive, is one that we could see."""
    place = (holder.get("boot"), holder.get("pids"))
    return bool(place == (boot_id(), _pid_namespace()) and holder.get("began"))


def _is_over(holder: dict[str, Any]) -> bool:
    """Tell whether a holder is dead, or an earlier one of this very process."""
    if not _is_here(holder):
        return False
    return bool(_began(holder["pid"]) != holder["began"] or holder["pid"] == os.getpid())


def _pid_namespace() -> str:
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _began(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty if there is none, or no /proc."""
    with suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else rest[18]
    return ""
