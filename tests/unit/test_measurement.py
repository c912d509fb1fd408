"""How much is measured, and when it is enough."""

from __future__ import annotations

import pytest

from poolproof.experiments import sweep
from poolproof.experiments.measurement import _open_blocks, _supporting, _turns, shares
from poolproof.infra import sides
from poolproof_workers.errors import UsageError


@pytest.mark.parametrize(
    ("rate_per_s", "seconds", "tasks"),
    [
        (1000.0, 1.5, 1500),  # more than p99 needs
        (700.0, 1.0, 1000),  # a little longer, and there is a p99
        (600.0, 1.0, 600),  # too far away for it
        (70.0, 1.0, 100),
        (5.0, 1.0, 5),
        (0.1, 1.0, 2),  # fewer would have no rate
    ],
)
def test_an_open_loop_is_as_long_as_one_more_percentile_needs_if_that_is_near(
    rate_per_s: float, seconds: float, tasks: int
) -> None:
    assert _supporting(rate_per_s, seconds) == tasks


@pytest.mark.parametrize(
    ("tasks", "blocks"), [(2, 1), (399, 1), (400, 4), (599, 5), (600, 6), (100_000, 6)]
)
def test_an_open_loop_is_several_blocks_if_each_has_enough_tasks(tasks: int, blocks: int) -> None:
    assert _open_blocks(tasks) == blocks


@pytest.mark.parametrize(
    ("seconds", "least_s", "turns", "block_s"),
    [
        (0.1, 0.15, 1, 0.15),  # never shorter
        (0.45, 0.15, 1, 0.35),  # two would not fit with what lies between blocks
        (0.55, 0.15, 2, 0.175),
        (1.0, 0.15, 4, 0.15),
        (100.0, 0.15, 20, 0.15),  # longer rounds average over what more rounds could tell
        (100.0, 0.8, 3, 1.0),  # slow tasks: enough of them for each slot
        (0.5, 0.8, 1, 0.4),  # no time for that
    ],
)
def test_a_side_has_as_many_short_blocks_in_a_round_as_there_is_time_for(
    seconds: float, least_s: float, turns: int, block_s: float
) -> None:
    assert _turns(seconds, least_s) == (turns, pytest.approx(block_s))


def test_a_workload_whose_ratio_scatters_more_gets_more_of_a_round() -> None:
    assert shares([0.25, 0.5, 0.25]) == [0.25, 0.5, 0.25]
    assert shares([0.0, 0.5]) == [0.0, 1.0]
    assert shares([0.3]) == [1.0]


def test_all_workloads_get_the_same_before_their_ratios_have_scattered() -> None:
    assert shares([None, None]) == [0.5, 0.5]
    assert shares([0.2, None]) == [0.5, 0.5]
    assert shares([0.0, 0.0]) == [0.5, 0.5]


def test_a_sweep_makes_a_side_of_each_pool_and_number_of_slots() -> None:
    found = sweep.spread(sides.parse(["prefork:4/prefetch=1", "x=threads:1"]), (1, 8))

    assert {label: side.spec.text for label, side in found.items()} == {
        "prefork:1": "prefork:1",
        "prefork:8": "prefork:8",
        "x:1": "threads:1",
        "x:8": "threads:8",
    }
    assert found["prefork:8"].settings == {"POOLPROOF_PREFETCH": "1"}


def test_a_sweep_of_two_sides_that_would_have_one_name_is_refused() -> None:
    with pytest.raises(UsageError, match="give each its own label"):
        sweep.spread(sides.parse(["threads:2", "threads:4"]), (1, 2))


def test_values_of_a_sweep_are_sorted_and_each_is_there_once() -> None:
    assert sweep.parse("concurrency=8,1,8,2") == (1, 2, 8)
