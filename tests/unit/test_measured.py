"""What the live page knows of a comparison while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from poolproof.live.measured import Measured
from poolproof.live.panels import so_far

S = 1_000_000_000


def _block(so_far: Measured, first: int, seconds: int, **fields: Any) -> None:
    """Two tasks of a side, one after the other, that take so long together."""
    op = {"side": "a", "workload": "square", "measured": True, "first": first, "count": 2}
    so_far.begin(op | fields)
    side = fields.get("side", "a")
    so_far.started(side, first, 0)
    so_far.ended(side, first, seconds * S // 2)
    so_far.started(side, first + 1, seconds * S // 2)
    so_far.ended(side, first + 1, seconds * S)


def _throughput(measured: Measured, side: str = "a") -> Any:
    pools = measured.summary([side])["pools"]
    return pools[side]["workloads"]["square"]["throughput_per_s"]


def test_the_blocks_of_a_round_are_one_value() -> None:
    measured = Measured()
    _block(measured, 0, 1, round=0)
    _block(measured, 2, 3, round=0)
    _block(measured, 4, 2, round=1)

    assert _throughput(measured) == {"median": 1.0, "blocks": [1.0, 1.0], "rounds": [0, 1]}
    assert measured.count == 3
    assert measured.workloads == ["square"]


def test_a_block_of_no_round_is_a_value_by_itself() -> None:
    measured = Measured()
    _block(measured, 0, 1)
    _block(measured, 2, 2)

    assert _throughput(measured)["blocks"] == [2.0, 1.0]


def test_what_is_not_measured_or_sent_at_a_rate_is_left_out() -> None:
    measured = Measured()
    _block(measured, 0, 1, measured=False)
    _block(measured, 2, 1, warmup=True)
    _block(measured, 4, 1, parameters={"rate_per_s": 5.0})

    assert measured.count == 0
    assert measured.workloads == []


def test_nothing_is_called_before_all_is_measured() -> None:
    measured = Measured()
    for turn in range(8):
        _block(measured, 4 * turn, 1, round=turn)
        _block(measured, 4 * turn + 2, 2, round=turn, side="b")

    summary = measured.summary(["a", "b"])

    (one,) = summary["comparisons"]
    assert one["ratio"] == pytest.approx(2)
    assert (one["outcome"], one["verdict"]) == (None, None)
    assert "<td>not judged yet</td>" in so_far(summary)
    assert "did more" not in so_far(summary)
