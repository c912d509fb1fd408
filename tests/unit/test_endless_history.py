"""The run that a live page is measured with is one that the page understands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.endless_history import SIDES, Stream

from poolproof.live.follow import Following
from poolproof.live.side import State
from poolproof.live.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path


def test_its_books_balance_and_its_events_are_those_of_the_lanes(tmp_path: Path) -> None:
    deadline = time.monotonic() + 30
    with Stream(tmp_path, 2_000) as stream:
        while stream.tasks < 1_000 and time.monotonic() < deadline:
            time.sleep(0.01)
    (folder,) = tmp_path.iterdir()
    following, stage = Following(folder), Stage()
    while entries := following.take():
        for entry in entries:
            stage.take(entry)
    newest = {tid: at for side in stage.sides.values() for tid, at in side.lanes.newest()}

    assert sorted(stage.sides) == sorted(SIDES)
    completed = sum(side.counts[State.COMPLETED] for side in stage.sides.values())
    assert completed == sum(side.enqueued for side in stage.sides.values()) == stream.tasks
    assert {tid: times[-1] / 1e9 for tid, times in stream.events().items()} == newest
