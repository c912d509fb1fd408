"""How long after an event a frame that shows it was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_NONE = np.empty(0)


def lags_s(
    events: Mapping[int, np.ndarray],
    frames: Mapping[int, tuple[np.ndarray, np.ndarray]],
    until_ns: float,
) -> np.ndarray:
    """Return the lag of each event, in seconds.

    `events`: lane -> their times in ns. `frames`: lane -> when frames were drawn, and the newest
    event that each of them shows, both in ns and sorted. An event is shown by the first frame whose
    newest is not older than it; one that none shows has waited until the end, `until_ns`.
    """
    found = [
        _lags_ns(times, *frames.get(lane, (_NONE, _NONE)), until_ns)
        for lane, times in events.items()
    ]
    return np.concatenate([_NONE, *found]) / 1e9


def _lags_ns(
    times: np.ndarray, drawn: np.ndarray, newest: np.ndarray, until_ns: float
) -> np.ndarray:
    shown_by = np.searchsorted(newest, times)
    lags: np.ndarray = np.append(drawn, until_ns)[shown_by] - times
    return lags
