"""A lane shows what its slot ran, and for how long it lived."""

from __future__ import annotations

import numpy as np

from poolproof.live.lanes import COLOURS, COLUMNS, WINDOW_S, Lane, Lanes

_NAMES = list(COLOURS)
_S = 1_000_000_000
_NOW = 1_000 * _S
_COLUMN_S = WINDOW_S / COLUMNS


def _shown(lane: Lane, now_ns: int = _NOW) -> list[str]:
    return [_NAMES[index] for index in lane.columns(now_ns)]


def _seconds(shown: list[str], look: str) -> float:
    return shown.count(look) * _COLUMN_S


def test_a_task_takes_as_many_columns_as_it_took_time() -> None:
    lane = Lane(1, 1, _NOW - 10 * _S)
    lane.start(7, _NOW - 5 * _S, poison=False)
    lane.end(7, _NOW - 3 * _S, "completed")
    shown = _shown(lane)

    assert abs(_seconds(shown, "turn") - 2) <= 2 * _COLUMN_S
    assert abs(_seconds(shown, "idle") - 8) <= 2 * _COLUMN_S
    assert abs(_seconds(shown, "none") - 10) <= 2 * _COLUMN_S


def test_a_task_that_still_runs_reaches_to_now() -> None:
    lane = Lane(1, 1, _NOW - 10 * _S)
    lane.start(7, _NOW - 2 * _S, poison=True)
    shown = _shown(lane)

    assert shown[-1] == "poison"
    assert abs(_seconds(shown, "poison") - 2) <= 2 * _COLUMN_S


def test_what_is_older_than_the_window_is_gone_and_the_ring_shows_nothing_twice() -> None:
    lane = Lane(1, 1, _NOW - 100 * _S)
    for second in range(60):
        lane.start(second, _NOW + second * _S, poison=False)
        lane.end(second, _NOW + second * _S + _S // 2, "completed")
    shown = _shown(lane, _NOW + 60 * _S)

    busy = _seconds(shown, "turn") + _seconds(shown, "innocent")
    assert abs(busy - WINDOW_S / 2) < 0.03 * WINDOW_S
    assert set(_shown(lane, _NOW + 90 * _S)) == {"idle"}


def test_a_slot_that_dies_shows_what_it_cut_and_then_nothing() -> None:
    lane = Lane(1, 1, _NOW - 10 * _S)
    lane.start(7, _NOW - 4 * _S, poison=False)
    cut = lane.die(_NOW - 3 * _S)
    shown = _shown(lane)

    assert [bar.number for bar in cut] == [7]
    assert abs(_seconds(shown, "cut") - 1) <= 2 * _COLUMN_S
    assert shown[-1] == "none"


def test_the_first_lane_is_on_top_and_dead_ones_are_dropped() -> None:
    lanes = Lanes()
    first, second = lanes.get("r1", 1, 1, _NOW - 50 * _S), lanes.get("r2", 2, 2, _NOW - 10 * _S)
    second.start(1, _NOW - _S, poison=False)
    image = lanes.image(_NOW)
    first.die(_NOW - 40 * _S)
    lanes.drop_before(_NOW - 20 * _S)

    assert image.shape == (2, COLUMNS)
    assert image[0, -1] == np.array([COLOURS["turn"]], np.uint8).view(np.uint32)[0, 0]
    assert list(lanes) == [second]
