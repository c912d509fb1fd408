"""What one fault did: who was running, what it took along, and how long recovery took."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge.blocks import blocks, rows, stretch
from poolproof.judge.books import present
from poolproof.judge.notice import noticed
from poolproof.judge.observations import observations
from poolproof.judge.overdue import overdue
from poolproof.judge.recovery import due, recovery
from poolproof.judge.rescue import rescue
from poolproof.judge.scene import Scene
from poolproof.judge.strikes import strikes
from poolproof.judge.toll import Toll, Tolls
from poolproof.judge.verdicts import Verdict

if TYPE_CHECKING:
    from poolproof.judge.blocks import Block
    from poolproof.judge.evidence import Evidence
    from poolproof.judge.strikes import Strike


def crashes(evidence: Evidence, verdicts: np.ndarray) -> list[dict[str, Any]]:
    """Return a summary of each fault; of a poison task's strikes together, by its first."""
    found = strikes(evidence)
    if not found:
        return []
    told = _Summaries(Scene(evidence, found), verdicts)
    groups: dict[object, list[Strike]] = {}
    for index, strike in enumerate(found):
        key = ("outside", index) if strike.poison is None else ("inside", strike.poison)
        groups.setdefault(key, []).append(strike)
    return [told.summary(group) for group in groups.values()]


#: What an innocent task does not become by itself.
_SPOILT: Final = (Verdict.LOST, Verdict.FAILED, Verdict.REPEATED)


class _Summaries:
    """Says of each fault of a scene what it did."""

    def __init__(self, scene: Scene, verdicts: np.ndarray) -> None:
        self._scene = scene
        self._verdicts = verdicts
        self._tolls = Tolls(scene)
        self._blocks = blocks(scene.evidence)

    def summary(self, group: list[Strike]) -> dict[str, Any]:
        first = group[0]
        tolls = [self._tolls.of(strike) for strike in group]
        worker = self._scene.worker(first)
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
            "hung": int(self._hung(tolls[0])),
            "stranded": len(stranded),
            "given_back": len(set().union(*(toll.given_back for toll in tolls))),
            "others": len(others),
            "recovered": fates[Verdict.RECOVERED] + fates[Verdict.COMPLETED],
            "lost": fates[Verdict.LOST],
            "repeated": fates[Verdict.REPEATED],
            "overdue": len(self._overdue(first, concerned)),
            "fates": {verdict.word: count for verdict, count in sorted(fates.items())},
            "poison": None if first.poison is None else self._word(first.poison),
            "books": self._books(fed),
            "ended": next((block.why for block in reversed(fed) if block.why), ""),
            "noticed": self._noticed(group, tolls),
            "slots_gone": slots_gone,
            "worker_died": main_died,
            **self._restart(first, tolls[0], slots_gone),
            "rescued": rescue(self._scene, first, tolls[0]),
            **self._seen_of(first),
            "due_s": due(self._scene, first, tolls[0]),
            "recovery_s": recovery(self._scene, first, tolls[0], interrupted | stranded, fed),
        }

    def _hung(self, toll: Toll) -> int:
        """Return how many ran on, or seem to, to the end: in a process that hangs."""
        still = toll.running - toll.interrupted
        return sum(self._verdicts[number] == Verdict.RUNNING for number in still)

    def _overdue(self, strike: Strike, concerned: set[int]) -> set[int]:
        """Return those that ran twice because the visibility timeout is short here."""
        twice = (n for n in concerned if self._verdicts[n] == Verdict.REPEATED)
        return overdue(self._scene, twice, self._scene.worker(strike).visibility_timeout_s)

    def _others(self, fed: list[Block]) -> set[int]:
        """Return the innocents that were lost, failed or ran twice, wherever they were then.

        One that had just ended, and was not acknowledged yet, was neither running nor waiting; nor
        was one that a slot had taken, and whose beginning was not recorded yet.
        """
        if not fed:
            return set()
        numbers = rows(fed)
        bad = np.isin(self._verdicts[numbers], _SPOILT)
        return set(numbers[bad & (self._scene.ledger["poison"][numbers] == 0)].tolist())

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

    def _noticed(self, group: list[Strike], tolls: list[Toll]) -> list[str]:
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

    def _seen_of(self, strike: Strike) -> dict[str, Any]:
        found = (
            None
            if strike.poison is None
            else observations(self._scene.evidence, strike.poison, strike.t_ns)
        )
        return {"observations": None if found is None else asdict(found)}

    def _word(self, number: int) -> str:
        return Verdict(self._verdicts[number]).word

    def _setting(self, strike: Strike, name: str, default: str) -> str:
        known = [
            op["settings"][name]
            for op in self._scene.evidence.named("hello", "worker-up")
            if op["worker"] == strike.worker
            and op.t_ns <= strike.t_ns
            and name in (op.get("settings") or {})
        ]
        return str(known[-1]) if known else default

    def _restart(self, strike: Strike, toll: Toll, slots_gone: int) -> dict[str, Any]:
        """Return who replaced what was gone, and the delay that was set for it."""
        if not slots_gone:
            return {"restarted_by": None, "restart_delay_s": None}
        if toll.exit is None:
            by = "pool" if self._scene.slot_back(strike) is not None else "nobody"
            return {"restarted_by": by, "restart_delay_s": None}
        later = self._scene.next("worker-restart", strike.worker, toll.exit.t_ns)
        if later is not None and later.t_ns < strike.until_ns:
            return {"restarted_by": later["by"], "restart_delay_s": later["delay_s"]}
        up = self._scene.next("worker-up", strike.worker, toll.exit.t_ns)
        return {"restarted_by": "nobody" if up is None else "its service", "restart_delay_s": None}
