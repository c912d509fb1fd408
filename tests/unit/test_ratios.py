"""Two sides are compared round by round, where they have enough rounds in common."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pytest

from poolproof.judge.outcome import BUSY
from poolproof.judge.performance.ratios import comparisons

_DRIFT = [1.0, 0.5, 0.8, 2.0, 1.3, 0.6, 0.9, 1.1]


def _side(rates: dict[int, float]) -> dict[str, Any]:
    blocks = list(rates.values())
    throughput = {"median": median(blocks), "blocks": blocks, "rounds": list(rates)}
    return {"concurrency": 4, "workloads": {"square": {"throughput_per_s": throughput}}}


def _compared(a: dict[int, float], b: dict[int, float], **given: Any) -> dict[str, Any]:
    (one,) = comparisons({"a": _side(a), "b": _side(b)}, set(), **given)
    return one


def test_a_round_whose_block_is_missing_on_one_side_is_left_out() -> None:
    a = {number: 1.2 * rate for number, rate in enumerate(_DRIFT) if number != 3}
    b = {number: rate for number, rate in enumerate(_DRIFT) if number != 5}

    one = _compared(a, b)

    assert one["rounds"] == 6
    assert one["blocks"] == [7, 7]
    assert [one[name] for name in ("ratio", "low", "high")] == pytest.approx([1.2] * 3)


@pytest.mark.parametrize("side", ["a", "b"])
def test_what_the_harness_limited_is_not_compared_as_json_has_it_too(side: str) -> None:
    rates = dict(enumerate(_DRIFT))
    for limits in ([("square", side)], json.loads(json.dumps([("square", side)]))):
        assert _compared(rates, rates, limits=limits)["outcome"] == BUSY
    assert _compared(rates, rates, limits=[["sleep:1ms", side]])["outcome"] != BUSY


def test_with_fewer_rounds_in_common_the_blocks_of_each_side_are_taken_by_themselves() -> None:
    one = _compared(
        {number: 1.2 * rate for number, rate in enumerate(_DRIFT[:5])},
        dict(enumerate(_DRIFT[:5])),
    )

    assert one["rounds"] is None
    assert one["verdict"] == "no difference shown"
    assert one["low"] < 1 < one["high"]
