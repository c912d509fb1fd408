"""What people see of a run's progress."""

from __future__ import annotations

import io
import re

from rich.console import Console

from poolproof.cli.console import ConsoleListener


class Clock:
    """Goes on by so much whenever it is told."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def _seen(*, terminal: bool, after: list[tuple[str, str | tuple[int, int]]]) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    with ConsoleListener(console) as watching:
        for what, told in after:
            if isinstance(told, tuple):
                watching.step(*told)
            else:
                getattr(watching, what)(told)
    return _plain(out)


def _plain(out: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def test_a_new_phase_does_not_take_back_how_far_the_run_is() -> None:
    after: list[tuple[str, str | tuple[int, int]]] = [("step", (30, 60)), ("phase", "next round")]

    last = _seen(terminal=True, after=after).rstrip().splitlines()[-1]

    assert "next round" in last
    assert "50%" in last


def test_the_time_left_is_told_from_what_was_done_so_far() -> None:
    out, clock = io.StringIO(), Clock()
    with ConsoleListener(Console(file=out, force_terminal=True, width=120), clock) as watching:
        watching.step(10, 40)  # it goes on with what an earlier one has done
        clock.now_s += 60
        watching.step(20, 40)
        clock.now_s += 5

    assert "0:01:55 left" in _plain(out)


def test_no_share_is_shown_while_nobody_knows_how_far_it_is() -> None:
    after: list[tuple[str, str | tuple[int, int]]] = [("step", (0, 0)), ("phase", "starting")]

    assert "%" not in _seen(terminal=True, after=after)


def test_a_note_stays_when_the_phase_is_over() -> None:
    after: list[tuple[str, str | tuple[int, int]]] = [("note", "too long"), ("phase", "a round")]

    assert "too long\n" in _seen(terminal=True, after=after).replace("\r", "")
    assert _seen(terminal=False, after=after) == "too long\na round\n"
