"""The hosts of a run: what each is, how far it is from Redis, how well its clock is known."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.supervisor.clock import RESOLUTION_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolproof.judge.run_data import Op, RunData

    Host = Mapping[str, Any]

#: Who writes an op that says on which host it is, and is no worker -> the part that it plays.
_PARTS: Final = {"run-begin": "producer", "host": "collector"}
#: What of a machine is a fact about a side that runs on it -> what it is called.
_FACTS: Final = {
    "cpu": "CPU",
    "cores": "cores",
    "usable_cores": "usable cores",
    "cgroup_cpus": "CPU limit",
    "memory_bytes": "memory, GB",
    "cgroup_memory_bytes": "memory limit, MB",
    "system": "system",
    "architecture": "architecture",
}
_UNITS: Final = {"memory_bytes": 1e9, "cgroup_memory_bytes": 1e6}


def hosts(evidence: RunData) -> list[dict[str, Any]]:
    """Return what each host is, the producer's first.

    `name` (unique), `boot` (equal on containers of one machine), `parts` ("producer", "collector"),
    `workers` and `sides` on it, `machine` (as it described itself; empty in a run of an earlier
    version), `round_trip_s` to Redis and back (the median of what was measured now and then, each
    the shortest of five), and `clock_error_s`, by how much its times may be off on the producer's
    clock. None where it is not known.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for op in sorted(evidence.named(*_PARTS, "hello"), key=lambda op: op.name != "run-begin"):
        machine = op.get("machine") or {}
        key = (op["boot"], op.get("host") or machine.get("host") or "")
        if key not in found:
            found[key] = _host(evidence, *key) | {"parts": [], "workers": [], "sides": []}
        here = found[key]
        here["machine"] = here["machine"] or machine
        _note(here, op)
    return _named(list(found.values()))


def apart(of: Sequence[Host], sides: Iterable[str]) -> bool:
    """Tell whether these sides ran on different machines, by those of which it is known."""
    boots = {frozenset(host["boot"] for host in of_side(of, side)) for side in sides}
    return len(boots - {frozenset()}) > 1


def of_side(of: Sequence[Host], side: str) -> list[Host]:
    """Return the hosts of a side's workers."""
    return [host for host in of if side in host["sides"]]


def facts(of: Sequence[Host], side: str) -> dict[str, str]:
    """Return what is known of the machines of a side, in words."""
    machines = [host["machine"] for host in of_side(of, side)]
    found = {
        words: [_written(key, machine.get(key)) for machine in machines if machine]
        for key, words in _FACTS.items()
    }
    return {words: " and ".join(dict.fromkeys(of)) for words, of in found.items() if of}


def where(of: Sequence[Host], side: str) -> dict[str, str]:
    """Return on which hosts a side ran and how far from Redis these are; nothing if not known."""
    mine = of_side(of, side)
    if not mine:
        return {}
    trips = [milliseconds(host["round_trip_s"]) for host in mine]
    return {
        "host": " and ".join(host["name"] for host in mine),
        "to Redis and back": " and ".join(dict.fromkeys(trips)),
    }


def milliseconds(seconds: float | None) -> str:
    """Write a short time."""
    return "not known" if seconds is None else f"{1e3 * seconds:.2g} ms"


def _host(evidence: RunData, boot: str, name: str) -> dict[str, Any]:
    clocks = evidence.clocks
    errors = [op["error_ns"] for op in evidence.named("clock") if op["boot"] == boot]
    error_ns = clocks.error(boot)
    return {
        "name": name,
        "boot": boot,
        "machine": {},
        "round_trip_s": 2 * (median(errors) - RESOLUTION_NS) / 1e9 if errors else None,
        "clock_error_s": None if error_ns is None else error_ns / 1e9,
    }


def _note(here: dict[str, Any], op: Op) -> None:
    if part := _PARTS.get(op.name):
        _add(here["parts"], part)
    else:
        _add(here["workers"], op["worker"])
        _add(here["sides"], op["side"])


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _named(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each a name of its own: clones of a machine all say the same one."""
    seen: dict[str, int] = {}
    for host in found:
        name = host["name"] or "unnamed"
        count = seen[name] = seen.get(name, 0) + 1
        host["name"] = name if count == 1 else f"{name} ({count})"
    return found


def _written(key: str, value: Any) -> str:
    if value is None:
        return "none"
    return f"{value / _UNITS[key]:.3g}" if key in _UNITS else str(value)
