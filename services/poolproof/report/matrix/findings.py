"""The headline findings of a matrix, in words that are made from its cells."""

from __future__ import annotations

from collections import Counter
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.report.figures import percent, seconds
from poolproof.report.matrix.cell import strikes_again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Json: TypeAlias = "Mapping[str, Any]"

#: Keys of a cell that count innocent tasks which a fault did something to.
_HARM: Final = ("interrupted", "hung", "stranded", "given_back", "waited", "lost", "phantom")
_LEFT: Final = ("queued", "stranded", "running", "failed")


def findings(matrix: Json) -> list[str]:
    """Return what the measured cells say, a sentence each; those that say nothing are left out."""
    pools = list(matrix["plan"]["pools"])
    found = []
    for say in (_spared, _lost, _loops):
        where: dict[str, list[tuple[str, int]]] = {}
        for group, cells in _groups(matrix):
            for sentence in say(pools, cells):
                where.setdefault(sentence, []).append(group)
        found += [f"{_under(matrix['plan'], of)}: {said}" for said, of in where.items()]
    measured = [cell for cell in matrix["cells"] if cell["status"] == "measured"]
    for say in (_ended, _shared, _endless, _phantoms, _unnoticed, _recovered):
        found += say(pools, measured)
    return [sentence[0].upper() + sentence[1:] for sentence in found]


def is_harmed(cell: Json) -> bool:
    """Tell whether a fault did anything to innocent tasks, beyond being seen by them."""
    seen = cell["observations"] or {"suffered": 0, "lost_updates": 0}
    twice = cell["repeated"] > cell["overdue"]
    return bool(
        twice
        or any(cell.get(name) for name in _HARM)
        or any(cell["innocent"].get(name) for name in _LEFT)
        or seen["suffered"]
        or seen["lost_updates"]
    )


# --- under one policy -----------------------------------------------------------------------------


def _spared(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    parts = []
    for pool, mine in _by_pool(pools, cells):
        unharmed = sum(not is_harmed(cell) for cell in mine)
        parts.append(f"{unharmed} of {len(mine)} faults on {pool}")
    if parts:
        yield f"no innocent task is harmed by {_and(parts)}."


def _lost(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    parts = []
    for pool, mine in _by_pool(pools, cells):
        by = [cell for cell in mine if cell["lost"]]
        lost = sum(cell["lost"] for cell in by)
        faults = f" (in {len(by)} fault{'s' * (len(by) > 1)})" if by else ""
        parts.append(f"{lost} on {pool}{faults}")
    if parts:
        yield f"innocent tasks lost for good: {_and(parts)}."


def _loops(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    again = [
        f"{pool} ({', '.join(found)})"
        for pool, mine in _by_pool(pools, cells)
        if (found := [cell["fault"] for cell in mine if strikes_again(cell)])
    ]
    if again:
        yield f"the poison task is delivered again and strikes again on {_and(again)}."


# --- under all ------------------------------------------------------------------------------------


def _ended(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    """Say what ends one pool's worker and not the others'; in how many cells, if chance decides."""
    tried = Counter((cell["pool"], cell["fault"]) for cell in cells)
    fatal = Counter((cell["pool"], cell["fault"]) for cell in cells if cell["worker_died"])
    spared = {(pool, fault) for pool, fault in tried if not fatal[pool, fault]}
    for pool in pools:
        parts = [
            fault if count == (of := tried[pool, fault]) else f"{fault} (in {count} of {of})"
            for (where, fault), count in fatal.items()
            if where == pool and any((other, fault) in spared for other in pools)
        ]
        if parts:
            yield f"the whole worker ends on {pool}, and not on every other pool, by {_and(parts)}."


def _shared(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    parts = []
    for pool, mine in _by_pool(pools, [cell for cell in cells if cell["observations"]]):
        seen = [cell["observations"] for cell in mine]
        met = sum(each["saw"] + each["suffered"] for each in seen)
        observers = sum(each["observers"] for each in seen)
        if observers:
            parts.append(f"{percent(met / observers)} of {observers:,} on {pool}")
    if parts:
        yield f"later tasks that met the state which a task had changed: {_and(parts)}."


def _endless(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    once = [cell for cell in cells if not strikes_again(cell)]
    parts = _faults_where(lambda cell: cell["poison"].get("running"), pools, once)
    if parts:
        yield f"the slot of the faulty task never comes back after {_and(parts)}."


def _phantoms(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    once = [cell for cell in cells if not strikes_again(cell)]
    parts = _faults_where(lambda cell: cell["poison"].get("phantom"), pools, once)
    if parts:
        yield f"Celery counts a task as running that no slot runs after {_and(parts)}."


def _unnoticed(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    parts = _faults_where(lambda cell: is_harmed(cell) and not cell["noticed"], pools, cells)
    if parts:
        yield f"innocent tasks are harmed and nobody is told of anything after {_and(parts)}."


def _recovered(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[str]:
    parts = []
    for pool, mine in _by_pool(pools, cells):
        for by in ("pool", "supervisor"):
            of = [cell for cell in mine if cell["restarted_by"] == [by]]
            times = [t for cell in of if (t := cell["recovery_s"]["slot_back"]) is not None]
            if times:
                whole = f"{seconds(median(times))} ({len(times)} cells)"
                parts.append(f"on {pool} by the {by} after {whole}")
    if parts:
        yield f"slots that were gone were back, in the median, {_and(parts)}."


# --- parts ----------------------------------------------------------------------------------------


def _groups(matrix: Json) -> Iterator[tuple[tuple[str, int], list[Json]]]:
    """Yield each policy and prefetch with the cells that were measured under it."""
    for group in product(matrix["plan"]["policies"], matrix["plan"]["prefetches"]):
        yield (
            group,
            [
                cell
                for cell in matrix["cells"]
                if (cell["policy"], cell["prefetch"]) == group and cell["status"] == "measured"
            ],
        )


def _under(plan: Json, groups: Sequence[tuple[str, int]]) -> str:
    """Say under which of a plan's policies and prefetches something is so."""
    policies, prefetches = plan["policies"], plan["prefetches"]
    by_policy = {
        policy: [prefetch for of, prefetch in groups if of == policy] for policy, _ in groups
    }
    (first, *others) = by_policy.values()
    if len(by_policy) == len(policies) > 1 and all(of == first for of in others):
        some = "" if first == prefetches else f", {_prefetch(first)}"
        return f"under every policy{some}"
    return "; ".join(
        policy if of == prefetches else f"{policy}, {_prefetch(of)}"
        for policy, of in by_policy.items()
    )


def _prefetch(multipliers: Sequence[int]) -> str:
    return f"prefetch {_and([str(each) for each in multipliers])}"


def _by_pool(pools: Sequence[str], cells: Sequence[Json]) -> Iterator[tuple[str, list[Json]]]:
    for pool in pools:
        mine = [cell for cell in cells if cell["pool"] == pool]
        if mine:
            yield pool, mine


def _faults_where(
    true_of: Callable[[Json], object], pools: Sequence[str], cells: Sequence[Json]
) -> list[str]:
    """Return for each pool the faults that it is true of under any policy."""
    found = []
    for pool, mine in _by_pool(pools, cells):
        faults = dict.fromkeys(cell["fault"] for cell in mine if true_of(cell))
        if faults:
            found.append(f"{', '.join(faults)} on {pool}")
    return found


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
