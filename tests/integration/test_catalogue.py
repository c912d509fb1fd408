"""Every fault on every pool: what it does is written down here, and an independent count agrees."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from poolproof.experiments.crash import Crash
from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.pools import POOLS, PoolSpec

from .crash_bench import Bench, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

Row = tuple[str, str, str]

_AT_ONCE_NS: Final = 5_000_000
SPECS: Final = ("prefork:4", "threads:4", "solo")
NAMES: Final = [PoolSpec.parse(spec).name for spec in SPECS]

#: Those of the broker have a module of their own.
HERE: Final = [fault.name for fault in FAULTS if fault.where != "broker"]
DEATHS: Final = ("segfault", "os-exit", "kill-self", "abort", "stack-overflow", "oom-kill")
#: Innocent tasks look for what these leave behind.
STATE: Final = tuple(fault.name for fault in FAULTS if fault.see)
#: Faults after which the task that does them succeeds.
MILD: Final = ("output-flood", "huge-result", "unpicklable-result", "leak")
PAUSES: Final = ("stop-child", "stop-worker")
ERRORS: Final = ("exception", "unpicklable-error")
#: A task that never ends, unless the pool can end it.
ENDLESS: Final = ("endless-sleep", "python-loop", "c-loop")
ENDED_BY_PREFORK: Final = ("revoke-terminate", "soft-time-limit", "hard-time-limit")
INTERRUPTS: Final = ("system-exit", "keyboard-interrupt")
SHUTDOWNS: Final = ("kill-worker", "term-worker", "quit-worker", "term-group")

#: The verdict on the task that does the fault, on prefork, threads and solo.
POISON: Final[dict[str, Row]] = {
    # Solo acknowledges after the task, always: its poison comes back and kills again.
    **dict.fromkeys(DEATHS, ("failed", "lost", "again")),
    **dict.fromkeys(ERRORS, ("failed", "failed", "failed")),
    **dict.fromkeys((*STATE, *MILD), ("completed", "completed", "completed")),
    **dict.fromkeys(ENDLESS, ("running", "running", "running")),
    **dict.fromkeys(ENDED_BY_PREFORK, ("failed", "running", "running")),
    "memory-error": ("failed", "failed", "failed"),
    # Prefork's child ends; on threads nobody ever hears of the task again, Celery itself believes
    # that it is active. Solo's loop trips over the missing result and the worker ends.
    "system-exit": ("failed", "phantom", "lost"),
    "keyboard-interrupt": ("failed", "phantom", "lost"),
}

#: (fault, pool) -> how many innocent tasks did not end in that attempt, and what became of them.
#: All others: none.
TOLL: Final[dict[tuple[str, str], tuple[range, str]]] = {
    **{(fault, "threads"): (range(3, 4), "lost") for fault in DEATHS},
    # Dying takes them a while, in which others may have ended their tasks and begun none.
    **{(fault, "threads"): (range(4), "lost") for fault in ("stack-overflow", "oom-kill")},
    # Its worker ends by the MemoryError, and may give back what a child has begun meanwhile.
    ("memory-error", "prefork"): (range(1), "repeated"),
    ("kill-child", "prefork"): (range(1, 2), "failed"),
    ("term-child", "prefork"): (range(1, 2), "failed"),
    ("kill-worker", "prefork"): (range(1, 5), "lost"),
    ("kill-worker", "threads"): (range(1, 5), "lost"),
    # Not acknowledged before it ran: it comes back.
    ("kill-worker", "solo"): (range(2), "recovered"),
    # A cold shutdown ends prefork's children; threads it cannot end, so they end their tasks.
    ("quit-worker", "prefork"): (range(1, 5), "lost"),
    # Celery's signal handler raises NotImplementedError into the task that solo runs.
    ("quit-worker", "solo"): (range(2), "failed"),
    # The children get the signal too, and the main process waits and reports.
    ("term-group", "prefork"): (range(1, 5), "failed"),
}

#: (fault, pool) after which the main process ended: Celery raises a task's MemoryError there again.
ENDS_WORKER: Final = {
    *((fault, pool) for fault in DEATHS for pool in ("threads", "solo")),
    *((fault, pool) for fault in SHUTDOWNS for pool in NAMES),
    ("memory-error", "prefork"),
    ("memory-error", "solo"),
    ("system-exit", "solo"),
    ("keyboard-interrupt", "solo"),
}

#: (fault, pool) after which the worker does nothing any more.
HANGS: Final = {
    ("c-loop", "threads"),
    *((fault, "solo") for fault in (*ENDLESS, *ENDED_BY_PREFORK)),
}

#: What is a thread's and not a process's, or is only met by chance.
PARTLY: Final = {"decimal-context", "counter", "counter-call", "counter-lock"}

#: A process without file descriptors fails whoever needs one next, whatever that looks for.
GREEDY: Final = "fds-exhausted"
GENTLE: Final = (*(name for name in STATE if name != GREEDY), *ERRORS, *PAUSES, *MILD)
#: Faults that leave the worker fit for the next are played in one run.
SESSIONS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "prefork": (
        GENTLE,
        (GREEDY,),
        (*DEATHS, *INTERRUPTS, "kill-child", "term-child"),
        ("memory-error", *SHUTDOWNS),
        ("revoke-terminate", *ENDLESS),
        ("soft-time-limit",),
        ("hard-time-limit",),
    ),
    "threads": (
        GENTLE,
        (GREEDY,),
        ("kill-child", "term-child", "memory-error", *DEATHS, *SHUTDOWNS),
        (*INTERRUPTS, "revoke-terminate"),
        ("endless-sleep", "soft-time-limit", "hard-time-limit"),
        ("python-loop",),
        ("c-loop",),
    ),
    "solo": (
        GENTLE,
        (GREEDY,),
        ("kill-child", "term-child", "memory-error", *INTERRUPTS, *SHUTDOWNS),
        *((fault,) for fault in (*DEATHS, *ENDLESS, *ENDED_BY_PREFORK)),
    ),
}

SMALL: Final = Crash(
    rounds=8, task_s=0.1, prefetch=1, visibility_timeout_s=2.0, deadline_s=60.0, retry_delay_s=0.5
)
#: Where nothing is stranded. A worker that is stopped, or short of a slot, for longer than the
#: visibility timeout puts back what it has reserved itself, and runs it twice.
UNHURRIED: Final = replace(SMALL, visibility_timeout_s=15.0)


#: The first test that asks for a session waits for all of it.
pytestmark = pytest.mark.timeout(900)


def _cases() -> Iterator[ParameterSet]:
    """Every fault on every pool, together with others and in a run of its own."""
    for spec in SPECS:
        sessions = SESSIONS[PoolSpec.parse(spec).name]
        for session in sessions:
            marks = pytest.mark.long if spec == "solo" and session[1:] == () else ()
            for fault in session:
                name = f"{spec}-{fault}@@{spec} with {session[0]}"
                yield pytest.param(spec, fault, session, marks=marks, id=name)
        for fault in (name for name in HERE if (name,) not in sessions):
            yield pytest.param(
                spec, fault, (fault,), marks=pytest.mark.long, id=f"{spec}-{fault}-alone"
            )


class Played:
    """Plays each session once, when one of its faults is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._outcomes: dict[tuple[str, ...], Outcome] = {}

    def outcome(self, spec: str, session: tuple[str, ...]) -> Outcome:
        if (spec, *session) not in self._outcomes:
            self._outcomes[spec, *session] = self._play(spec, session)
        return self._outcomes[spec, *session]

    def _play(self, spec: str, session: tuple[str, ...]) -> Outcome:
        pool = PoolSpec.parse(spec).name
        waits = any((name, pool) in ENDS_WORKER or find(name)[1].may_hang for name in session)
        crashes = [replace(SMALL if waits else UNHURRIED, fault=name) for name in session]
        with ExitStack() as stack:
            server = stack.enter_context(RedisServer.start())
            redis = stack.enter_context(connect(server.url))
            return Bench(server, redis, self.folder).crash(spec, *crashes)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
        yield Played(tmp_path_factory.mktemp("catalogue"))


@pytest.mark.parametrize("pool", NAMES)
def test_every_fault_is_in_one_session_of_every_pool(pool: str) -> None:
    assert sorted(name for session in SESSIONS[pool] for name in session) == sorted(HERE)


@pytest.mark.parametrize(("spec", "fault", "session"), list(_cases()))
def test_a_fault_does_what_is_written_here(
    played: Played, spec: str, fault: str, session: tuple[str, ...]
) -> None:
    outcome = played.outcome(spec, session)
    pool = PoolSpec.parse(spec).name

    if reason := find(fault)[1].why_not(POOLS[pool]):
        _check_not_done(outcome, spec, fault, reason)
        return
    (crash,) = (each for each in outcome.summary["crashes"] if each["fault"] == fault)
    assert outcome.summary["books"]["balanced"]
    numbers = outcome.numbers(fault)
    assert numbers
    assert outcome.contradictions(numbers) == []
    assert crash["worker_died"] == ((fault, pool) in ENDS_WORKER)
    _check_poison(crash, fault, pool)
    _check_innocent(crash, fault, pool, at_once=_ended_at_once(outcome, numbers, crash["at_ns"]))
    _check_sights(crash, fault, pool)


def _check_not_done(outcome: Outcome, spec: str, fault: str, reason: str) -> None:
    assert {"pool": spec, "fault": fault, "reason": reason} in outcome.summary["not_applicable"]
    assert all(crash["fault"] != fault for crash in outcome.summary["crashes"])
    assert outcome.numbers(fault) == []


def _check_poison(crash: dict[str, Any], fault: str, pool: str) -> None:
    if find(fault)[1].blow:
        assert crash["poison"] is None
        return
    expected = POISON[fault][NAMES.index(pool)]
    if expected == "again":
        assert crash["strikes"] >= 2
        assert crash["poison"] in {"queued", "stranded", "running"}
    else:
        assert crash["strikes"] == 1
        assert crash["poison"] == expected


def _ended_at_once(outcome: Outcome, numbers: list[int], at_ns: int) -> bool:
    """Tell whether a task ended just as the fault was done: then it was not cut."""
    after_ns = outcome.case.evidence.ledger["last_end"][numbers] - at_ns
    return bool(((after_ns >= 0) & (after_ns < _AT_ONCE_NS)).any())


def _check_innocent(crash: dict[str, Any], fault: str, pool: str, *, at_once: bool) -> None:
    counts, fate = TOLL.get((fault, pool), (range(1), "lost"))
    innocent = crash["books"]["innocent"]
    if (fault, pool) in HANGS or POISON.get(fault, ("",) * 3)[NAMES.index(pool)] == "again":
        assert set(innocent) <= {"completed", "queued", "stranded", "running", "recovered"}
        assert crash["lost"] == crash["interrupted"] == 0
        assert crash["hung"] == (crash["running"] if pool == "threads" else 0)
        return
    # On a slow machine a slot may have been between two tasks: nothing that did not run is cut.
    least = 0 if at_once else min(counts.start, crash["running"])
    assert crash["interrupted"] in range(least, counts.stop)
    others = Counter(innocent)
    del others["completed"]
    if fate == "lost":
        # Acknowledging early means soon after the beginning: what was quicker comes back.
        others["lost"] += others.pop("recovered", 0)
    if (fault, pool) == ("kill-worker", "solo"):
        # Between two tasks: what had just ended runs again, what was on its way to it is lost.
        others[fate] += others.pop("repeated", 0) + others.pop("lost", 0)
    # What a slot had taken, and was about to begin, shares its fate and was not running yet.
    assert crash["others"] < 4
    assert +others == +Counter({fate: crash["interrupted"] + crash["others"]})
    assert crash["hung"] == 0


def _check_sights(crash: dict[str, Any], fault: str, pool: str) -> None:
    """In a pool of processes one of four meets the state, in one process all do."""
    seen = crash["observations"]
    if not find(fault)[1].see:
        assert seen is None
        return
    met = seen["saw"] + seen["suffered"]
    if fault.startswith("counter"):
        assert seen["updates"] > 0
        assert seen["lost_updates"] == 0 or (fault, pool) == ("counter-call", "threads")
        assert pool == "threads" or met == 0
    elif pool == "solo" or (pool == "threads" and fault not in PARTLY):
        # Of those that ran at that instant some had looked for the last time, and just not ended.
        assert met > 0
        assert seen["observers"] - met < PoolSpec.parse(crash["pool"]).concurrency
    else:
        assert 0 < met < seen["observers"] / 2
