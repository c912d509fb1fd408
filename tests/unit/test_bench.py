"""What a bench prints, and what a missed bound does to the exit code."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from poolproof.experiments import bench
from poolproof_workers.errors import FAILED_CHECK, OK

_WITHIN = {"ratio_to_apply_async": 60.0, "message_bytes": 300.0}
_BEYOND = {**_WITHIN, "ratio_to_bare_lpush": 0.1}


def _run(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, float], *words: str
) -> tuple[int, str]:
    found = SimpleNamespace(measure=lambda _: {"bench": "enqueue", "figures": figures})
    monkeypatch.setitem(sys.modules, "poolproof.experiments.bench_enqueue", found)
    result = CliRunner().invoke(bench.command, ["enqueue", *words])
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
