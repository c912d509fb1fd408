"""The square job and its cost."""

from __future__ import annotations

import time

from poolproof_workers.tasks import TASKS, calibrate, spin, square


def test_a_square_is_a_square_whatever_it_costs() -> None:
    assert [square(n) for n in (0, 3, -4, 1 << 40)] == [0, 9, 16, 1 << 80]
    assert square(5, sleep_s=0.001, spins=10) == 25


def test_a_sleeping_square_takes_its_time() -> None:
    begin = time.monotonic()
    square(2, sleep_s=0.05)

    assert time.monotonic() - begin >= 0.05


def test_the_same_spins_are_the_same_work() -> None:
    assert spin(1000) == spin(1000) != spin(1001)


def test_calibration_gives_a_rate_of_this_machine() -> None:
    assert 100 < calibrate() < 10_000_000


def test_the_table_names_every_task() -> None:
    assert dict(TASKS) == {"poolproof.square": square}
