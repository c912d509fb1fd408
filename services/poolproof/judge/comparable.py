"""Why two runs must not be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge import hosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Summary = Mapping[str, Any]

#: What of a plan decides how well is measured, not what.
_EFFORT: Final = {"name", "rounds", "blocks", "tasks", "budget_s", "precision", "seed", "crash"}
#: What of a machine is a name, or stands among the versions too.
_NO_MACHINE: Final = {"python"}
#: Versions that say what judged or was checked out, not what ran the tasks.
_OURS: Final = {"poolproof", "commit"}
_ABSENT: Final = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which two runs differ that is not under test."""

    subject: str  #: what to call it, to say that it is under test
    what: str  #: one sentence

    def to_json(self) -> dict[str, str]:
        """Return it as reports have it."""
        return {"subject": self.subject, "what": self.what}


def reasons(base: Summary, new: Summary) -> list[Difference]:
    """Return all reasons not to compare two runs; none if they may be compared."""
    return [
        *_believable(base, "base"),
        *_believable(new, "new"),
        *_plan(base["plan"] or {}, new["plan"] or {}),
        *_machine(base["machine"], new["machine"]),
        *_hosts(base, new),
        *_versions(base["versions"], new["versions"]),
        *_sides(base["pools"], new["pools"]),
    ]


def notes(base: Summary, new: Summary) -> list[str]:
    """Return what to keep in mind with two runs that may be compared."""
    found = {}
    for side in (side for side in base["pools"] if side in new["pools"]):
        before, after = (run["pools"][side]["workloads"] for run in (base, new))
        for workload in (each for each in before if each in after):
            a, b = ((of[workload].get("work") or {}).get("spins") for of in (before, after))
            if a and b and a != b:
                share = f"{(b / a - 1) * 100:+.1f} %"
                found[workload] = (
                    f"{workload} was calibrated anew: a task of the new run has {share} turns."
                )
    return list(found.values())


def _believable(run: Summary, word: str) -> Iterator[Difference]:
    if not run["books"]["balanced"]:
        yield Difference("invalid", f"The books of the {word} run do not balance.")
    elif not run.get("valid", True):
        codes = ", ".join(each["code"].replace("_", " ") for each in run["warnings"][:3])
        yield Difference("invalid", f"The {word} run is no benchmark result ({codes}).")


def _plan(base: Summary, new: Summary) -> Iterator[Difference]:
    if base.get("name") != new.get("name"):
        yield _differs("plan", "plan", base.get("name"), new.get("name"))
    for name in _names(base, new) - _EFFORT:
        if base.get(name) != new.get(name):
            subject = {"workloads": "workload"}.get(name, name)
            yield _differs(subject, name, base.get(name), new.get(name))


def _versions(base: Summary, new: Summary) -> Iterator[Difference]:
    for name in sorted(_names(base, new) - _OURS):
        if base.get(name) != new.get(name):
            yield _differs(name, f"version of {name}", base.get(name), new.get(name))


def _machine(base: Summary, new: Summary) -> Iterator[Difference]:
    for name in sorted(_names(base, new) - _NO_MACHINE):
        if base.get(name) != new.get(name):
            # Hosts in a cloud or in containers have new names every day.
            subject = "host" if name == "host" else "machine"
            yield _differs(subject, f"machine's {name}", base.get(name), new.get(name))


def _hosts(base: Summary, new: Summary) -> Iterator[Difference]:
    """Yield in what the hosts of a side differ, where it has others than the producer."""
    before, after = base.get("hosts") or (), new.get("hosts") or ()
    if not before or not after:
        return  # of a version that did not say them
    for side in (side for side in base["pools"] if side in new["pools"]):
        if all(_is_producers(of, side) for of in (before, after)):
            continue
        a, b = hosts.facts(before, side), hosts.facts(after, side)
        for name in dict.fromkeys((*a, *b)) if a and b else ():  # an old worker says nothing
            if a.get(name) != b.get(name):
                yield _differs("machine", f"{name} of {side}'s host", a.get(name), b.get(name))


def _is_producers(of: Sequence[Summary], side: str) -> bool:
    return all("producer" in host["parts"] for host in hosts.of_side(of, side))


def _sides(base: Summary, new: Summary) -> Iterator[Difference]:
    shared = [side for side in base if side in new]
    if not shared:
        yield Difference("side", f"They share no side: {', '.join(base)} and {', '.join(new)}.")
    for side in shared:
        a, b = base[side], new[side]
        if a["pool"] != b["pool"]:
            yield _differs("pool", f"pool of {side}", a["pool"], b["pool"])
        settings = [(of.get("terms") or {}).get("settings") or {} for of in (a, b)]
        for name in sorted(_names(*settings)):
            mine, other = (of.get(name) for of in settings)
            if mine != other:
                yield _differs(name, f"{name} of {side}", mine, other)
        own = [(of.get("terms") or {}).get("versions") or {} for of in (a, b)]
        for name in sorted(_names(*own) - _OURS):
            if own[0].get(name) != own[1].get(name):
                words = f"version of {name} of {side}"
                yield _differs(name, words, own[0].get(name), own[1].get(name))


def _names(base: Summary, new: Summary) -> set[str]:
    return {*base, *new}


def _differs(subject: str, what: str, base: object, new: object) -> Difference:
    a, b = (_ABSENT if each is None else _written(each) for each in (base, new))
    return Difference(subject, f"The {what} was {a}, and is {b}.")


def _written(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
