from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from poolproof.cli import report, runs
from poolproof.cli.report import find
from poolproof.judge.faults.matrix import assemble
from poolproof_workers.errors import UsageError
from tests.unit.matrices import crash, plan
from tests.unit.matrices import run as run_of
from tests.unit.summaries import comparison_of_two

if TYPE_CHECKING:
    from pathlib import Path

JUDGED = "20261122-203015-1a2b3c4d"
BETWEEN = "20261122-204500-5e5e5e5e"
INTERRUPTED = "20261122-210000-99999999"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (JUDGED, INTERRUPTED):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.log").touch()
    (tmp_path / JUDGED / "summary.json").write_text(json.dumps(comparison_of_two()))
    (tmp_path / "something-else").mkdir()
    return tmp_path


def test_runs_are_listed_with_the_newest_first(folder: Path) -> None:
    assert [run["run"] for run in runs.saved(folder)] == [INTERRUPTED, JUDGED]


def test_a_run_that_was_judged_shows_its_books_and_one_that_was_not_says_so(folder: Path) -> None:
    result = CliRunner().invoke(runs.command, ["--runs", str(folder)])

    interrupted, judged = result.stdout.splitlines()[1:]
    assert "prefork:4, threads:4" in judged
    assert "12,346" in judged
    assert judged.rstrip().endswith("valid")
    assert "not judged yet" in interrupted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"valid": False}, "no benchmark"),
        ({"valid": False, "books": {"enqueued": 3, "balanced": False}}, "BOOKS DO NOT BALANCE"),
    ],
)
def test_a_run_that_must_not_be_believed_says_so(
    folder: Path, changes: dict[str, object], words: str
) -> None:
    path = folder / JUDGED / "summary.json"
    path.write_text(json.dumps(comparison_of_two() | changes))

    result = CliRunner().invoke(runs.command, ["--runs", str(folder)])

    assert words in result.stdout


def test_the_list_as_json_is_all_that_stands_on_stdout(folder: Path) -> None:
    result = CliRunner().invoke(runs.command, ["--runs", str(folder), "--json"])

    assert [run["balanced"] for run in json.loads(result.stdout)] == [None, True]


def test_no_runs_are_an_empty_list_and_a_line_on_stderr(tmp_path: Path) -> None:
    result = CliRunner().invoke(runs.command, ["--runs", str(tmp_path / "none")])

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "There are no runs in" in result.stderr


@pytest.fixture
def matrix(folder: Path) -> dict[str, Any]:
    """A matrix that is newer than one of the runs and older than the other."""
    made = assemble(plan(matrix=f"matrix-{BETWEEN}"), [run_of(crash("threads:4"))])
    path = folder / made["matrix"]
    (path / "20261122-204501-00000001").mkdir(parents=True)
    (path / "20261122-204501-00000001" / "history.log").touch()
    (path / "plan.json").write_text(json.dumps(made["plan"]))
    (path / "matrix.json").write_text(json.dumps(made))
    return made


def test_a_matrix_is_one_line_among_the_runs_with_how_far_it_is(
    folder: Path, matrix: dict[str, Any]
) -> None:
    result = CliRunner().invoke(runs.command, ["--runs", str(folder)])

    lines = [line for line in result.stdout.splitlines()[1:] if line[0] != " "]
    assert [line.split()[0] for line in lines] == [INTERRUPTED, matrix["matrix"], JUDGED]
    assert lines[1].split()[1] == "matrix"
    assert lines[1].rstrip().endswith("1 of 3 crashes")


def test_a_matrix_that_was_stopped_before_it_was_saved_is_listed_too(
    folder: Path, matrix: dict[str, Any]
) -> None:
    (folder / matrix["matrix"] / "matrix.json").unlink()

    row = runs.saved(folder)[1]

    assert (row["run"], row["judged"], row["pools"]) == (
        matrix["matrix"],
        False,
        ["prefork:4", "threads:4"],
    )


def test_a_matrix_with_a_broken_cell_says_so(folder: Path, matrix: dict[str, Any]) -> None:
    broken = assemble(matrix["plan"], [run_of(struck=["threads:4"])])
    (folder / matrix["matrix"] / "matrix.json").write_text(json.dumps(broken))

    result = CliRunner().invoke(runs.command, ["--runs", str(folder)])

    assert "BROKEN CELLS" in result.stdout


@pytest.mark.parametrize("named", [JUDGED, JUDGED[:16]])
def test_a_run_is_found_by_its_id_or_how_that_begins(folder: Path, named: str) -> None:
    assert find(named, folder) == folder / JUDGED


def test_a_run_is_found_by_its_folder(folder: Path, tmp_path: Path) -> None:
    assert find(str(folder / JUDGED), tmp_path / "elsewhere") == folder / JUDGED


@pytest.mark.parametrize(
    ("named", "complaint"), [("20261122", "more than one run"), ("2025", "no run '2025'")]
)
def test_a_name_that_does_not_mean_one_run_is_a_usage_error(
    folder: Path, named: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        find(named, folder)


def test_a_matrix_that_is_judged_again_is_saved_where_that_is_asked(
    folder: Path, matrix: dict[str, Any]
) -> None:
    path = folder / matrix["matrix"]
    (path / "matrix.json").unlink()
    words = [matrix["matrix"], "--runs", str(folder), "--format", "json"]

    CliRunner().invoke(report.command, words)
    before = sorted(each.name for each in path.glob("matrix.*"))
    result = CliRunner().invoke(report.command, [*words, "--save"])

    assert before == []
    assert sorted(each.name for each in path.glob("matrix.*")) == [
        "matrix.csv",
        "matrix.json",
        "matrix.md",
    ]
    assert json.loads((path / "matrix.json").read_text()) == json.loads(result.stdout)


def test_a_matrix_has_no_timeline_and_says_so(folder: Path, matrix: dict[str, Any]) -> None:
    words = [matrix["matrix"], "--runs", str(folder), "--timeline"]

    result = CliRunner().invoke(report.command, words)

    assert isinstance(result.exception, UsageError)
    assert "Name one of its runs" in str(result.exception)
    assert result.stdout == ""
