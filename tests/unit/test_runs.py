from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from poolproof.commands import runs
from poolproof.commands.report import find
from poolproof_workers.errors import UsageError
from tests.unit.summaries import comparison_of_two

if TYPE_CHECKING:
    from pathlib import Path

JUDGED = "20261122-203015-1a2b3c4d"
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
