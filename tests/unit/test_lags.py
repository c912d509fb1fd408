"""An event is on the screen with the first frame that is not older than it."""

from __future__ import annotations

import numpy as np
from benchmarks.live import lags_s

_S = 1_000_000_000


def _frames(*frames: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    drawn, newest = np.array(frames).T * _S
    return drawn, newest


def test_an_event_waits_for_the_first_frame_whose_newest_is_not_older() -> None:
    frames = {1: _frames((10.0, 9.5), (11.0, 10.5))}

    lags = lags_s({1: np.array([9.0, 9.5, 9.6]) * _S}, frames, 20 * _S)

    assert lags.tolist() == [1.0, 0.5, 1.4]


def test_what_no_frame_shows_has_waited_until_the_end() -> None:
    events = {1: np.array([10.0]) * _S, 2: np.array([12.0]) * _S}

    assert lags_s(events, {1: _frames((10.5, 9.0))}, 20 * _S).tolist() == [10.0, 8.0]
