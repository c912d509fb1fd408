"""What reads a run's history does no more for each task the more tasks there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from benchmarks.long_history import Soak

from poolproof.collect.progress import progress
from poolproof.history.file import FILE_NAME, read
from poolproof.history.recording import Recording
from poolproof.judge.faults.events import strikes
from poolproof.judge.faults.window import FaultWindow
from poolproof.judge.run import decide
from poolproof.judge.run_data import gather
from poolproof.judge.summary import summary_of
from poolproof.judge.verdicts.attempts import deaths
from poolproof.live.follow import Following
from poolproof.live.stage import Stage
from tests.unit.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMES = 10
#: By so much more than the tasks may the work grow: it is counted, and is the same every time.
MOST = 1.15 * TIMES
#: A function that grows by more is let pass if what is too much is less than this of all lines.
LITTLE = 0.01
#: Entries that a collector takes between two words on its progress; a page, between two frames.
IN_A_TURN = 32


def _ledger(folder: Path) -> Work:
    with Work() as work:
        gather(folder)
    return work


def _judge(folder: Path) -> Work:
    evidence = gather(folder)
    with Work() as work:
        summary_of(decide(evidence))
    return work


def _collector(folder: Path) -> Work:
    recording = Recording(folder / "collected")
    with Work() as work:
        for turn, (identifier, entry) in enumerate(read(folder / FILE_NAME)):
            recording.take(identifier, entry)
            if turn % IN_A_TURN == 0:
                recording.save()
                progress(recording)
    recording.close()
    return work


def _page(folder: Path) -> Work:
    following, stage = Following(folder), Stage()
    with Work() as work:
        while entries := following.take():
            for turn, entry in enumerate(entries):
                stage.take(entry)
                if turn % IN_A_TURN == 0:
                    stage.forget_before(stage.news_ns)
    return work


# As few as show it. Blocks, and with them samples and deaths, are as many as would be in millions.
@pytest.mark.parametrize(
    ("of", "tasks", "block"),
    [(_ledger, 10_000, 250), (_judge, 20_000, 500), (_collector, 1_000, 50), (_page, 500, 50)],
)
def test_ten_times_the_tasks_are_ten_times_the_work(
    tmp_path: Path, of: Callable[[Path], Work], tasks: int, block: int
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    Soak(small, tasks, block).write()
    Soak(large, TIMES * tasks, block).write()

    few, many = of(small), of(large)

    assert _too_often(few, many) == {}
    assert many.lines.total() < MOST * few.lines.total()
    assert many.allocated < MOST * few.allocated


def test_however_often_a_side_was_struck_all_tasks_are_looked_through_once(tmp_path: Path) -> None:
    Soak(tmp_path, 20_000, 500).write()
    evidence = gather(tmp_path)
    found = strikes(evidence)
    assert found

    with Work() as once:
        FaultWindow(evidence, found, deaths(evidence))
    with Work() as often:
        FaultWindow(evidence, 100 * found, deaths(evidence))

    assert often.allocated < 2 * once.allocated


def _too_often(few: Work, many: Work) -> dict[str, str]:
    """Return function -> the lines that it ran, of those that are to blame."""
    least = LITTLE * many.lines.total()
    return {
        name: f"{few.lines[name]:,} -> {lines:,} of {many.lines.total():,}"
        for name, lines in many.lines.items()
        if lines - MOST * few.lines[name] > least
    }
