"""What a run ran on, in words: the machines, and the versions of what ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolproof.judge.hosts import apart as is_apart
from poolproof.judge.hosts import milliseconds
from poolproof.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolproof.report.tables import Summary


def facts(summary: Summary) -> tuple[str, ...]:
    """Return what the run ran on, a line a subject."""
    machine, versions = summary["machine"], _common_versions(summary)
    # Of several machines none is the one that it ran on.
    hardware = (
        iter([f"{count} machines"]) if (count := machines(summary)) > 1 else _hardware(machine)
    )
    subjects = (hardware, _software(versions, machine))
    return tuple(line for line in map(" · ".join, subjects) if line)


def machines(summary: Summary) -> int:
    """Return on how many machines it ran; containers of one count once."""
    return len({host["boot"] for host in summary.get("hosts") or ()})


def apart(summary: Summary, sides: Iterable[str]) -> str:
    """Return what is added to a note on sides that ran on different machines."""
    return " They ran on different hosts." if is_apart(summary.get("hosts") or (), sides) else ""


def hosts(summary: Summary) -> Table:
    """Return what each host is, how far from Redis it is, and how well its clock is known."""
    return Table(
        "Hosts",
        "To Redis and back: the median of what was measured now and then. By so much a clock may "
        "be off the producer's, onto which all times were put.",
        (
            Column(),
            Column("ran"),
            Column("to Redis", numbers=True),
            Column("clock", numbers=True),
            Column("machine"),
        ),
        tuple(
            (
                host["name"],
                ", ".join([*host["parts"], *host["sides"]]),
                milliseconds(host["round_trip_s"]),
                milliseconds(host["clock_error_s"]) if host["clock_error_s"] != 0 else "the same",
                " · ".join(_hardware(host["machine"])) or "not known",
            )
            for host in summary.get("hosts") or ()
        ),
    )


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
