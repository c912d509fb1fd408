"""What else goes on on a host, as counters that only grow: stolen CPU, swapping, throttling."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
#: Where /proc/stat's first line has them, after the word `cpu`.
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
#: Time as a guest is in `user` and `nice` already.
_COUNTED: Final = 8


def surroundings(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> dict[str, Any]:
    """Return counters of this host, None where it does not tell: the difference of two tells.

    `cpu_s` (of all cores, also idle), `idle_s`, `steal_s` (taken by other guests of the machine
    under this one), `swapped_pages` (in and out), `periods` of the cgroup's CPU limit and
    `throttled`, in how many of them it stopped us, and `load`, the load average of a minute.
    """
    return _cpu(proc) | {"swapped_pages": _swapped(proc)} | _throttled(cgroups) | {"load": _load()}


def _cpu(proc: Path) -> dict[str, float | None]:
    words = next(iter(_lines(proc / "stat")), "").split()[1:]
    if len(words) < _COUNTED:
        return {"cpu_s": None, "idle_s": None, "steal_s": None}
    ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in words[:_COUNTED]]
    return {
        "cpu_s": round(sum(ticks), 2),
        "idle_s": round(ticks[_IDLE] + ticks[_IOWAIT], 2),
        "steal_s": round(ticks[_STEAL], 2),
    }


def _swapped(proc: Path) -> int | None:
    counts = _fields(proc / "vmstat")
    if "pswpin" not in counts:
        return None
    return counts["pswpin"] + counts.get("pswpout", 0)


def _throttled(cgroups: Path) -> dict[str, int | None]:
    # Not the time in it: the kernel adds that up over all cores.
    for counts in map(_fields, (cgroups / "cpu.stat", cgroups / "cpu/cpu.stat")):
        if "nr_periods" in counts:
            return {"periods": counts["nr_periods"], "throttled": counts["nr_throttled"]}
    return {"periods": None, "throttled": None}


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _lines(path))
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2 and words[1].isdecimal()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
