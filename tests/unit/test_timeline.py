"""A timeline shows what each slot ran around a fault, and whom it took along."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from poolproof.judge.faults.timeline import AFTER_S, timelines
from poolproof.judge.run import consider
from poolproof.judge.summary import summarise
from poolproof.report import timeline as report
from tests.example import RUN
from tests.unit.celery_model import Model, write


def _timeline(pool: str) -> dict[str, Any]:
    """Return the timeline of a poison that kills its process beside one innocent task."""
    model = Model(pool, "early")
    model.enqueue(4)
    worker = model.workers[0]
    for _ in range(2):
        model.receive(worker)
        model.start(worker)
    model.wait(100)
    model.strike(worker, 0)
    model.wait(200)
    model.close()
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), model.entries([9]))
        (found,) = timelines(consider(path), summarise(path)["crashes"])
    return found


def _roles(timeline: dict[str, Any]) -> dict[int, tuple[str, str]]:
    return {
        attempt["number"]: (attempt["role"], attempt["how"])
        for slot in timeline["slots"]
        for attempt in slot["attempts"]
    }


def test_under_threads_the_neighbour_of_the_poison_is_a_victim() -> None:
    found = _timeline("threads")

    assert _roles(found) == {0: ("poison", "cut"), 1: ("victim", "cut")}
    assert len({slot["pid"] for slot in found["slots"]}) == 1


def test_under_prefork_the_neighbour_goes_on() -> None:
    found = _timeline("prefork")

    assert _roles(found)[0] == ("poison", "cut")
    assert "victim" not in {role for role, _ in _roles(found).values()}
    assert _roles(found)[1][0] == "innocent"
    assert len({slot["pid"] for slot in found["slots"]}) == len(found["slots"])


def _drawn(*attempts: dict[str, Any]) -> list[str]:
    timeline = {
        "fault": "segfault",
        "pool": "threads:2",
        "policy": "early",
        "before_s": 1.0,
        "after_s": 2.0,
        "slots": [{"pid": 7, "tid": 8, "died_s": None, "attempts": list(attempts)}],
        "marks": [{"at_s": 0.5, "what": "the worker was started"}],
    }
    return report.lines(timeline)


def _attempt(start_s: float, end_s: float | None, role: str, how: str) -> dict[str, Any]:
    return {"number": 1, "start_s": start_s, "end_s": end_s, "role": role, "how": how}


def test_a_row_marks_victim_poison_and_innocents_at_their_times_and_the_fault_above_them() -> None:
    lines = _drawn(
        _attempt(-1.0, -0.5, "innocent", "succeeded"), _attempt(-0.5, 0.0, "victim", "cut")
    )

    head, axis, row, mark = lines
    assert head == "segfault on threads:2, early"
    assert row.startswith("            7/8 ")
    assert row[16:] == "━" * 10 + "░" * 10 + "✗"
    assert axis.index("┊") == row.index("✗")
    assert mark.endswith("+0.50 s the worker was started")


def test_a_task_that_goes_on_beyond_the_window_is_drawn_to_its_edge() -> None:
    row = _drawn(_attempt(1.0, None, "poison", "running"))[2]

    assert row[16:] == " " * 20 + "┊" + " " * 19 + "▓" * 20


def test_it_goes_on_until_all_that_came_back_is_back_and_its_axis_stays_readable() -> None:
    case, summary = consider(RUN), summarise(RUN)

    prefork, threads = timelines(case, summary["crashes"])

    back = [max(filter(None, crash["recovery_s"].values())) for crash in summary["crashes"]]
    assert back[0] < 3 < back[1]
    assert prefork["after_s"] == AFTER_S
    assert back[1] < threads["after_s"] < back[1] + 1
    lives = [{attempt["how"] for attempt in slot["attempts"]} for slot in threads["slots"]]
    assert sum("cut" in ends for ends in lives) == sum("cut" not in ends for ends in lives) == 4
    for each in (prefork, threads):
        words = report.lines(each)[1].split()
        assert {"┊fault", "+1" if each is prefork else "+4"} <= set(words)
        assert len(words) <= 2 * 8


def test_the_markdown_holds_each_timeline_as_code_and_says_what_the_marks_mean() -> None:
    text = report.markdown([_timeline("threads")])

    assert text.count("```text") == 1
    assert "░" in text
    assert report.LEGEND in text
