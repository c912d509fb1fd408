"""What else went on on the hosts while it was measured: stolen CPU, swapping, throttling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.outcome import MOST_TAKEN, taken_of, worst
from poolproof.judge.performance.blocks import span_ns
from poolproof.judge.performance.counter_series import CounterSeries
from poolproof.judge.performance.harness import own_meters
from poolproof.judge.warnings import percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.judge.run import JudgedRun
    from poolproof.judge.run_data import Op

Spans = list[tuple[int, int]]

#: A counter that was read once tells nothing.
_READINGS: Final = 2
#: Shares from which a figure is not to be trusted blindly.
_STEAL: Final = 0.02
_THROTTLED: Final = 0.02
#: Pages that a quiet machine may move in and out of swap meanwhile: 4 MB.
_SWAPPED: Final = 1_000


_COUNTERS: Final = ("cpu_s", "idle_s", "steal_s", "swapped_pages", "throttled", "periods")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a worker told of its host."""

    meters: dict[str, CounterSeries]  #: counter of the host -> its readings
    load: float | None  #: the highest load average

    @classmethod
    def by(cls, ops: Iterable[Op]) -> _Told:
        host = [(op.t_ns, op["host"]) for op in ops if op.get("host")]
        meters = {
            name: CounterSeries.of((t_ns, of.get(name)) for t_ns, of in host) for name in _COUNTERS
        }
        loads = [of["load"] for _, of in host if of.get("load") is not None]
        return cls(meters, max(loads, default=None))


@dataclass(frozen=True, slots=True)
class Hosts:
    """What workers told of their hosts, and what a run's own processes took there."""

    told: dict[str, _Told]  #: by worker
    #: What -> the CPU time of its processes, of all of the run; None: on several hosts.
    ours: dict[str, list[CounterSeries]] | None

    @classmethod
    def of(cls, case: JudgedRun) -> Hosts:
        """Read it from a run."""
        told = case.evidence.named("sample", "effort")
        workers = case.evidence.ledger.roster.workers
        by_worker = {name: [op for op in told if op["worker"] == name] for name in workers}
        ours = None
        if len(set(case.evidence.clocks.boots.values())) == 1:
            workers_s = [
                CounterSeries.of((op.t_ns, op["cpu_s"]) for op in of) for of in by_worker.values()
            ]
            ours = {"worker": workers_s, **own_meters(case)}
        return cls({name: _Told.by(of) for name, of in by_worker.items()}, ours)

    def during(self, worker: str, spans: Spans) -> dict[str, Any]:
        """Return what a worker's host told of some spans of time, which must not be none."""
        return _of_host(self.told[worker], spans, self.ours)

    def taken_share(self, workers: Iterable[str], spans: Spans) -> float | None:
        """Return the share of its CPU time that others took, of the host where it was most.

        Others are other programmes, where all of the run is on one host, and other guests. None
        where neither is told, or nothing is that was read before and after a span.
        """
        found = []
        for worker in workers:
            read = self._read(worker, spans)
            around = self.during(worker, read) if read else {}
            found.append(taken_of(around.get("others_share"), around.get("steal_share")))
        return worst(found)

    def _read(self, worker: str, spans: Spans) -> Spans:
        """Return the spans before and after which all was read: a run may have ended early."""
        ours = chain.from_iterable((self.ours or {}).values())
        all_of_host = self.told[worker].meters["cpu_s"]
        meters = [all_of_host, *(meter for meter in ours if len(meter.t_ns) >= _READINGS)]
        return [span for span in spans if all(meter.covers(span) for meter in meters)]


def surroundings(case: JudgedRun, hosts: Hosts) -> dict[str, dict[str, Any]]:
    """Return worker -> what its host told of the time in which measured tasks ran, on any side.

    Of all its cores' time `steal_share`, `busy_share`, and `others_share`: what is neither idle nor
    stolen nor of this run, only where all of it is on one host, and of the measured time around
    which all that takes was read; where it is None, `others_unknown` says why. `swapped_pages`,
    `throttled_share` of the periods of the cgroup's CPU limit, and `load`, the highest load
    average. None where the host does not tell.
    """
    spans = [span_ns(case.evidence.ledger, block) for block in case.blocks if block.measured]
    return {name: hosts.during(name, spans) for name in hosts.told if spans}


def disturbed(found: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (code of a warning, what it is about), each once however many workers saw it."""
    codes: dict[str, str] = {}
    for of in found.values():
        if (steal := of["steal_share"] or 0.0) > _STEAL:
            codes.setdefault("cpu_steal", percent(steal))
        if (others := of["others_share"] or 0.0) > MOST_TAKEN:
            codes.setdefault("busy_host", percent(others))
        if (pages := of["swapped_pages"] or 0) > _SWAPPED:
            codes.setdefault("swapping", f"{pages:,.0f}")
    slow = [name for name, of in found.items() if (of["throttled_share"] or 0.0) > _THROTTLED]
    return [*codes.items(), *([("throttled", " and ".join(slow))] if slow else [])]


def _of_host(
    told: _Told, spans: Spans, ours: dict[str, list[CounterSeries]] | None
) -> dict[str, Any]:
    grown = {name: meter.grown(spans) for name, meter in told.meters.items()}
    all_s, idle_s = grown["cpu_s"], grown["idle_s"]
    host = [told.meters[name] for name in ("cpu_s", "idle_s", "steal_s")]
    return {
        "steal_share": _share(grown["steal_s"], all_s),
        **_others(host, spans, ours),
        "busy_share": None if idle_s is None else _share((all_s or 0.0) - idle_s, all_s),
        "swapped_pages": grown["swapped_pages"],
        "throttled_share": _share(grown["throttled"], grown["periods"]),
        "load": told.load,
    }


def _others(
    host: list[CounterSeries], spans: Spans, ours: dict[str, list[CounterSeries]] | None
) -> dict[str, float | str | None]:
    """Return the share of others, or why it is not known. `host`: all, idle and stolen time."""
    read = [*host[:2], *chain.from_iterable((ours or {}).values())]
    around = [span for span in spans if all(meter.covers(span) for meter in read)]
    if ours is None or not around:
        return {"others_share": None, "others_unknown": _why_unknown(host, ours)}
    all_s, idle_s, *ours_s = (meter.grown(around) or 0.0 for meter in read)
    others_s = max(0.0, all_s - idle_s - (host[2].grown(around) or 0.0) - sum(ours_s))
    return {"others_share": _share(others_s, all_s), "others_unknown": None}


def _why_unknown(host: list[CounterSeries], ours: dict[str, list[CounterSeries]] | None) -> str:
    if ours is None:
        return "the run is on several hosts"
    if any(len(meter.t_ns) < _READINGS for meter in host[:2]):
        return "the host does not tell"
    silent = [what for what, of in ours.items() if any(len(m.t_ns) < _READINGS for m in of)]
    if silent:
        return f"what the {' and the '.join(silent)} took was not read"
    return "it was not read before and after any measured work"


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
