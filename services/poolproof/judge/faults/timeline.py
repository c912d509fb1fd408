"""What each slot of a worker ran in the seconds around a fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.run import judging
from poolproof.judge.verdicts.attempts import Attempts, attempts, look_at
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.judge.run import JudgedRun

FORMAT: Final = 1
BEFORE_S: Final = 1.5
AFTER_S: Final = 3.5
#: Between the last that came back and the end of a timeline; and what still can be told apart.
_ROOM_S: Final = 0.5
_MOST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, on the clock of the judge."""

    begin_ns: int
    end_ns: int
    zero_ns: int  #: the fault

    def seconds(self, t_ns: int) -> float:
        """Return a time as seconds since the fault."""
        return (t_ns - self.zero_ns) / 1e9


def timelines(
    case: JudgedRun, crashes: list[dict[str, Any]], before_s: float = BEFORE_S
) -> list[dict[str, Any]]:
    """Return a timeline for each crash of a summary: its slots, and the attempts in each.

    It ends when all that came back had come back, `AFTER_S` after the fault or later.
    A slot is a thread of a process (in a pool of processes each has one that runs tasks). Times are
    seconds since the fault. An attempt's `role` is "poison", "victim" (it ran at the fault and did
    not end) or "innocent"; its `end_s` is null for one that goes on beyond the window, `how` is
    "running", "cut" (its process died, or nobody ended it) or the event that ended it.
    """
    with judging(case.evidence.folder):
        return [_timeline(case, crash, before_s, _until_back_s(crash)) for crash in crashes]


def _until_back_s(crash: dict[str, Any]) -> float:
    known = [each for each in crash["recovery_s"].values() if each is not None]
    return max(AFTER_S, min(_MOST_S, max(known, default=0.0) + _ROOM_S))


def _timeline(
    case: JudgedRun, crash: dict[str, Any], before_s: float, after_s: float
) -> dict[str, Any]:
    at_ns = crash["at_ns"]
    window = Window(at_ns - round(before_s * 1e9), at_ns + round(after_s * 1e9), at_ns)
    scene = _Scene(case, crash["worker"], window)
    names = ("fault", "pool", "worker", "policy", "prefetch")
    return (
        {"format": FORMAT, **{name: crash[name] for name in names if name in crash}}
        | {"before_s": before_s, "after_s": after_s}
        | {"slots": scene.slots(), "marks": scene.marks()}
    )


class _Scene:
    """One worker in one window."""

    def __init__(self, case: JudgedRun, worker: str, window: Window) -> None:
        self._case = case
        self._worker = worker
        self._window = window
        self._ledger = case.evidence.ledger
        self._sources = list(self._ledger.roster.sources.values())
        self._deaths = case.deaths

    def slots(self) -> list[dict[str, Any]]:
        """Return the slots that ran something in the window, the oldest first."""
        rows = self._attempts()
        ends = np.minimum(rows.end_ns, self._deaths[rows.source])
        mine = np.array([source.worker == self._worker for source in self._sources], bool)
        inside = (
            mine[rows.source]
            & (rows.start_ns < self._window.end_ns)
            & (ends > self._window.begin_ns)
        )
        slots: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for index in np.flatnonzero(inside)[np.argsort(rows.start_ns[inside], kind="stable")]:
            key = (int(rows.source[index]), int(rows.tid[index]))
            slots.setdefault(key, []).append(self._attempt(rows, index, int(ends[index])))
        order = sorted(slots, key=lambda key: (self._sources[key[0]].opened_ns, key[1]))
        return [self._slot(key, slots[key]) for key in order]

    def marks(self) -> list[dict[str, Any]]:
        """Return what happened to the worker itself in the window."""
        words = {
            "worker-exit": "the worker ended",
            "worker-up": "the worker was started",
            "worker-ready": "the worker was ready",
        }
        return [
            {"at_s": self._window.seconds(op.t_ns), "what": words[op.name]}
            for op in self._case.evidence.named(*words)
            if op["worker"] == self._worker
            and self._window.begin_ns <= op.t_ns <= self._window.end_ns
        ]

    def _attempts(self) -> Attempts:
        ledger = self._ledger
        ended = (ledger["last_end"] < self._window.begin_ns) & (ledger["last_end"] > 0)
        begun = (ledger["first_start"] > 0) & (ledger["first_start"] < self._window.end_ns)
        return attempts(look_at(self._case.evidence, np.asarray(begun & ~ended)))

    def _slot(self, key: tuple[int, int], found: list[dict[str, Any]]) -> dict[str, Any]:
        source = self._sources[key[0]]
        died_ns = int(self._deaths[source.index])
        died = died_ns if died_ns <= self._window.end_ns else None
        return {
            "pid": source.pid,
            "tid": key[1],
            "died_s": None if died is None else self._window.seconds(died),
            "attempts": found,
        }

    def _attempt(self, rows: Attempts, index: int, end_ns: int) -> dict[str, Any]:
        number = int(rows.number[index])
        start_ns, how = int(rows.start_ns[index]), int(rows.how[index])
        open_ = not how and end_ns == NEVER
        cut = (not how and not open_) or how == Event.ABANDONED
        at_fault = start_ns <= self._window.zero_ns < end_ns
        victim = "victim" if cut and at_fault else "innocent"
        return {
            "number": number,
            "start_s": self._window.seconds(start_ns),
            "end_s": None if end_ns > self._window.end_ns else self._window.seconds(end_ns),
            "how": "running" if open_ else "cut" if cut else Event(how).name.lower(),
            "role": "poison" if self._ledger["poison"][number] else victim,
            "verdict": Verdict(self._case.verdicts[number]).word,
        }
