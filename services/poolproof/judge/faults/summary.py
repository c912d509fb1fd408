"""What one fault did: who was running, what it took along, and how long recovery took."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.faults.account import left_undone
from poolproof.judge.faults.detection import noticed
from poolproof.judge.faults.impact import BlastRadii
from poolproof.judge.faults.loss import lost_by
from poolproof.judge.faults.observations import observations
from poolproof.judge.faults.recovery import due, recovery, rescue
from poolproof.judge.faults.visibility_timeout import overdue, waited
from poolproof.judge.faults.window import FaultWindow
from poolproof.judge.performance.blocks import rows, stretch
from poolproof.judge.verdicts.books import present
from poolproof.judge.verdicts.verdicts import Verdict

if TYPE_CHECKING:
    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.faults.impact import BlastRadius
    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run import JudgedRun


def crashes(case: JudgedRun) -> list[dict[str, Any]]:
    """Return a summary of each fault; of a poison task's strikes together, by its first."""
    if not case.strikes:
        return []
    groups: dict[object, list[FaultEvent]] = {}
    for index, strike in enumerate(case.strikes):
        key = ("outside", index) if strike.poison is None else ("inside", strike.poison)
        groups.setdefault(key, []).append(strike)
    told = _Summaries(case)
    blows = [told.blow(group) for group in groups.values()]
    told.divide_others(blows)
    told.divide_rest(blows)
    return [told.summary(blow) for blow in blows]


#: What an innocent task does not become by itself.
_SPOILT: Final = (Verdict.LOST, Verdict.FAILED, Verdict.REPEATED)


@dataclass(slots=True)
class _Impact:
    """The strikes of one fault, the numbers of innocents that they concern, and the side's work."""

    group: list[FaultEvent]
    tolls: list[BlastRadius]
    fed: list[Block]
    interrupted: set[int]
    stranded: set[int]
    waited: set[int]
    hung: set[int]
    others: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    is_last: bool = True  #: of its stretch of work
    hung_around: set[int] = field(default_factory=set)  #: with all blows of its stretch

    @property
    def concerned(self) -> set[int]:
        return self.interrupted | self.stranded | self.waited | self.others


class _Summaries:
    """Says of each fault of a scene what it did."""

    def __init__(self, case: JudgedRun) -> None:
        self._scene = FaultWindow(case.evidence, case.strikes, case.deaths)
        self._verdicts = case.verdicts
        self._tolls = BlastRadii(self._scene, case.ending.holes)
        self._blocks = case.blocks

    def blow(self, group: list[FaultEvent]) -> _Impact:
        """Return what the strikes of a fault took along."""
        tolls = [self._tolls.of(strike) for strike in group]
        fed = stretch(self._blocks, self._scene.worker(group[0]).side, group[0].t_ns)
        interrupted = set().union(*(toll.interrupted for toll in tolls))
        stranded = set().union(*(toll.stranded for toll in tolls)) - interrupted
        told = set().union(*(toll.given_back | toll.unknown for toll in tolls))
        late = self._waited(group[0], fed) - interrupted - stranded - told
        return _Impact(group, tolls, fed, interrupted, stranded, late, self._hung(tolls[0]))

    def divide_others(self, blows: list[_Impact]) -> None:
        """Note the innocents that were lost, failed or ran twice, wherever they were then.

        One that had just ended, and was not acknowledged yet, was neither running nor waiting; nor
        was one that a slot had taken, and whose beginning was not recorded yet. Of several faults
        around the same work it is the first after the task was received that is answerable.
        """
        of_stretch: dict[int, list[_Impact]] = {}
        for blow in blows:
            if blow.fed:
                of_stretch.setdefault(blow.fed[0].index, []).append(blow)
        for together in of_stretch.values():
            explained = set().union(*(blow.concerned for blow in together))
            numbers = self._spoilt(rows(together[0].fed))
            numbers = numbers[~np.isin(numbers, list(explained))]
            begins = [blow.group[0].t_ns for blow in together]
            places = np.searchsorted(begins, self._came_ns(numbers))
            for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
                together[min(place, len(together) - 1)].others.add(number)

    def divide_rest(self, blows: list[_Impact]) -> None:
        """Note what each lost, or made wait: of several that concern a task it is the last."""
        lost: set[int] = set()
        waited: set[int] = set()
        hung: dict[int, set[int]] = {}
        for blow in reversed(blows):
            first = blow.fed[0].index if blow.fed else -1
            blow.is_last = first not in hung
            blow.hung_around = hung.setdefault(first, set())
            blow.hung_around |= blow.hung
            blow.lost = {n for n in blow.concerned if self._verdicts[n] == Verdict.LOST} - lost
            blow.waited -= waited
            lost |= blow.lost
            waited |= blow.waited

    def _waited(self, strike: FaultEvent, fed: list[Block]) -> set[int]:
        """Return the innocents that waited in a struck, living worker until their timeout."""
        if not fed:
            return set()
        numbers = rows(fed)
        part = self._scene.ledger.part(numbers)
        # Not those of which an earlier fault is the reason. What ran twice was begun there after
        # all: with a longer timeout it had not waited for that.
        mine = (part["poison"] == 0) & (part["last_received"] >= strike.t_ns)
        mine &= self._verdicts[numbers] != Verdict.REPEATED
        return waited(self._scene, numbers[mine].tolist(), strike)

    def _spoilt(self, numbers: np.ndarray) -> np.ndarray:
        bad = np.isin(self._verdicts[numbers], _SPOILT)
        return np.asarray(numbers[bad & (self._scene.ledger["poison"][numbers] == 0)])

    def _came_ns(self, numbers: np.ndarray) -> np.ndarray:
        """Return when tasks were first received; of one that was not recorded, when it was sent."""
        part = self._scene.ledger.part(numbers)
        received = part["first_received"]
        return np.where(received == NEVER, part["enqueued_ns"], received)

    def summary(self, blow: _Impact) -> dict[str, Any]:
        """Return the summary of one fault."""
        group, tolls, fed = blow.group, blow.tolls, blow.fed
        first, worker = group[0], self._scene.worker(group[0])
        interrupted, stranded, others = blow.interrupted, blow.stranded, blow.others
        concerned, account = blow.concerned, self._books(fed)
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
            "unknown": len(set().union(*(toll.unknown for toll in tolls))),
            "hung": len(blow.hung),
            "stranded": len(stranded),
            "given_back": len(set().union(*(toll.given_back for toll in tolls))),
            "waited": len(blow.waited),
            "others": len(others),
            "recovered": fates[Verdict.RECOVERED] + fates[Verdict.COMPLETED],
            "lost": len(blow.lost),
            "lost_by": lost_by(
                self._scene,
                worker.side,
                blow.lost,
                worker.visibility_timeout_s,
                early=self._is_early(first),
            ),
            "repeated": fates[Verdict.REPEATED],
            "overdue": len(self._overdue(first, concerned)),
            "fates": {verdict.word: count for verdict, count in sorted(fates.items())},
            "poison": None if first.poison is None else self._word(first.poison),
            "books": account,
            "left": left_undone(account["innocent"], len(blow.hung_around)) if blow.is_last else {},
            "ended": next((block.why for block in reversed(fed) if block.why), ""),
            "noticed": self._noticed(group, tolls),
            "slots_gone": slots_gone,
            "slots_gone_first": tolls[0].slots_gone,
            "lingered_s": self._lingered_s(first, tolls),
            "worker_died": main_died,
            **self._restart(first, tolls[0], slots_gone),
            "rescued": rescue(self._scene, first, tolls[0], blow.waited),
            **self._seen_of(first),
            "due_s": due(self._scene, first, tolls[0]),
            "recovery_s": recovery(self._scene, first, tolls[0], interrupted | stranded, fed),
        }

    def _hung(self, toll: BlastRadius) -> set[int]:
        """Return those that ran on, or seem to, to the end: in a process that hangs."""
        still = toll.running - toll.interrupted
        return {number for number in still if self._verdicts[number] == Verdict.RUNNING}

    def _overdue(self, strike: FaultEvent, concerned: set[int]) -> set[int]:
        """Return those that ran twice because the visibility timeout is short here."""
        twice = (n for n in concerned if self._verdicts[n] == Verdict.REPEATED)
        timeout_s = self._scene.worker(strike).visibility_timeout_s
        return overdue(self._scene, twice, timeout_s, early=self._is_early(strike))

    def _is_early(self, strike: FaultEvent) -> bool:
        policy = self._setting(strike, "POOLPROOF_POLICY", "early")
        return policy == "early" and self._scene.worker(strike).can_ack_early

    def _lingered_s(self, first: FaultEvent, tolls: list[BlastRadius]) -> float | None:
        """Return how long a worker that ended was still there when its last task was over."""
        exits = [toll.exit for toll in tolls if toll.exit is not None]
        if not exits:
            return None
        ran, end = self._scene.attempts, exits[0]
        mine = self._scene.of_worker(ran.source, end["worker"]) & (ran.start_ns <= end.t_ns)
        over_ns = np.minimum(ran.end_ns, self._scene.deaths[ran.source])[mine]
        last_ns = min(end.t_ns, max(first.t_ns, int(over_ns.max(initial=0))))
        return (end.t_ns - last_ns) / 1e9

    def _books(self, fed: list[Block]) -> dict[str, Any]:
        """Return what became of all tasks that the side was fed with around the fault."""
        if not fed:
            return {"enqueued": 0, "innocent": {}, "poison": {}}
        numbers = rows(fed)
        poison = self._scene.ledger["poison"][numbers] > 0
        verdicts = self._verdicts[numbers]
        return {
            "enqueued": len(numbers),
            "innocent": present(verdicts[~poison]),
            "poison": present(verdicts[poison]),
        }

    def _noticed(self, group: list[FaultEvent], tolls: list[BlastRadius]) -> list[str]:
        """Return what Celery said of the poison and of who ran beside it, and who saw an end."""
        seen = self._scene.seen
        poison = {strike.poison for strike in group if strike.poison is not None}
        beside = set().union(*(toll.interrupted for toll in tolls)) - poison
        mine = self._scene.of_worker(seen.source, group[0].worker)
        mine &= seen.t_ns >= group[0].t_ns
        return noticed(
            seen,
            mine & np.isin(seen.number, list(poison)),
            mine & np.isin(seen.number, list(beside)),
            [toll.exit for toll in tolls if toll.exit is not None],
        )

    def _seen_of(self, strike: FaultEvent) -> dict[str, Any]:
        found = (
            None
            if strike.poison is None
            else observations(self._scene.evidence, strike.poison, strike.t_ns)
        )
        return {"observations": None if found is None else asdict(found)}

    def _word(self, number: int) -> str:
        return Verdict(self._verdicts[number]).word

    def _setting(self, strike: FaultEvent, name: str, default: str) -> str:
        known = [
            op["settings"][name]
            for op in self._scene.evidence.named("hello", "worker-up")
            if op["worker"] == strike.worker
            and op.t_ns <= strike.t_ns
            and name in (op.get("settings") or {})
        ]
        return str(known[-1]) if known else default

    def _restart(self, strike: FaultEvent, toll: BlastRadius, slots_gone: int) -> dict[str, Any]:
        """Return who replaced what was gone, and the delay that was set for it."""
        if not slots_gone:
            return {"restarted_by": None, "restart_delay_s": None}
        if toll.exit is None:
            back_ns = self._scene.slot_back(strike, strike.worker)
            by = "pool" if back_ns is not None else "nobody"
            return {"restarted_by": by, "restart_delay_s": None}
        ended = toll.exit["worker"]
        later = self._scene.next("worker-restart", ended, toll.exit.t_ns)
        if later is not None and later.t_ns < strike.until_ns:
            return {"restarted_by": later["by"], "restart_delay_s": later["delay_s"]}
        up = self._scene.next("worker-up", ended, toll.exit.t_ns)
        return {"restarted_by": "nobody" if up is None else "its service", "restart_delay_s": None}
