"""The oracle's word on a task: what it allows, and what it does not let pass."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from poolproof.judge.verdicts.verdicts import Verdict

from .account import Line, Look, truths

#: A process that lives, and one that does not.
ALIVE: Final = 1 << 21
DEAD: Final = 1 << 22


def log(text: str, pid: int = DEAD, number: int = 0) -> list[Line]:
    """Read `received+ begun+ ended:SUCCESS`: with a plus it was noted before and after."""
    lines = []
    for word in text.split():
        edges = ("before", "after") if word.endswith("+") else ("before",)
        lines += [Line(edge, word.rstrip("+"), number, pid, 1, len(lines)) for edge in edges]
    return lines


def look(lines: list[Line], *, queued: int = 0, unacked: int = 0) -> Look:
    return Look(0, Counter({0: queued}), Counter({0: unacked}), tuple(lines), frozenset({ALIVE}))


def allowed(lines: list[Line], **copies: int) -> set[str]:
    at_rest = look(lines, **copies)
    (truth,) = truths(at_rest, at_rest, [0]).values()
    assert not truth.moved
    return {verdict.word for verdict in truth.allowed}


ONCE: Final = "received+ begun+ ended:SUCCESS+ "


@pytest.mark.parametrize(
    ("what", "pid", "copies", "words"),
    [
        (ONCE, DEAD, {}, {"completed"}),
        (ONCE + ONCE, DEAD, {}, {"repeated"}),
        ("received+ begun+ " + ONCE, DEAD, {}, {"recovered"}),
        (ONCE + "received+ begun+ ended:FAILURE+", DEAD, {}, {"repeated"}),
        ("received+ begun+ ended:FAILURE+ failed+", DEAD, {}, {"failed"}),
        ("received+ begun+ failed+", DEAD, {}, {"failed"}),
        ("received+ begun+", DEAD, {}, {"lost"}),
        ("", DEAD, {}, {"lost"}),
        ("", DEAD, {"queued": 1}, {"queued"}),
        ("received+", DEAD, {"unacked": 1}, {"stranded"}),
        ("received+", ALIVE, {"unacked": 1}, {"queued"}),
        ("received+ begun+", ALIVE, {}, {"running"}),
        ("received+ begun+ ended:NONE+", ALIVE, {"unacked": 1}, {"phantom"}),
        # Killed between two notes: the recorder may have written it down, or not.
        ("received+ begun+ ended:SUCCESS", DEAD, {}, {"completed", "lost"}),
        ("received+ begun " + ONCE, DEAD, {}, {"completed", "recovered"}),
    ],
)
def test_what_is_certain_leaves_one_verdict(
    what: str, pid: int, copies: dict[str, int], words: set[str]
) -> None:
    assert allowed(log(what, pid), **copies) == words


def test_a_task_that_moves_while_the_books_are_closed_may_be_seen_on_its_way() -> None:
    before, after = look([], queued=1), look(log(ONCE))

    (truth,) = truths(before, after, [0]).values()

    assert truth.moved
    assert truth.allowed >= {Verdict.QUEUED, Verdict.COMPLETED}
    assert not truth.allowed & {Verdict.REPEATED, Verdict.RECOVERED, Verdict.FAILED}


def test_a_process_that_came_and_went_while_the_books_were_closed_may_be_seen_to_run() -> None:
    before, after = look([], unacked=1), look(log("received+ begun+ ended:SUCCESS+", DEAD))

    (truth,) = truths(before, after, [0]).values()

    assert truth.allowed >= {Verdict.RUNNING, Verdict.COMPLETED}
