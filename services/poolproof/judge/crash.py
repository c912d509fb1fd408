"""What one fault did: who was running, what it took along, and how long recovery took."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.collect.roster import NEVER
from poolproof.judge.attempts import Attempts, Seen, attempts, deaths, look_at
from poolproof.judge.blocks import blocks, rows, stretch
from poolproof.judge.books import present
from poolproof.judge.notice import noticed
from poolproof.judge.observations import observations
from poolproof.judge.recovery import throughput_back_s
from poolproof.judge.statistics import wilson
from poolproof.judge.verdicts import Verdict
from poolproof_workers.contract import Event, parse_fault_detail
from poolproof_workers.memory_limit import Way

if TYPE_CHECKING:
    from poolproof.judge.blocks import Block
    from poolproof.judge.ending import Ending
    from poolproof.judge.evidence import Evidence, Op

#: How an attempt of an innocent task ends that something else ended: by itself it only succeeds.
_NOT_FINISHED: Final = (0, Event.ABANDONED, Event.FAILED, Event.RETRIED)
#: Faults after which a worker may go on for as long as its tasks do, before it ends.
_SLOW: Final = {"term-worker", "term-group"}
_REACH_NS: Final = 10_000_000_000
_NOTICE_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault at one instant. A poison task that is delivered again strikes again."""

    worker: str
    fault: str
    t_ns: int
    until_ns: int  #: the next strike on the same worker, or NEVER
    poison: int | None  #: number of the task; None for a fault from outside
    way: Way


def strikes(evidence: Evidence) -> list[Strike]:
    """Return all faults that were really done, by time."""
    ledger = evidence.ledger
    inside = [
        (
            record.source.worker,
            ledger.fault_names.get(record.number, "?"),
            record.t_ns,
            record.number,
            Way(parse_fault_detail(record.detail)[1]),
        )
        for record in ledger.fault_records
    ]
    outside = [
        (op["worker"], op["fault"], op.t_ns, None, Way.PLAIN)
        for op in evidence.named("fault")
        if op["applied"]
    ]
    found = []
    for worker in {each[0] for each in inside + outside}:
        of_worker = sorted(
            (each for each in inside + outside if each[0] == worker), key=lambda each: each[2]
        )
        ends = [each[2] for each in of_worker[1:]] + [NEVER]
        found += [
            Strike(worker, fault, t_ns, until_ns, poison, way)
            for (_, fault, t_ns, poison, way), until_ns in zip(of_worker, ends, strict=True)
        ]
    return sorted(found, key=lambda strike: strike.t_ns)


def crashes(evidence: Evidence, ending: Ending, verdicts: np.ndarray) -> list[dict[str, Any]]:
    """Return a summary of each fault; of a poison task's strikes together, by its first."""
    found = strikes(evidence)
    if not found:
        return []
    scene = _Scene(evidence, ending, verdicts, found)
    groups: dict[object, list[Strike]] = {}
    for index, strike in enumerate(found):
        key = ("outside", index) if strike.poison is None else ("inside", strike.poison)
        groups.setdefault(key, []).append(strike)
    return [scene.summary(group) for group in groups.values()]


def not_applicable(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the faults that could not be done to a pool, with the reason; not one is a pass."""
    known = [
        {"pool": op["side"], "fault": op["fault"], "reason": op["reason"]}
        for op in evidence.named("not-applicable")
    ]
    roster = evidence.ledger.roster
    refused = [
        {
            "pool": roster.worker(op["worker"]).side,
            "fault": op["fault"],
            "reason": op["reason"],
        }
        for op in evidence.named("fault")
        if not op["applied"]
    ]
    return known + refused


def crash_totals(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the repeats of each fault together, with 95 % intervals of the shares."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for crash in found:
        groups.setdefault((crash["pool"], crash["fault"], crash["policy"]), []).append(crash)
    totals = []
    for (pool, fault, policy), repeats in groups.items():
        names = ("running", "interrupted", "stranded", "others", "recovered", "lost", "repeated")
        sums = {name: sum(crash[name] for crash in repeats) for name in names}
        affected = sums["interrupted"] + sums["stranded"] + sums["others"]
        totals.append(
            {"pool": pool, "fault": fault, "policy": policy, "crashes": len(repeats)}
            | sums
            | {
                "interrupted_share": wilson(
                    sum(crash["interrupted_first"] for crash in repeats), sums["running"]
                ),
                "lost_share": wilson(sums["lost"], affected),
                "repeated_share": wilson(sums["repeated"], affected),
            }
        )
    return totals


@dataclass(slots=True)
class _Toll:
    """What one strike took along: numbers of innocent tasks."""

    running: set[int]
    interrupted: set[int]
    stranded: set[int]
    taken_ns: list[int]  #: when the stranded ones were taken
    slots_gone: int
    exit: Op | None  #: of the main process


class _Scene:
    """The records around all strikes of a run."""

    def __init__(
        self, evidence: Evidence, ending: Ending, verdicts: np.ndarray, found: list[Strike]
    ) -> None:
        self._evidence = evidence
        self._ledger = evidence.ledger
        self._ending = ending
        self._verdicts = verdicts
        self._seen: Seen = look_at(evidence, self._concerned(found))
        self._attempts: Attempts = attempts(self._seen)
        self._deaths = deaths(evidence)
        self._blocks = blocks(evidence)
        self._sources = list(self._ledger.roster.sources.values())

    def _concerned(self, found: list[Strike]) -> np.ndarray:
        """Return a mask of the tasks that were not yet ended at the first strike on their side."""
        ledger = self._ledger
        wanted = ledger["poison"] > 0
        for strike in found:
            side = self._ledger.roster.worker(strike.worker).side
            if side in ledger.sides:
                mine = ledger["side"] == ledger.sides.index(side)
                wanted |= mine & ((ledger["last_end"] >= strike.t_ns) | (ledger["last_end"] == 0))
        return np.asarray(wanted)

    # --- the toll ---------------------------------------------------------------------------------

    def _toll(self, strike: Strike) -> _Toll:
        running, interrupted = self._running(strike)
        end = self._exit(strike)
        stranded: dict[int, int] = {}
        if end is not None:
            stranded = self._stranded(strike, end, running)
        gone = self._slots_gone(strike, end)
        return _Toll(running, interrupted, set(stranded), list(stranded.values()), gone, end)

    def _running(self, strike: Strike) -> tuple[set[int], set[int]]:
        """Return the innocent tasks that ran at that instant, and those of them that were cut."""
        rows = self._attempts
        died = self._deaths[rows.source]
        here = self._of_worker(rows.source, strike.worker)
        alive = (rows.start_ns <= strike.t_ns) & (np.minimum(rows.end_ns, died) > strike.t_ns)
        innocent = self._ledger["poison"][rows.number] == 0
        running = here & alive & innocent
        ended = np.minimum(rows.end_ns, died)
        cut = np.isin(rows.how, _NOT_FINISHED) & (ended < self._reach_ns(strike))
        return set(rows.number[running].tolist()), set(rows.number[running & cut].tolist())

    def _of_worker(self, source: np.ndarray, worker: str) -> np.ndarray:
        mine = np.array([each.worker == worker for each in self._sources], bool)
        return np.asarray(mine[source]) if len(source) else np.zeros(0, bool)

    def _exit(self, strike: Strike) -> Op | None:
        return next(
            (
                op
                for op in self._evidence.named("worker-exit")
                if op["worker"] == strike.worker
                and strike.t_ns <= op.t_ns < self._reach_ns(strike)
                and not op["asked"]
            ),
            None,
        )

    def _reach_ns(self, strike: Strike) -> int:
        """Return until when a death is the fault's doing: what dies later has another cause."""
        limit_ns = NEVER if strike.fault in _SLOW else strike.t_ns + _REACH_NS
        back_ns = self._slot_back(strike)
        # A death may be noticed a little after the new process has begun a task.
        recovered_ns = NEVER if back_ns is None else back_ns + _NOTICE_NS
        return min(strike.until_ns, limit_ns, recovered_ns)

    def _stranded(self, strike: Strike, end: Op, running: set[int]) -> dict[int, int]:
        """Return prefetched innocents that the death left in `unacked` -> when each was taken."""
        side = self._ledger.roster.worker(strike.worker).side
        readings = [op for op in self._evidence.named("broker") if op["side"] == side]
        after = next((op for op in readings if op.t_ns >= end.t_ns), None)
        found: dict[int, int] = {}
        for number, taken_s in after["unacked"] if after else ():
            taken_ns = self._evidence.clocks.from_unix(taken_s) or 0
            if number >= self._ledger.size or taken_ns > end.t_ns or number in running:
                continue
            innocent = not self._ledger["poison"][number]
            if innocent and not self._has_begun(number, end.t_ns):
                found[number] = taken_ns
        return found

    def _has_begun(self, number: int, until_ns: int) -> bool:
        rows = self._attempts
        return bool(((rows.number == number) & (rows.start_ns <= until_ns)).any())

    def _slots_gone(self, strike: Strike, end: Op | None) -> int:
        worker = self._ledger.roster.worker(strike.worker)
        if end is not None:
            return worker.concurrency
        deaths_ns, reach_ns = self._deaths.tolist(), self._reach_ns(strike)
        return sum(
            strike.t_ns <= deaths_ns[source.index] < reach_ns
            for source in self._sources
            if source.worker == strike.worker
        )

    # --- the summary ------------------------------------------------------------------------------

    def summary(self, group: list[Strike]) -> dict[str, Any]:
        first = group[0]
        tolls = [self._toll(strike) for strike in group]
        worker = self._ledger.roster.worker(first.worker)
        fed = stretch(self._blocks, worker.side, first.t_ns)
        interrupted = set().union(*(toll.interrupted for toll in tolls))
        stranded = set().union(*(toll.stranded for toll in tolls)) - interrupted
        others = self._others(fed) - interrupted - stranded
        concerned = interrupted | stranded | others
        fates = Counter(Verdict(self._verdicts[number]) for number in concerned)
        slots_gone = sum(toll.slots_gone for toll in tolls)
        main_died = any(toll.exit is not None for toll in tolls)
        return {
            "pool": worker.side,
            "worker": first.worker,
            "fault": first.fault,
            "policy": self._setting(first, "POOLPROOF_POLICY", "early"),
            "prefetch": int(self._setting(first, "POOLPROOF_PREFETCH", "4")),
            "way": first.way.name.lower(),
            "strikes": len(group),
            "at_ns": first.t_ns,
            "running": len(tolls[0].running),
            "interrupted": len(interrupted),
            "interrupted_first": len(tolls[0].interrupted),  # of those that `running` counts
            # They ran then and run still, or seem to: in a process that hangs.
            "hung": sum(int(self._verdicts[n]) == Verdict.RUNNING for n in tolls[0].running),
            "stranded": len(stranded),
            "others": len(others),
            "recovered": fates[Verdict.RECOVERED] + fates[Verdict.COMPLETED],
            "lost": fates[Verdict.LOST],
            "repeated": fates[Verdict.REPEATED],
            "fates": {verdict.word: count for verdict, count in sorted(fates.items())},
            "poison": None if first.poison is None else self._word(first.poison),
            "books": self._books(fed),
            "ended": next((block.why for block in reversed(fed) if block.why), ""),
            "noticed": self._noticed(group, tolls),
            "slots_gone": slots_gone,
            "worker_died": main_died,
            **self._restart(first, tolls[0], slots_gone),
            **self._seen_of(first),
            "due_s": self._due(first, tolls[0]),
            "recovery_s": self._recovery(first, tolls[0], interrupted | stranded, fed),
        }

    def _others(self, fed: list[Block]) -> set[int]:
        """Return the innocents that were lost or ran twice, wherever they were at the fault.

        One that had just ended, and was not acknowledged yet, was neither running nor waiting.
        """
        if not fed:
            return set()
        numbers = rows(fed)
        bad = np.isin(self._verdicts[numbers], (Verdict.LOST, Verdict.REPEATED))
        return set(numbers[bad & (self._ledger["poison"][numbers] == 0)].tolist())

    def _books(self, fed: list[Block]) -> dict[str, Any]:
        """Return what became of all tasks that the side was fed with around the fault."""
        if not fed:
            return {"enqueued": 0, "innocent": {}, "poison": {}}
        numbers = rows(fed)
        poison = self._ledger["poison"][numbers] > 0
        verdicts = self._verdicts[numbers]
        return {
            "enqueued": len(numbers),
            "innocent": present(verdicts[~poison]),
            "poison": present(verdicts[poison]),
        }

    def _noticed(self, group: list[Strike], tolls: list[_Toll]) -> list[str]:
        """Return what Celery said of the poison and of who ran beside it, and who saw an end."""
        numbers = {strike.poison for strike in group} | set().union(
            *(toll.interrupted for toll in tolls)
        )
        about = np.isin(self._seen.number, [number for number in numbers if number is not None])
        mine = about & self._of_worker(self._seen.source, group[0].worker)
        return noticed(
            self._seen,
            mine & (self._seen.t_ns >= group[0].t_ns),
            [toll.exit for toll in tolls if toll.exit is not None],
        )

    def _seen_of(self, strike: Strike) -> dict[str, Any]:
        found = (
            None
            if strike.poison is None
            else observations(self._evidence, strike.poison, strike.t_ns)
        )
        return {"observations": None if found is None else asdict(found)}

    def _word(self, number: int) -> str:
        return Verdict(self._verdicts[number]).word

    def _setting(self, strike: Strike, name: str, default: str) -> str:
        known = [
            op["settings"][name]
            for op in self._evidence.named("hello", "worker-up")
            if op["worker"] == strike.worker
            and op.t_ns <= strike.t_ns
            and name in (op.get("settings") or {})
        ]
        return str(known[-1]) if known else default

    def _restart(self, strike: Strike, toll: _Toll, slots_gone: int) -> dict[str, Any]:
        """Return who replaced what was gone, and the delay that was set for it."""
        if not slots_gone:
            return {"restarted_by": None, "restart_delay_s": None}
        if toll.exit is None:
            by = "pool" if self._slot_back(strike) is not None else "nobody"
            return {"restarted_by": by, "restart_delay_s": None}
        later = self._next("worker-restart", strike.worker, toll.exit.t_ns)
        if later is not None and later.t_ns < strike.until_ns:
            return {"restarted_by": later["by"], "restart_delay_s": later["delay_s"]}
        up = self._next("worker-up", strike.worker, toll.exit.t_ns)
        return {"restarted_by": "nobody" if up is None else "its service", "restart_delay_s": None}

    def _next(self, name: str, worker: str, after_ns: int) -> Op | None:
        return next(
            (
                op
                for op in self._evidence.named(name)
                if op["worker"] == worker and op.t_ns >= after_ns
            ),
            None,
        )

    def _due(self, strike: Strike, toll: _Toll) -> dict[str, float] | None:
        """Return between which seconds after the fault the stranded tasks had to come back.

        The first as soon as its visibility timeout is over, the last one sweep after its own.
        """
        hello = [
            op
            for op in self._evidence.named("hello")
            if op["worker"] == strike.worker and op.t_ns <= strike.t_ns
        ]
        if not toll.taken_ns or not hello:
            return None
        timeout_s, sweep_s = hello[-1]["visibility_timeout_s"], hello[-1]["sweep_s"]
        first, last = ((edge(toll.taken_ns) - strike.t_ns) / 1e9 + timeout_s for edge in (min, max))
        return {
            "first": first,
            "last": last + sweep_s,
            "visibility_timeout_s": timeout_s,
            "sweep_s": sweep_s,
        }

    # --- recovery ---------------------------------------------------------------------------------

    def _recovery(
        self, strike: Strike, toll: _Toll, affected: set[int], fed: list[Block]
    ) -> dict[str, float | None]:
        """Return the four times, in seconds since the fault; None: it did not happen or apply."""
        times = {
            "detect": self._detected(strike, toll) if toll.slots_gone else None,
            "slot_back": self._slot_back(strike) if toll.slots_gone else None,
            "redelivered": self._redelivered(toll, affected),
        }
        found: dict[str, float | None] = {
            name: None if when is None else (when - strike.t_ns) / 1e9
            for name, when in times.items()
        }
        slots = self._ledger.roster.worker(strike.worker).concurrency
        return found | {"throughput_back": throughput_back_s(self._ledger, fed, slots, strike.t_ns)}

    def _detected(self, strike: Strike, toll: _Toll) -> int | None:
        """Return when the supervisor saw the exit, or the main process reported the task."""
        reported = self._seen.of(Event.REPORTED, Event.RETRIED) & self._of_worker(
            self._seen.source, strike.worker
        )
        times = self._seen.t_ns[reported]
        times = times[(times >= strike.t_ns) & (times < strike.until_ns)]
        found = times.tolist() + ([toll.exit.t_ns] if toll.exit else [])
        return min(found, default=None)

    def _slot_back(self, strike: Strike) -> int | None:
        """Return when a process that was not there before the fault began a task."""
        rows = self._attempts
        shift = self._evidence.shifts.get(strike.worker, 0)
        new = np.array(
            [
                source.worker == strike.worker and source.opened_ns + shift > strike.t_ns
                for source in self._sources
            ],
            bool,
        )
        starts = rows.start_ns[new[rows.source]] if len(rows.source) else rows.start_ns
        return int(starts.min()) if len(starts) else None

    def _redelivered(self, toll: _Toll, affected: set[int]) -> int | None:
        """Return when the last that came back was begun; None if a stranded one never was."""
        if toll.exit is None or not toll.stranded:
            return None
        rows = self._attempts
        begun: dict[int, int] = {}
        for number, start in zip(rows.number.tolist(), rows.start_ns.tolist(), strict=True):
            if number in affected and start > toll.exit.t_ns:
                begun[number] = min(start, begun.get(number, NEVER))
        return max(begun.values()) if toll.stranded <= begun.keys() else None
