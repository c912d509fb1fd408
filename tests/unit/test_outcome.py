"""What a comparison may say: one of four outcomes, and words that no warning takes back."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from poolproof.judge.outcome import MOST_TAKEN, OF_PROCESSES, Outcome, of_workers, outcome
from poolproof.judge.performance.ratios import compared
from poolproof.judge.performance.statistics import LEAST, Ratio, ratio_of_rounds
from poolproof.judge.sentences import sentences
from poolproof.report.content import judged
from poolproof.report.content import outcome as label
from poolproof.report.html import html
from poolproof.report.markdown import markdown
from poolproof.report.plots import ratios
from poolproof.report.terminal import show
from poolproof.report.theme import LIGHT
from tests.example import ROOT
from tests.unit.summaries import comparison, comparison_of_two

if TYPE_CHECKING:
    from collections.abc import Sequence

_AB = ("prefork:4", "threads:4")


@st.composite
def _ratios(draw: st.DrawFn) -> Ratio:
    """Draw a ratio in its interval, many of them about the bounds."""
    near = st.sampled_from([1.0, LEAST, 1 / LEAST, 0.99, 0.986, 0.992, 1.0001])
    edges = st.floats(0.2, 5.0) | near | st.floats(0.97, 1.03)
    low, ratio, high = sorted(draw(st.tuples(edges, edges, edges)))
    return Ratio(ratio, low, high)


_shares = st.none() | st.floats(0.0, 1.0) | st.sampled_from([0.0, 0.1, 0.1000001])


def _one(ratio: Ratio, taken: float | None) -> dict[str, Any]:
    found = comparison("sleep:50ms", ratio.ratio, ratio.low, ratio.high, taken)
    assert found["outcome"] == outcome(ratio, taken)
    return dict(found)


def _headlines(ones: Sequence[dict[str, Any]]) -> list[str]:
    summary = comparison_of_two() | {"comparisons": list(ones)}
    return [each for each in sentences(summary) if each.startswith("For ")]


def _terminal(summary: dict[str, Any]) -> str:
    out = StringIO()
    show(summary, Console(file=out, width=80, highlight=False))
    return out.getvalue()


# --- the outcome ----------------------------------------------------------------------------------


@given(_ratios(), _shares)
def test_any_interval_on_any_host_has_exactly_one_outcome(
    ratio: Ratio, taken: float | None
) -> None:
    busy = taken is not None and taken > MOST_TAKEN
    true = {
        "more": not busy and ratio.low > LEAST,
        "less": not busy and ratio.high < 1 / LEAST,
        "the same within 1 %": not busy and ratio.low >= 1 / LEAST and ratio.high <= LEAST,
        "not comparable on a host this busy": busy,
    }

    said = outcome(ratio, taken)

    assert said in get_args(Outcome)
    holding = [name for name, holds in true.items() if holds]
    assert ([said] if said != "too noisy to call" else []) == holding


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (LEAST, 1.2, "too noisy to call"),
        (LEAST + 1e-9, 1.2, "more"),
        (0.8, 1 / LEAST, "too noisy to call"),
        (0.8, 1 / LEAST - 1e-9, "less"),
        (1 / LEAST, LEAST, "the same within 1 %"),
        (1 / LEAST - 1e-9, LEAST, "too noisy to call"),
        (1 / LEAST, LEAST + 1e-9, "too noisy to call"),
        (0.995, 0.998, "the same within 1 %"),
        # These two were said to show no difference.
        (0.42, 1.28, "too noisy to call"),
        (0.986, 0.992, "too noisy to call"),
    ],
)
def test_the_bounds_of_the_outcomes(low: float, high: float, said: str) -> None:
    assert outcome(Ratio((low * high) ** 0.5, low, high), 0.0) == said


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (None, "more"),
        (MOST_TAKEN, "more"),
        (MOST_TAKEN + 1e-9, "not comparable on a host this busy"),
        (0.78, "not comparable on a host this busy"),
    ],
)
def test_no_interval_says_anything_on_a_host_this_busy(taken: float | None, said: str) -> None:
    found = compared(Ratio(1.98, 1.5, 2.6), taken)

    assert found["outcome"] == said
    assert found["verdict"] == ("a" if said == "more" else "no difference shown")


@given(_ratios())
def test_sides_that_kept_their_processes_are_not_told_apart_by_what_processes_differ_by(
    ratio: Ratio,
) -> None:
    said = outcome(of_workers(ratio, fresh=False))

    assert said != "the same within 1 %"
    if said in {"more", "less"}:
        assert ratio.low > OF_PROCESSES or ratio.high < 1 / OF_PROCESSES


@given(_ratios(), _shares)
def test_what_is_said_of_two_sides_turned_round_is_its_inverse(
    ratio: Ratio, taken: float | None
) -> None:
    turned = Ratio(1 / ratio.ratio, 1 / ratio.high, 1 / ratio.low)
    edges = (ratio.low, ratio.high, turned.low, turned.high)
    if all(min(abs(edge - LEAST), abs(edge - 1 / LEAST)) > 1e-9 for edge in edges):
        inverse = {"more": "less", "less": "more"}
        said = outcome(ratio, taken)
        assert outcome(turned, taken) == inverse.get(said, said)


# --- the words ------------------------------------------------------------------------------------


@given(_ratios(), _shares)
@settings(deadline=None)
def test_words_claim_what_the_outcome_is_and_nothing_more(
    ratio: Ratio, taken: float | None
) -> None:
    one = _one(ratio, taken)

    (headline,) = _headlines([one])
    words = label(one)

    said = one["outcome"]
    for text in (headline, words):
        assert "no difference" not in text
        assert ("not comparable on a host this busy" in text) == (said.startswith("not comp"))
        assert ("the same within 1 %" in text) == (said == "the same within 1 %")
        assert ("too noisy" in text or "too close" in text) == (said == "too noisy to call")
        near = max(ratio.high, 1 / ratio.low) <= LEAST**2
        is_open = said == "too noisy to call"
        assert ("too close" in text) == (is_open and near and not ratio.low <= 1 <= ratio.high)
    named = [side for side in _AB if f"{side} did more" in words]
    assert named == ({"more": [_AB[0]], "less": [_AB[1]]}.get(said, []))
    winner = [side for side in _AB if headline.startswith(f"For sleep:50ms {side} did ")]
    assert winner == named
    if said.startswith("not comparable"):
        assert " did " not in headline


def test_no_format_names_a_winner_on_a_host_this_busy() -> None:
    summary = comparison_of_two()
    summary["comparisons"] = [
        comparison("square", 0.5, 0.45, 0.55, 0.78),
        comparison("sleep:50ms", 0.999, 0.998, 1.002, 0.78),
        comparison("cpu:5ms", 1.98, 1.92, 2.05, 0.78),
    ]
    summary["sentences"] = sentences(summary)

    texts = [_terminal(summary), markdown(summary), html(summary)]
    plot = ratios(summary["comparisons"], LIGHT)

    assert summary["sentences"][2] == (
        "For cpu:5ms prefork:4 and threads:4 are not comparable on a host this busy: others took "
        "78 % of its CPU time."
    )
    for text in texts:
        assert "prefork:4 did more" not in text.partition("How each figure")[0]
        assert "threads:4 did more" not in text
        assert "times as many tasks a second as" not in text
        assert text.count("not comparable on a host this busy") >= 3
    (source,) = {each.data_source for each in plot.renderers}
    assert set(source.data["outcome"]) == {"not comparable on a host this busy"}
    assert not {LIGHT.side(0), LIGHT.side(1)} & set(source.data["colour"])


def test_no_format_names_a_winner_of_a_run_that_is_not_to_be_believed() -> None:
    summary = comparison_of_two() | {"valid": False}
    summary["sentences"] = sentences(summary)

    texts = [_terminal(summary), markdown(summary), html(summary)]
    plot = ratios(judged(summary), LIGHT)

    for text in texts:
        assert "prefork:4 did more" not in text.partition("How each figure")[0]
        assert "would show)" not in text
        assert text.count("not judged: see the warnings") >= 3
    (source,) = {each.data_source for each in plot.renderers}
    assert set(source.data["outcome"]) == {"not judged: see the warnings"}
    assert not {LIGHT.side(0), LIGHT.side(1)} & set(source.data["colour"])
    assert judged(comparison_of_two()) == comparison_of_two()["comparisons"]


def test_what_is_just_above_the_bound_is_not_written_as_the_bound() -> None:
    (headline,) = _headlines([comparison("square", 2, 1.9, 2.1, 0.102)])

    assert headline.endswith(
        "are not comparable on a host this busy: others took 10.2 % of its CPU time."
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.986, 0.992, "did 0.8 to 1.4 % fewer tasks a second than threads:4"),
        (1.0004, 1.02, "did 0.04 to 2.00 % more tasks a second than threads:4"),
    ],
)
def test_what_is_too_close_to_call_is_told_by_what_was_measured(
    low: float, high: float, words: str
) -> None:
    one = comparison("sleep:50ms", (low * high) ** 0.5, low, high)

    (headline,) = _headlines([one])

    assert headline.startswith(
        f"For sleep:50ms it is too close to call: as measured prefork:4 {words}"
    )
    assert "Half of such runs would show a difference of" in headline


@pytest.mark.parametrize(
    ("low", "high", "fresh", "words"),
    [
        (1.0001, 1.20, True, "too noisy to call"),
        (1.0001, LEAST**2, True, "too close to call"),
        (1.0001, LEAST**2 + 1e-9, True, "too noisy to call"),
        (LEAST**-2, 0.9999, True, "too close to call"),
        (LEAST**-2 - 1e-9, 0.9999, True, "too noisy to call"),
        # Equal sides of the rounds that are kept.
        (0.945, 0.993, True, "too noisy to call"),
        (1.02, OF_PROCESSES**2, False, "too close to call"),
        (1.02, OF_PROCESSES**2 + 1e-9, False, "too noisy to call"),
    ],
)
def test_what_is_too_close_is_near_at_its_far_end_too(
    low: float, high: float, words: str, *, fresh: bool
) -> None:
    one = comparison("square", (low * high) ** 0.5, low, high, fresh=fresh)

    (headline,) = _headlines([one])

    assert one["outcome"] == "too noisy to call"
    assert headline.startswith(f"For square it is {words}: ")
    assert label(one).startswith(words)


# --- the rounds that are kept ---------------------------------------------------------------------


#: In a Python of its own: the bench's onlooker listens to Celery's signals.
_COUNT: Final = """
import json, sys
from benchmarks.verdict import counted_outcomes
print(json.dumps(counted_outcomes(*json.load(sys.stdin))))
"""


def _counted(*runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return how the bench counts runs: those of equal sides, and those with a planted 5 %."""
    done = subprocess.run(
        [sys.executable, "-c", _COUNT],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return dict(json.loads(done.stdout))


def test_of_the_rounds_that_are_kept_no_equal_pair_is_called_different() -> None:
    kept = json.loads((ROOT / "docs/benches/verdict.json").read_bytes())
    runs = [run for run in kept["rounds"] if run["kind"] != "outside"]
    for run in runs:
        other = "b" if run["kind"] == "equal" else "slow"
        rates = run["tasks_per_s"]
        ratio = ratio_of_rounds(rates["a"], rates[other])
        assert ratio is not None
        run["outcome"] = outcome(ratio)
        # Nothing of what others took is kept but that it was no tenth.
        assert "busy_host" not in run["warnings"]

    equal, planted = ([run for run in runs if run["kind"] == kind] for kind in ("equal", "planted"))
    found = _counted(equal, planted)

    names = ("equal_runs", "equal_called_different", "planted_runs", "planted_found")
    assert [found[name] for name in names] == [40, 0, 40, 37]
    assert found["not_comparable"] == 0
    busy = [run | {"outcome": outcome(Ratio(2, 1.9, 2.1), 0.5)} for run in equal]
    assert _counted(busy, busy)["not_comparable"] == 80
    assert {name: kept["figures"][name] for name in names} == {name: found[name] for name in names}
