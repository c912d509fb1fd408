"""What a fault leaves in its process is seen there, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.faults.shared_state import SIGHT_BITS, TURNS, Counter, Sight, join

STATE = [fault.name for fault in FAULTS if fault.see and fault.name not in TURNS]
#: A process of its own: what is left there must not stay with the other tests.
SCRIPT = """
import sys
from poolproof_workers.faults.catalogue import find
fault = find(sys.argv[1])[1]
before = fault.see()
fault.do()
print(int(before), int(fault.see()))
"""


@pytest.mark.parametrize("fault", STATE)
def test_what_a_task_leaves_is_seen_after_it_and_not_before(fault: str) -> None:
    # Its standard output is what one of the faults closes: it answers on standard error.
    script = SCRIPT.replace("fault.see()))", "fault.see()), file=sys.stderr)")
    done = subprocess.run(
        [sys.executable, "-c", script, fault],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )

    before, after = map(int, done.stderr.split())
    assert before == Sight.UNTOUCHED
    assert after in {Sight.SAW, Sight.SUFFERED}


def _add(counter: Counter, by: int) -> None:
    counter.value += by


def test_a_counter_that_lost_nothing_says_so() -> None:
    counter = Counter("counter")

    assert not counter.begin()
    _add(counter, counter.turns)
    assert counter.end() == 0


def test_what_a_counter_lost_is_told_when_nobody_adds_any_more() -> None:
    counter = Counter("counter")

    assert not counter.begin()
    assert counter.begin()
    _add(counter, 2 * counter.turns - 7)

    assert counter.end() == 0
    assert counter.end() == 7
    # And then from the beginning.
    counter.begin()
    _add(counter, counter.turns)
    assert counter.end() == 0


def test_additions_under_a_lock_are_never_lost() -> None:
    found: list[int] = []
    (fault,) = (fault for fault in FAULTS if fault.name == "counter-lock")
    see = fault.see
    assert see is not None
    threads = [threading.Thread(target=lambda: found.append(see())) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [each >> SIGHT_BITS for each in found] == [0, 0, 0, 0]


def test_two_looks_are_the_worse_sight_and_all_that_was_lost() -> None:
    first, second = Sight.SUFFERED | 3 << SIGHT_BITS, Sight.SAW | 4 << SIGHT_BITS

    assert join(first, second) == Sight.SUFFERED | 7 << SIGHT_BITS
    assert join(Sight.UNTOUCHED, Sight.SAW) == Sight.SAW
