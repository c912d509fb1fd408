"""What browsers share: Bokeh draws for each of them in a thread, at the same time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from poolproof.history.file import HistoryWriter
from poolproof.live.show import Show
from poolproof_workers.contract import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCKS = 4_000
_THREADS = 8


@pytest.fixture
def restless() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_browsers_that_draw_at_the_same_time_take_each_entry_once(tmp_path: Path) -> None:
    run = tmp_path / "20260101-000000-00000001"
    run.mkdir()
    sent = {"begin_ns": 0, "interval_ns": 0}
    ops = [
        {"op": "format", "version": 1},
        {"op": "run-begin", "run": run.name, "tag": 1},
        *(
            {"op": "enqueued", "block": n, "side": "a", "first": n, "count": 1} | sent
            for n in range(_BLOCKS)
        ),
    ]
    with HistoryWriter(run / "history.log") as writer:
        writer.append(
            [
                (f"{n}-0", Entry.of_op("producer", "p#1", n, op | {"t_ns": n, "boot": "b"}))
                for n, op in enumerate(ops, 1)
            ]
        )
    show = Show(tmp_path)

    def look() -> None:
        while not show.stage.sides or show.stage.sides["a"].enqueued < _BLOCKS:
            show.advance()

    with ThreadPoolExecutor(_THREADS) as browsers:
        looking = [browsers.submit(look) for _ in range(_THREADS)]

    assert [each.exception() for each in looking] == [None] * _THREADS
    assert show.stage.sides["a"].enqueued == _BLOCKS
