"""What must be true after a sequence, whatever was done in it. Each check returns complaints."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import psutil

from poolproof.judge.verdicts.verdicts import Verdict

from .account import truths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from poolproof.judge.run import JudgedRun

    from .account import Line, Look
    from .player import Erasure

#: Margins of what must be known in spite of an erasure.
_SHIPPED_NS = 30_000_000_000  # on a busy machine a supervisor was seen 4 s behind
_PROMPT_NS = 500_000_000
_ACKNOWLEDGED_NS = 1_000_000_000

#: Warnings of a summary that only an erasure excuses.
_EXCUSED = {"unknown_tasks", "incomplete", "records_lost"}
#: Warnings that nothing excuses.
_INEXCUSABLE = {"books_unbalanced", "not_closed", "not_done", "unexpected_tasks", "clock_unknown"}


def of_books(summary: dict[str, Any], *, erased: bool) -> list[str]:
    """The books balance, and nothing was missed."""
    books, codes = summary["books"], {each["code"] for each in summary["warnings"]}
    complaints = []
    if not books["balanced"] or sum(books["verdicts"].values()) != books["enqueued"]:
        complaints.append(f"the books do not balance: {books}")
    if books["unexpected"]:
        complaints.append(f"{books['unexpected']} tasks are unexpected")
    bad = codes & (_INEXCUSABLE | (set() if erased else _EXCUSED - {"unknown_tasks"}))
    return complaints + [f"warning: {each}" for each in summary["warnings"] if each["code"] in bad]


def of_verdicts(case: JudgedRun, before: Look, after: Look, erasures: list[Erasure]) -> list[str]:
    """Every verdict is one that the oracle allows; `unknown` only where nobody could know."""
    complaints = []
    could = known_in_spite(after.log, case, erasures)
    rows = range(case.evidence.ledger.size)
    for number, truth in truths(before, after, rows).items():
        verdict = Verdict(int(case.verdicts[number]))
        if verdict in truth.allowed:
            continue
        if verdict is Verdict.UNKNOWN and (truth.moved or (erasures and number not in could)):
            continue
        words = " or ".join(sorted(each.word for each in truth.allowed))
        complaints.append(f"task {number} is {verdict.word}, not {words}: {truth.what}")
    return complaints


def known_in_spite(log: tuple[Line, ...], case: JudgedRun, erasures: list[Erasure]) -> set[int]:
    """Return the tasks that no deleted ring can have anything to say about, with wide margins.

    Either they were sent when the next life was at work already; or they were delivered once, ran
    to their end soon after it, long before that, and no process of the worker ended until their
    message was acknowledged. Of all others a deleted ring may have known more than is left.
    """
    if not erasures:
        return set()
    erased = max(each.t_ns for each in erasures)
    first_erased = min(each.t_ns for each in erasures)
    at_work = min((each.t_ns for each in log if each.t_ns > erased), default=time.monotonic_ns())
    times: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for line in log:
        if line.edge == "before":
            times[line.number][line.what].append(line.t_ns)
    deaths = [op.t_ns for op in case.evidence.named("worker-exit", "process-gone")]
    sent = case.evidence.ledger["enqueued_ns"]
    found = {number for number in range(len(sent)) if sent[number] > at_work}
    for number, what in times.items():
        if set(what) != {"received", "begun", "ended:SUCCESS"}:
            continue
        if any(len(each) != 1 for each in what.values()):
            continue
        (received,), (ended,) = what["received"], what["ended:SUCCESS"]
        acknowledged = ended + _ACKNOWLEDGED_NS
        if (
            ended - received < _PROMPT_NS
            and ended + _SHIPPED_NS < first_erased
            and not any(received < death < acknowledged for death in deaths)
        ):
            found.add(number)
    return found


def of_processes(mark: tuple[str, str]) -> list[str]:
    """No process that carries the mark in its environment is left, but this one."""
    return [f"left running: {process.pid} {_words(process)}" for process in _marked(*mark)]


def of_keys(redis: Redis) -> list[str]:
    """No key is left in Redis."""
    return [f"left in Redis: {key!r}" for key in sorted(redis.scan_iter("*"))]


def of_files(*folders: Path) -> list[str]:
    """Nothing is left in these folders, as far as they are still there."""
    return [f"left on disk: {path}" for folder in folders for path in sorted(folder.rglob("*"))]


def verdict_counts(case: JudgedRun) -> Counter[str]:
    """Return verdict -> how many tasks have it."""
    return Counter(Verdict(int(value)).word for value in case.verdicts)


def _marked(name: str, value: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(name) == value:
                yield process
        except psutil.Error:
            continue


def _words(process: psutil.Process) -> str:
    try:
        return f"{process.status()} {' '.join(process.cmdline())}"
    except psutil.Error as error:
        return str(error)
