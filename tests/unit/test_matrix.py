"""A matrix shows what its runs prove, and never more."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from poolproof.infra.sides import SideSpec, parse
from poolproof.judge.faults.matrix import assemble
from poolproof.matrix.folder import MatrixFolder
from poolproof.matrix.plan import Matrix
from poolproof.matrix.run import filled
from poolproof.report.crash_tables import crashes
from poolproof.report.matrix.cell import verdict
from poolproof.report.matrix.csv import as_csv
from poolproof.report.matrix.markdown import matrix_markdown
from poolproof.report.terminal import show_matrix
from poolproof_workers.errors import UsageError
from tests.unit.matrices import crash, plan, run, unharmed

if TYPE_CHECKING:
    from pathlib import Path


def _cell(matrix: dict[str, Any], fault: str, pool: str) -> dict[str, Any]:
    (found,) = [c for c in matrix["cells"] if (c["fault"], c["pool"]) == (fault, pool)]
    return found


def _whole() -> dict[str, Any]:
    return assemble(
        plan(),
        [
            run(unharmed("prefork:4"), crash("threads:4")),
            run(unharmed("prefork:4", "kill-child")),
        ],
    )


def _terminal(matrix: dict[str, Any]) -> str:
    screen = io.StringIO()
    show_matrix(matrix, Console(file=screen, width=100))
    return screen.getvalue()


# --- the plan -------------------------------------------------------------------------------------


def test_each_run_is_a_command_that_a_person_can_give() -> None:
    sides = parse(["prefork:4", "a=threads:2@celery==5.6.3", "b=custom:2=my.pools:TaskPool"])
    matrix = Matrix(("segfault",), sides, policies=("late",), workers=(2,), restarts=False, jobs=3)

    (turn,) = matrix.turns()

    words = "crash --fault segfault --policy late --prefetch 4 --workers 2 --jobs 3 --repeat 1"
    assert turn.words()[:13] == words.split()
    assert turn.words()[13] == "--no-restart"
    assert parse(turn.words()[15::2]) == sides


# --- assembly -------------------------------------------------------------------------------------


def test_every_cell_that_was_asked_for_is_there_once_and_in_order() -> None:
    matrix = _whole()

    assert [(c["fault"], c["pool"]) for c in matrix["cells"]] == [
        ("segfault", "prefork:4"),
        ("segfault", "threads:4"),
        ("kill-child", "prefork:4"),
        ("kill-child", "threads:4"),
    ]
    assert matrix["complete"]
    assert matrix["crashes"] == {"done": 3, "planned": 3}


def test_a_fault_that_cannot_be_done_to_a_pool_is_no_pass_and_says_why() -> None:
    cell = _cell(_whole(), "kill-child", "threads:4")

    assert cell["status"] == "not applicable"
    assert cell["reason"] == "it has no child processes"
    assert "interrupted" not in cell


def test_a_fault_that_was_refused_at_the_last_moment_is_no_pass_either() -> None:
    refusal = {"pool": "threads:4", "fault": "segfault", "reason": "the worker does not run now"}

    matrix = assemble(plan(), [run(struck=["threads:4"], not_applicable=[refusal])])

    cell = _cell(matrix, "segfault", "threads:4")
    assert cell["status"] == "not applicable"
    assert cell["reason"] == "the worker does not run now"


def test_a_fault_that_was_refused_once_and_done_once_is_not_inapplicable() -> None:
    refusal = {"pool": "threads:4", "fault": "segfault", "reason": "the worker does not run now"}
    refused = run(struck=["threads:4"], not_applicable=[refusal])

    cell = _cell(
        assemble(plan(repeats=2), [run(crash("threads:4"), repeat=2), refused]),
        "segfault",
        "threads:4",
    )

    assert (cell["status"], cell["broken_runs"]) == ("broken", 1)
    assert cell["reason"] == "the worker does not run now"


def test_what_was_not_run_yet_is_missing_and_the_matrix_is_not_complete() -> None:
    matrix = assemble(plan(), [])

    assert not matrix["complete"]
    assert matrix["statuses"] == {"missing": 3, "not applicable": 1}


def test_what_was_refused_or_done_twice_makes_up_for_no_cell_that_is_missing() -> None:
    refused = [{"pool": "prefork:4", "fault": "segfault", "reason": "no room for a cgroup"}]
    empty = run(crash("prefork:4")) | {"crashes": [], "not_applicable": refused}

    matrix = assemble(plan(faults=["segfault"]), [empty])

    assert [cell["status"] for cell in matrix["cells"]] == ["not applicable", "missing"]
    assert (matrix["crashes"], matrix["complete"]) == ({"done": 0, "planned": 1}, False)

    twice = [run(crash("prefork:4")), run(crash("prefork:4"))]
    matrix = assemble(plan(faults=["segfault"]), twice)

    assert (matrix["crashes"], matrix["complete"]) == ({"done": 1, "planned": 2}, False)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (run(crash("threads:4"), books={"balanced": False}), "do not balance"),
        (
            run(crash("threads:4"), warnings=[{"code": "unknown_tasks", "advice": "2 tasks ..."}]),
            "2 tasks",
        ),
        (run(struck=["threads:4"]), "not seen to be done"),
        (
            run(
                struck=["threads:4"],
                not_applicable=[
                    {"pool": "threads:4", "fault": "segfault", "reason": "?", "unseen": True}
                ],
            ),
            "not seen to be done",
        ),
        (
            run(crash("threads:4", books={"enqueued": 60, "innocent": {}, "poison": {"lost": 1}})),
            "of the block do not balance",
        ),
    ],
)
def test_a_run_that_proves_nothing_makes_its_cell_broken(
    spoilt: dict[str, Any], reason: str
) -> None:
    matrix = assemble(plan(repeats=2), [run(crash("threads:4"), repeat=2), spoilt])

    cell = _cell(matrix, "segfault", "threads:4")
    assert cell["status"] == "broken"
    assert reason in cell["reason"]
    assert "interrupted" not in cell
    assert "BROKEN" in _terminal(matrix)


def test_repeats_are_added_up_and_times_are_medians() -> None:
    times = [{"slot_back": each} for each in (2.0, 9.0, 3.0)]
    runs = [run(crash("threads:4", recovery_s=t), repeat=i) for i, t in enumerate(times, 1)]

    cell = _cell(assemble(plan(repeats=3), runs), "segfault", "threads:4")

    assert cell["repeats"] == 3
    assert (cell["running"], cell["interrupted"], cell["lost"], cell["stranded"]) == (9, 9, 9, 48)
    assert cell["recovery_s"]["slot_back"] == 3.0
    assert cell["recovery_s"]["detect"] is None


def test_shares_have_an_interval_and_crashes_are_counted_apart_from_tasks() -> None:
    runs = [run(crash("threads:4"), repeat=1), run(unharmed("threads:4"), repeat=2)]

    shares = _cell(assemble(plan(repeats=2), runs), "segfault", "threads:4")["shares"]

    assert shares["interrupted"]["share"] == 0.5
    assert shares["interrupted"]["of"] == 6
    assert shares["crashes_with_lost"]["of"] == 2
    assert shares["crashes_with_lost"]["low"] < 0.5 < shares["crashes_with_lost"]["high"]
    # One of two crashes says much less than three of six tasks seem to.
    assert shares["crashes_with_interrupted"]["low"] < shares["interrupted"]["low"]


def test_a_task_that_had_just_ended_and_ran_again_is_no_unharmed_one() -> None:
    books = {"enqueued": 60, "innocent": {"completed": 58, "repeated": 2}, "poison": {}}
    again = unharmed("prefork:4", "kill-child") | {"books": books, "others": 2, "repeated": 2}

    cell = _cell(assemble(plan(), [run(again)]), "kill-child", "prefork:4")

    assert verdict(cell) == "2 twice"
    assert cell["shares"]["repeated"]["share"] == 1.0
    assert cell["shares"]["crashes_with_repeated"]["of"] == 1


def test_due_times_are_also_said_for_celerys_defaults() -> None:
    due = _cell(_whole(), "segfault", "threads:4")["due_s"]

    assert (due["first"], due["last"]) == (3.0, 5.0)
    assert (due["first_by_default"], due["last_by_default"]) == (3599.0, 3700.0)


# --- reports --------------------------------------------------------------------------------------


def test_a_cell_says_in_a_few_words_what_became_of_innocents() -> None:
    matrix = _whole()

    assert verdict(_cell(matrix, "segfault", "prefork:4")) == "unharmed"
    assert verdict(_cell(matrix, "segfault", "threads:4")) == "3/3 cut, 16 stranded, 3 lost"


def test_a_cell_says_what_a_report_of_one_crash_says() -> None:
    late = crash(
        "threads:4",
        waited=2,
        lost=4,
        lost_by={"interrupted": 3, "acknowledged": 0, "fetched": 1},
        left={"queued": 5},
        lingered_s=30.3,
        ended="the deadline of 45 s",
    )

    cell = _cell(assemble(plan(), [run(late)]), "segfault", "threads:4")

    assert verdict(cell) == (
        "3/3 cut, 16 stranded, 2 waited for the timeout, 4 lost (1 on the way to the worker), "
        "5 left queued at the deadline, left 30 s after its last task"
    )
    assert sum(cell["lost_by"].values()) == cell["lost"]
    (table,) = crashes({"crashes": [late]})
    rows = dict(table.rows)
    assert rows["waiting in it until the timeout"] == "2"
    assert (rows["lost for good"], rows["  that ran"]) == ("4", "3")
    assert (rows["left queued at the end"], rows["  on the way from the queue"]) == ("5", "1")
    assert rows["the worker left, after its last task"] == "30.3 s"
    assert rows["the wait was cut off by"] == "the deadline of 45 s"


@pytest.mark.parametrize(
    ("ended", "when"),
    [
        (["the deadline of 45 s"] * 3, " at the deadline"),
        (["the deadline of 45 s", "the deadline of 9 s", ""], " (in 2 of 3 at the deadline)"),
        (["everything came to rest"] * 3, ""),
    ],
)
def test_a_cell_says_in_how_many_of_its_repeats_a_deadline_cut_the_wait_off(
    ended: list[str], when: str
) -> None:
    runs = [
        run(crash("threads:4", left={"queued": 1}, ended=why), repeat=repeat)
        for repeat, why in enumerate(ended, 1)
    ]

    cell = _cell(assemble(plan(repeats=3), runs), "segfault", "threads:4")

    assert verdict(cell).endswith(f", 3 left queued{when}")
    del cell["cut_off"]  # as in a matrix of before
    assert ("at the deadline" in verdict(cell)) == bool(when)


def test_what_an_older_summary_does_not_say_is_not_made_up() -> None:
    old = crash("threads:4", books={"enqueued": 2, "innocent": {"queued": 2}, "poison": {}})

    cell = _cell(assemble(plan(), [run(old)]), "segfault", "threads:4")

    assert (cell["lost_by"], cell["lingered_s"], cell["waited"]) == ({}, None, 0)
    assert verdict(cell) == "3/3 cut, 16 stranded, 3 lost, 2 left queued"


def test_a_poison_that_strikes_again_does_not_make_more_cut_than_ran() -> None:
    again = crash("threads:4", interrupted=5, strikes=3)

    matrix = assemble(plan(), [run(again)])

    assert verdict(_cell(matrix, "segfault", "threads:4")).startswith("3/3 cut (5 in 3 strikes)")


def test_a_poison_that_never_ends_is_said_even_where_innocents_are_unharmed() -> None:
    hung = unharmed("threads:4")
    hung["books"]["poison"] = {"running": 1}

    matrix = assemble(plan(), [run(hung)])

    assert verdict(_cell(matrix, "segfault", "threads:4")) == "unharmed; it runs on"


def test_innocents_that_saw_or_suffered_changed_state_are_counted() -> None:
    seen = {"observers": 40, "saw": 7, "suffered": 2, "updates": 0, "lost_updates": 0}

    matrix = assemble(plan(), [run(unharmed("threads:4") | {"observations": seen})])

    assert verdict(_cell(matrix, "segfault", "threads:4")) == "7/40 saw, 2/40 suffered"


def test_changed_state_that_nobody_met_is_said_to_be_met_by_none() -> None:
    seen = {"observers": 40, "saw": 0, "suffered": 0, "updates": 0, "lost_updates": 0}

    matrix = assemble(plan(), [run(unharmed("prefork:4") | {"observations": seen})])

    assert verdict(_cell(matrix, "segfault", "prefork:4")) == "0/40 saw"


def test_innocents_that_hang_are_counted_once_and_apart_from_those_left_running() -> None:
    hung = unharmed("threads:4") | {"hung": 3}
    hung["books"] = {"enqueued": 60, "innocent": {"completed": 55, "running": 4}, "poison": {}}
    hung["books"]["poison"] = {"running": 1}

    matrix = assemble(plan(), [run(hung)])

    cell = _cell(matrix, "segfault", "threads:4")
    assert verdict(cell) == "3/3 hang, 1 left running; it runs on"
    assert next(csv.DictReader(io.StringIO(as_csv(matrix))))["hung"] == ""
    assert list(csv.DictReader(io.StringIO(as_csv(matrix))))[1]["hung"] == "3"


def test_a_cell_to_which_a_fault_does_not_apply_says_why() -> None:
    cell = _cell(_whole(), "kill-child", "threads:4")

    assert verdict(cell) == "not applicable: it has no child processes"


@pytest.mark.parametrize("form", [_terminal, matrix_markdown])
def test_a_report_shows_the_cells_the_settings_and_what_does_not_apply(form: Any) -> None:
    text = form(_whole())

    assert "3/3 cut, 16 stranded, 3 lost" in text
    assert "unharmed" in text
    assert "it has no child processes" in text
    (timeout,) = [line for line in text.splitlines() if "visibility timeout" in line]
    assert "4 s" in timeout
    assert "3600 s" in timeout


def test_the_markdown_escapes_what_would_end_a_column() -> None:
    assert "child \\| hard" in matrix_markdown(_whole())


def test_the_csv_has_a_line_a_cell_and_an_empty_field_where_nothing_is_known() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(_whole()))))

    assert len(rows) == 4
    threads = rows[1]
    assert (threads["pool"], threads["lost"], threads["slot_back_s"]) == ("threads:4", "3", "2.5")
    assert rows[0]["redelivered_s"] == ""
    assert rows[3]["status"] == "not applicable"
    assert rows[3]["lost"] == ""


# --- the plan -------------------------------------------------------------------------------------

SIDES = {text: SideSpec.parse(text) for text in ("prefork:4", "threads:4")}


def test_a_fault_is_one_run_for_all_pools_that_it_can_be_done_to() -> None:
    matrix = Matrix(("segfault", "kill-child"), SIDES)

    assert [tuple(turn.sides) for turn in matrix.turns()] == [
        ("prefork:4", "threads:4"),
        ("prefork:4",),
    ]


def test_a_fault_that_may_never_end_has_a_run_for_each_pool() -> None:
    matrix = Matrix(("endless-sleep",), SIDES)

    assert [tuple(turn.sides) for turn in matrix.turns()] == [("prefork:4",), ("threads:4",)]


def test_all_cells_are_run_once_before_any_is_repeated() -> None:
    matrix = Matrix(("segfault",), SIDES, ("early", "late"), repeats=2)

    assert [(turn.repeat, turn.crash.policy) for turn in matrix.turns()] == [
        (1, "early"),
        (1, "late"),
        (2, "early"),
        (2, "late"),
    ]


def test_a_run_that_ended_after_its_first_pool_leaves_the_other_to_do() -> None:
    (turn,) = Matrix(("segfault",), SIDES).turns()

    left = turn.without(filled(run(crash("prefork:4"))))

    assert left is not None
    assert list(left.sides) == ["threads:4"]


def test_the_same_plan_goes_on_in_its_folder_until_it_is_complete(tmp_path: Path) -> None:
    asked = {name: value for name, value in plan().items() if name != "matrix"}
    with MatrixFolder.open(tmp_path, asked) as first:
        pass
    with MatrixFolder.open(tmp_path, asked) as again:
        assert again.path == first.path
    with MatrixFolder.open(tmp_path, asked | {"repeats": 2}) as other:
        assert other.path != first.path


def test_two_processes_do_not_play_one_matrix(tmp_path: Path) -> None:
    with (
        MatrixFolder.open(tmp_path, plan()),
        pytest.raises(UsageError, match="is being played"),
    ):
        MatrixFolder.open(tmp_path, plan())


def test_settings_from_the_environment_make_another_matrix_and_a_password_never_shows() -> None:
    environ = {"POOLPROOF_RESTART_DELAY_S": "5", "POOLPROOF_REDIS_URL": "redis://:secret@host"}

    asked = Matrix(("segfault",), SIDES, environ=environ).to_json()

    assert asked["environment"] == {"POOLPROOF_RESTART_DELAY_S": "5"}
    assert asked != Matrix(("segfault",), SIDES, environ={}).to_json()
