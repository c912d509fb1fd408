"""What a run ran on, in words: the machine, and the versions of what ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.report.tables import Summary


def facts(summary: Summary) -> tuple[str, ...]:
    """Return what the run ran on, a line a subject."""
    machine, versions = summary["machine"], _common_versions(summary)
    subjects = (_hardware(machine), _software(versions, machine))
    return tuple(line for line in map(" · ".join, subjects) if line)


def _hardware(machine: Summary) -> Iterator[str]:
    if cpu := machine.get("cpu"):
        yield cpu
    if cores := machine.get("usable_cores"):
        all_cores = machine.get("cores") or cores
        yield f"{cores} cores" if cores >= all_cores else f"{cores} of {all_cores} cores"
    if cpus := machine.get("cgroup_cpus"):
        yield f"limited to {cpus:g} CPUs"
    if memory_bytes := machine.get("cgroup_memory_bytes") or machine.get("memory_bytes"):
        yield f"{memory_bytes / 1e9:.0f} GB"
    if system := machine.get("system"):
        yield system


def _common_versions(summary: Summary) -> Summary:
    """Return the versions that hold for all sides; where they differ a table has them."""
    sides = [
        (of.get("terms") or {}).get("versions") or {} for of in summary.get("pools", {}).values()
    ]
    common = dict(summary["versions"])
    for name in {name for of in sides for name in of}:
        said = {of.get(name) for of in sides}
        common[name] = said.pop() if len(said) == 1 else None
    return common


def _software(versions: Summary, machine: Summary) -> Iterator[str]:
    names = {"celery": "Celery ", "kombu": "kombu ", "billiard": "billiard ", "python": "Python "}
    for name, words in ({"server": ""} | names).items():
        if version := versions.get(name):
            yield f"{words}{version}"
    if machine.get("gil") is False:
        yield "no GIL"
