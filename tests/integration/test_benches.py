"""Every bench of a part really runs, on very little, and has the figures that people compare."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import pytest
from benchmarks.bounds import BOUNDS

from tests.cases import rest_long

#: Bench -> what makes it small, and its figures. Their values mean nothing here.
_SMALL: Final[dict[str, tuple[dict[str, Any], set[str]]]] = {
    "enqueue": (
        {"_MESSAGES": 1_000, "_CALLS": 10},
        {
            *("ratio_to_apply_async", "ratio_to_bare_lpush", "ratio_to_bare_singles"),
            *("spliced_per_s", "bare_per_s", "apply_async_per_s", "bare_singles_per_s"),
            "message_bytes",
        },
    ),
    "recorder": (
        {"_TASKS": 20, "_CYCLES": 1, "_STARTS": 2},
        {
            *("cpu_ratio_to_bare", "cpu_ratio_low", "cpu_ratio_high", "throughput_ratio_to_bare"),
            *("events_cpu_ratio_to_bare", "events_throughput_ratio_to_bare"),
            *("again_cpu_ratio_to_bare", "again_throughput_ratio_to_bare"),
            *("bare_cpu_us_per_task", "bare_tasks_per_s"),
        },
    ),
    "collector": (
        {"_TASKS": 4_000, "_RECORDS": 12_000},
        {"records_per_s", "bytes_per_task"},
    ),
    "pace": (
        {"_SECONDS": 16.0},
        {
            *("slow_share", "scatter_1_turns", "scatter_2_turns", "scatter_4_turns"),
            *("scatter_7_turns", "scatter_20_turns", "twenty_turns_to_one"),
        },
    ),
    "verdict": (
        {"_SUBJECTS": (("threads:2", "sleep:20ms", 4.0),), "_OUTSIDE_TASKS": 20},
        {
            *("equal_runs", "equal_called_different", "equal_called_different_share"),
            *("equal_ratio_furthest_from_1", "planted_runs", "planted_found"),
            *("planted_found_share", "planted_ratio", "not_comparable"),
            *("outside_blocks", "outside_deviation", "outside_worst_block"),
        },
    ),
}


@pytest.mark.parametrize("name", rest_long(*_SMALL))
def test_a_bench_runs_and_has_its_figures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    constants, figures = _SMALL[name]
    module = import_module(f"benchmarks.{name}")
    for constant, value in constants.items():
        monkeypatch.setattr(module, constant, value)

    result = module.measure(1)

    assert result["bench"] == name
    assert set(result["figures"]) == figures
    assert BOUNDS.keys() & figures
    assert all(isinstance(value, int | float) for value in result["figures"].values())
    assert result["rounds"]
