"""What a bench prints, and what a missed bound does to the exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import benchmarks
import pytest
from benchmarks import __main__, collector
from benchmarks.__main__ import page
from click.testing import CliRunner

from poolproof.history.form import well_formed
from poolproof.infra.machine import commit
from poolproof_workers.errors import FAILED_CHECK, OK, USAGE

_WITHIN = {"ratio_to_apply_async": 60.0, "message_bytes": 300.0}
_BEYOND = {**_WITHIN, "ratio_to_bare_lpush": 0.1}


def _run(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, float], *words: str
) -> tuple[int, str]:
    found = SimpleNamespace(measure=lambda _: {"bench": "enqueue", "figures": figures})
    monkeypatch.setitem(sys.modules, "benchmarks.enqueue", found)
    result = CliRunner().invoke(__main__.command, ["enqueue", *words])
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("figures", "words", "code"),
    [
        (_WITHIN, ("--strict",), OK),
        (_BEYOND, (), OK),
        (_BEYOND, ("--strict",), FAILED_CHECK),
        (_BEYOND, ("--strict", "--json"), FAILED_CHECK),
    ],
)
def test_a_missed_bound_fails_only_where_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, float], words: tuple[str, ...], code: int
) -> None:
    assert _run(monkeypatch, figures, *words)[0] == code


def test_a_figure_is_printed_with_its_bound_and_whether_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    within, beyond, plain = (
        next(line for line in _run(monkeypatch, _BEYOND)[1].splitlines() if name in line)
        for name in ("ratio_to_apply_async", "ratio_to_bare_lpush", "message_bytes")
    )

    assert within.endswith("holds: at least 50")
    assert beyond.endswith("MISSED: at least 0.7")
    assert plain.split() == ["message_bytes", "300"]


def test_as_json_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(_run(monkeypatch, _BEYOND, "--json")[1])["figures"] == _BEYOND


def test_what_is_kept_says_on_what_it_was_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(__main__, "DOCS", tmp_path)

    _run(monkeypatch, _BEYOND, "--keep", "--rounds", "3")

    kept = json.loads((tmp_path / "benches" / "enqueue.json").read_text())
    assert kept["figures"] == _BEYOND
    assert kept["versions"]["commit"] == commit()
    text = (tmp_path / "benches.md").read_text()
    assert text == page(tmp_path)
    assert "3 rounds" in text
    assert str(commit()) in text
    assert "| `ratio_to_bare_lpush` | 0.100 | at least 0.7 | MISSED |" in text
    assert "| `message_bytes` | 300 |  |  |" in text


def test_what_is_to_be_kept_is_kept_by_the_programme_itself(tmp_path: Path) -> None:
    copied = tmp_path / "benchmarks"
    copied.mkdir()
    for name in ("__init__", "__main__", "bounds"):
        shutil.copy(Path(benchmarks.__file__).with_name(f"{name}.py"), copied)
    (copied / "pace.py").write_text(
        "def measure(rounds):\n    return {'bench': 'pace', 'figures': {'rounds': rounds}}\n"
    )
    (tmp_path / "docs").mkdir()

    words = [sys.executable, "-m", "benchmarks", "pace", "--rounds", "3", "--keep"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, text=True)

    assert (done.returncode, done.stderr) == (OK, "")
    assert json.loads((tmp_path / "docs" / "benches" / "pace.json").read_text())["asked"] == 3
    assert (tmp_path / "docs" / "benches.md").read_text() == page(tmp_path / "docs")


def test_the_page_in_docs_is_what_is_kept_there() -> None:
    assert (__main__.DOCS / "benches.md").read_text("utf-8") == page(__main__.DOCS)


def test_the_collector_is_measured_with_entries_that_a_history_may_hold() -> None:
    entries = collector._history()

    assert {entry.kind for entry in entries} == {"op", "records"}
    assert all(map(well_formed, entries))


def test_without_playwright_the_live_bench_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("playwright", "playwright.sync_api"):
        monkeypatch.setitem(sys.modules, name, None)

    result = CliRunner().invoke(__main__.command, ["live"])

    assert result.exit_code == USAGE
    assert result.output.splitlines() == [
        "bench: This needs playwright: pip install 'poolproof[test]'."
    ]


def test_without_chromium_the_live_bench_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")

    result = CliRunner().invoke(__main__.command, ["live"])

    assert result.exit_code == USAGE
    assert "apt install chromium" in result.output
