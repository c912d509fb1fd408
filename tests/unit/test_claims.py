"""Claims: which are chosen, what an interval says of one, and what is kept and printed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from poolproof.claims import claims
from poolproof.claims.claim import (
    Claim,
    Finding,
    not_shown,
    of_ratio,
    shown,
    unless_busy,
)
from poolproof.claims.facts import FAMILIES
from poolproof.claims.lab import Lab, Played
from poolproof.cli.claims import command
from poolproof.judge.performance.statistics import Ratio
from poolproof.report import claims as report
from poolproof.runner.listener import NullListener
from poolproof_workers.errors import UsageError, WorkerError
from tests.unit.summaries import comparison_of_two

ALL = [claim for family in FAMILIES.values() for claim in family]


def _claim(name: str, finding: Finding | BaseException, *on: str) -> Claim:
    def check(_lab: Lab, _on: str) -> Finding:
        if isinstance(finding, BaseException):
            raise finding
        return finding

    return Claim(name, f"{name} is so.", "textbook", "yes | no", 1.0, check, on or ("here",))


def _results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *family: Claim) -> dict[str, Any]:
    monkeypatch.setattr(claims, "FAMILIES", {"A family": family})
    tried = list(claims.trials(family, Lab(tmp_path, NullListener())))
    return claims.results("claims-1", tried)


def test_every_claim_has_an_id_of_its_own_a_sentence_a_source_and_a_bound() -> None:
    assert len({claim.id for claim in ALL}) == len(ALL)
    for claim in ALL:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim.id)
        assert claim.text.endswith(".")
        assert claim.source
        assert claim.expected
        assert 0 < claim.at_most_s <= 400
        assert claim.on


def test_without_ids_all_claims_are_chosen_and_with_ids_those_in_the_tables_order() -> None:
    first, second = ALL[0].id, ALL[1].id

    assert claims.chosen(()) == tuple(ALL)
    assert [claim.id for claim in claims.chosen((second, first))] == [first, second]


def test_an_unknown_id_is_refused_with_the_ones_that_are_like_it() -> None:
    with pytest.raises(UsageError, match="Did you mean one-slot"):
        claims.chosen(("one-slots",))


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (2.1, 2.9, "holds"),
        (1.0, 1.9, "does not hold"),
        (3.1, 9.0, "does not hold"),
        (1.9, 2.5, "not shown"),
        (2.5, 3.5, "not shown"),
    ],
)
def test_a_ratio_decides_only_if_its_whole_interval_does(
    low: float, high: float, outcome: str
) -> None:
    found = of_ratio(Ratio(2.2, low, high), "a 2, b 1", at_least=2, at_most=3)

    assert found.outcome == outcome
    assert bool(found.why) is (outcome == "not shown")


def test_without_enough_rounds_a_ratio_shows_nothing() -> None:
    assert of_ratio(None, "", at_least=2).outcome == "not shown"


def test_a_claim_on_speed_is_not_shown_on_a_host_this_busy() -> None:
    right, wrong = shown("2 times", holds=True), shown("0.5 times", holds=False)

    for found in (right, wrong):
        assert unless_busy(found, 0.1) == found
        assert unless_busy(found, None) == found
        busy = unless_busy(found, 0.78)
        assert (busy.outcome, busy.observed) == ("not shown", found.observed)
        assert busy.why == "not comparable on a host this busy: others took 78 % of its CPU time"


@dataclass
class _Lab:
    """A lab in which all was measured before, on a host of which others took so much."""

    taken: float

    def measure(self, _name: str, _deadline_s: float) -> dict[str, list[float]]:
        return {"fork": [9.0] * 15, "thread": [1.0] * 15}

    def taken_share(self, _name: str) -> float:
        return self.taken

    def play(self, *_words: object) -> Played:
        summary = comparison_of_two()
        summary["pools"] = dict(zip(("events", "silent"), summary["pools"].values(), strict=True))
        for pool in summary["pools"].values():
            of = pool["workloads"]["square"] | {"taken_share": self.taken}
            of["throughput_per_s"]["blocks"] = [500.0, 501.0, 502.0, 503.0, 504.0]
            pool["workloads"]["square"] = of
        summary["books"]["verdicts"]["unknown"] = 0
        return Played(Path(), summary, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("taken", "is_shown"), [(0.05, True), (0.5, False)])
@pytest.mark.parametrize("name", ["create-fork", "events-cost"])
def test_the_claims_on_speed_look_at_how_busy_the_host_was(
    name: str, taken: float, is_shown: bool
) -> None:
    (claim,) = claims.chosen((name,))

    found = claim.check(_Lab(taken), claim.on[0])  # type: ignore[arg-type]

    assert (found.outcome != "not shown") is is_shown
    assert found.why.startswith("not comparable on a host this busy") is not is_shown


def test_a_check_that_cannot_be_done_shows_nothing_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = _results(monkeypatch, tmp_path, _claim("broken", WorkerError("It did not start.")))

    (trial,) = found["claims"][0]["trials"]
    assert (trial["outcome"], trial["why"]) == ("not shown", "It did not start.")


def test_results_have_a_trial_for_each_pool_and_count_the_outcomes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = _claim("right", shown("seen", holds=True, number=1), "solo", "threads:2")
    wrong = _claim("wrong", shown("not seen", holds=False))
    open_ = _claim("open", not_shown("too noisy"))

    found = _results(monkeypatch, tmp_path, right, wrong, open_)

    assert found["outcomes"] == {"holds": 2, "does not hold": 1, "not shown": 1}
    assert [trial["on"] for trial in found["claims"][0]["trials"]] == ["solo", "threads:2"]
    assert found["claims"][0]["trials"][0]["figures"] == {"number": 1}
    assert json.loads(json.dumps(found)) == found


def test_both_reports_show_every_claim_with_what_was_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = _claim("right", shown("seen", holds=True), "solo", "threads:2")
    found = _results(monkeypatch, tmp_path, right, _claim("open", not_shown("too noisy")))
    console = Console(width=80, record=True, file=StringIO())

    report.show(found, console)
    text, marked = console.export_text(), report.markdown(found)

    for words in ("right is so.", "threads:2", "seen", "not shown", "too noisy", "1 not shown"):
        assert words in text
        assert words in marked
    assert "yes \\| no" in marked  # what would end a cell is escaped
    assert max(map(len, text.splitlines())) <= 80


def test_the_command_exits_with_1_if_a_claim_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    family = (_claim("right", shown("seen", holds=True)), _claim("wrong", shown("", holds=False)))
    monkeypatch.setattr(claims, "FAMILIES", {"A family": family})
    words = ["--out", str(tmp_path), "--json"]

    assert command.main([*words, "--id", "right"], standalone_mode=False) == 0
    assert command.main(words, standalone_mode=False) == 1


def test_what_was_found_before_an_interruption_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    family = (_claim("right", shown("seen", holds=True)), _claim("then", KeyboardInterrupt()))
    monkeypatch.setattr(claims, "FAMILIES", {"A family": family})

    with pytest.raises(click.exceptions.Abort):
        command.main(["--out", str(tmp_path)], standalone_mode=False)

    (saved,) = tmp_path.glob("claims-*/claims.json")
    assert [claim["id"] for claim in json.loads(saved.read_text())["claims"]] == ["right"]
