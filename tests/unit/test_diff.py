"""What changed between two runs: thresholds, refusals, and the three ways to print it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from poolproof.judge.comparable import Difference, notes, reasons
from poolproof.judge.diff import change, diff
from poolproof.judge.thresholds import Threshold
from poolproof.report.diff import markdown, show
from poolproof_workers.errors import UsageError
from tests.unit.summaries import comparison_of_two

if TYPE_CHECKING:
    from collections.abc import Callable

_values = st.lists(st.floats(0.5, 2.0), min_size=5, max_size=8)


def _run(scale: float = 1.0, noise: float = 0.001) -> dict[str, Any]:
    """A run whose blocks of every workload are of one speed, give or take the noise."""
    summary = comparison_of_two()
    for pool in summary["pools"].values():
        for of in pool["workloads"].values():
            middle = of["throughput_per_s"]["median"] * scale
            blocks = [middle * (1 + noise * turn) for turn in (-2, -1, 0, 1, 2)]
            of["throughput_per_s"] = {"median": middle, "blocks": blocks}
    for side, pool in summary["pools"].items():
        pool["pool"] = side
    return summary


def _outcomes(text: str, base: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [each["outcome"] for each in Threshold.parse(text).judge(diff(base, new)["changes"])]


def test_a_threshold_fires_on_every_workload_that_fell_below_it() -> None:
    assert _outcomes("threads:4 throughput < -5%", _run(), _run(0.9)) == ["fires"] * 3


def test_a_threshold_of_one_workload_is_about_that_alone() -> None:
    assert _outcomes("threads:4 square throughput < -5%", _run(), _run(0.9)) == ["fires"]


def test_a_change_within_a_threshold_holds() -> None:
    assert _outcomes("threads:4 square throughput < -5%", _run(), _run(0.98)) == ["holds"]


def test_noise_that_is_larger_than_the_threshold_does_not_fire_and_says_what_would_have() -> None:
    base, new = _run(noise=0.1), _run(0.9, noise=0.1)
    threshold = Threshold.parse("threads:4 square throughput < -5%")

    (found,) = threshold.judge(diff(base, new)["changes"])

    assert found["outcome"] == "not shown"
    assert found["low"] < 0.95 < found["high"]
    assert found["would_fire_at"] < 0.9
    much_less = _run(found["would_fire_at"] * 0.97, noise=0.1)
    assert _outcomes(threshold.text, base, much_less) == ["fires"]


def test_too_few_blocks_are_not_shown_whatever_they_say() -> None:
    base, new = _run(), _run(0.5)
    for of in new["pools"]["threads:4"]["workloads"].values():
        of["throughput_per_s"]["blocks"] = of["throughput_per_s"]["blocks"][:2]

    assert _outcomes("threads:4 throughput < -5%", base, new) == ["not shown"] * 3


def _busy(run: dict[str, Any]) -> dict[str, Any]:
    for pool in run["pools"].values():
        for of in pool["workloads"].values():
            of |= {"taken_share": 0.5, "by_block": {"pss_bytes": [1.0, 1.01, 1.02, 1.03, 1.04]}}
    return run


@pytest.mark.parametrize("threshold", ["< -5%", "> 5%"])
def test_on_a_host_too_busy_to_compare_a_threshold_neither_fires_nor_holds(threshold: str) -> None:
    text = f"threads:4 throughput {threshold}"

    assert _outcomes(text, _run(), _busy(_run(0.5))) == ["not shown"] * 3
    assert _outcomes(text, _busy(_run()), _run(0.5)) == ["not shown"] * 3
    (found, *_) = Threshold.parse(text).judge(diff(_run(), _busy(_run(0.5)))["changes"])
    assert found["why"].startswith("not comparable on a host this busy: others took 50 %")


def test_a_throughput_that_the_harness_limited_is_not_compared() -> None:
    new = _run(0.5) | {"harness": {"limits": [("square", "threads:4")]}}

    for run in (new, json.loads(json.dumps(new))):
        found = _outcomes("threads:4 throughput < -5%", _run(), run)
        assert sorted(found) == ["fires", "fires", "not shown"]


def test_memory_is_compared_on_a_busy_host_too() -> None:
    base, new = _busy(_run()), _busy(_run())
    for of in new["pools"]["threads:4"]["workloads"].values():
        of["by_block"]["pss_bytes"] = [2.0, 2.01, 2.02, 2.03, 2.04]

    assert _outcomes("threads:4 memory > 50%", base, new) == ["fires"] * 3


def test_a_change_that_two_lives_of_one_programme_may_show_is_not_called_one() -> None:
    base, new = _run(), _run(1.03)
    (found, *_) = diff(base, new)["changes"]
    for run in (base, new):
        run["plan"]["fresh"] = False
    (stayed, *_) = diff(base, new)["changes"]

    assert (found["outcome"], found["verdict"]) == ("more", "more")
    assert (stayed["outcome"], stayed["verdict"]) == ("too noisy to call", "not shown")


@pytest.mark.parametrize(
    ("scale", "text", "said", "fires_from"),
    [
        (0.97, "throughput < -2%", ("fires", "not shown"), 0.98 / 1.05 * 1.01),
        (1.03, "throughput > 2%", ("fires", "not shown"), 1.02 * 1.05 / 1.01),
        (0.93, "throughput < -2%", ("fires", "fires"), 0.98 / 1.05 * 1.01),
        (1.0, "throughput < -2%", ("holds", "not shown"), 0.98 / 1.05 * 1.01),
        (1.0, "throughput < -6%", ("holds", "holds"), 0.94 / 1.05 * 1.01),
    ],
)
def test_a_threshold_on_processes_that_stayed_bears_what_two_of_one_programme_differ_by(
    scale: float, text: str, said: tuple[str, str], fires_from: float
) -> None:
    base, new = _run(), _run(scale)
    threshold = Threshold.parse(f"threads:4 square {text}")
    fresh = _outcomes(threshold.text, base, new)
    for run in (base, new):
        run["plan"]["fresh"] = False

    (found,) = threshold.judge(diff(base, new)["changes"])

    assert (*fresh, found["outcome"]) == said
    nearer = found["high" if threshold.is_below else "low"]
    assert found["would_fire_at"] == pytest.approx(fires_from * found["ratio"] / nearer)


@given(_values, _values, st.floats(-50, 50), st.sampled_from("<>"))
@settings(deadline=None)
def test_a_threshold_fires_only_if_the_median_and_the_whole_interval_lie_beyond_it(
    base: list[float], new: list[float], percent: float, than: str
) -> None:
    found = change(base, new) | {"side": "s", "workload": "w", "measure": "throughput"}
    limit = Threshold.parse(f"s throughput {than} {percent:.3f}%")

    (judged,) = limit.judge([found])

    beyond = [
        edge < limit.ratio if than == "<" else edge > limit.ratio
        for edge in (found["low"], found["high"], found["ratio"])
    ]
    assert (judged["outcome"] == "fires") == all(beyond[:2])
    if judged["outcome"] == "fires":
        assert beyond[2]


@given(_values, _values)
@settings(deadline=None)
def test_a_change_turned_round_is_its_inverse(base: list[float], new: list[float]) -> None:
    forth, back = change(base, new), change(new, base)

    assert forth["ratio"] == pytest.approx(1 / back["ratio"])
    # The resamples differ: one of the two may just not show what the other does.
    assert {forth["verdict"], back["verdict"]} not in ({"more"}, {"less"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("threads:4 throughput", "is not a threshold"),
        ("threads:4 throughput < 5", "is not a threshold"),
        ("threads:4 speed < -5%", "'speed' is not a measure"),
        ("threads:4 throughput < -100%", "can never be"),
    ],
)
def test_what_is_no_threshold_is_a_usage_error(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Threshold.parse(text)


def test_a_threshold_about_nothing_that_was_measured_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"threads:5 throughput.* is about nothing"):
        _outcomes("threads:5 throughput < -5%", _run(), _run())


def test_two_equal_runs_may_be_compared() -> None:
    assert reasons(_run(), _run()) == []


def _plan(run: dict[str, Any]) -> None:
    run["plan"]["workloads"] = ["sleep:60ms"]


def _events(run: dict[str, Any]) -> None:
    run["plan"]["events"] = True


def _machine(run: dict[str, Any]) -> None:
    run["machine"]["cpu"] = "Another"


def _celery(run: dict[str, Any]) -> None:
    run["versions"]["celery"] = "5.6.3"


def _invalid(run: dict[str, Any]) -> None:
    run["valid"] = False


def _pool(run: dict[str, Any]) -> None:
    run["pools"]["threads:4"]["pool"] = "gevent:4"


def _setting(run: dict[str, Any]) -> None:
    run["pools"]["threads:4"]["terms"] = {"settings": {"policy": "late"}, "versions": {}}


def _strangers(run: dict[str, Any]) -> None:
    run["pools"] = {f"other {side}": of for side, of in run["pools"].items()}


@pytest.mark.parametrize(
    ("alter", "subject"),
    [
        (_plan, "workload"),
        (_events, "events"),
        (_machine, "machine"),
        (_celery, "celery"),
        (_invalid, "invalid"),
        (_pool, "pool"),
        (_setting, "policy"),
        (_strangers, "side"),
    ],
)
def test_runs_that_must_not_be_compared_have_the_reason(
    alter: Callable[[dict[str, Any]], None], subject: str
) -> None:
    other = copy.deepcopy(_run())
    alter(other)

    for pair in ((_run(), other), (other, _run())):
        assert [each.subject for each in reasons(*pair)] == [subject]


def _sentences(alter: Callable[[dict[str, Any]], None]) -> list[str]:
    """What is said of a run that was altered, against one that was not."""
    other = copy.deepcopy(_run())
    alter(other)
    return [each.what for each in reasons(_run(), other)]


def test_a_reason_names_what_differs_and_what_it_was_and_is() -> None:
    base = _run()

    def own_versions(run: dict[str, Any]) -> None:
        for side in run["pools"]:
            run["pools"][side]["terms"] = {"versions": {"celery": "5.4", "commit": "abc"}}

    def host(run: dict[str, Any]) -> None:
        run["machine"]["host"] = "elsewhere"
        run["machine"]["python"] = "9.9"

    cpu, celery = base["machine"].get("cpu", "nothing"), base["versions"]["celery"]
    assert _sentences(_machine) == [f"The machine's cpu was {cpu}, and is Another."]
    assert _sentences(_celery) == [f"The version of celery was {celery}, and is 5.6.3."]
    assert _sentences(own_versions) == [
        f"The version of celery of {side} was nothing, and is 5.4." for side in base["pools"]
    ]
    assert _sentences(host)[0].endswith("and is elsewhere.")
    other = copy.deepcopy(base)
    host(other)
    assert [each.subject for each in reasons(base, other)] == ["host"]


@pytest.mark.parametrize("word", ["base", "new"])
def test_a_run_that_is_not_to_be_believed_is_named(word: str) -> None:
    bad = copy.deepcopy(_run())
    bad["valid"] = False
    bad["warnings"] = [{"code": code} for code in ("cpu_steal", "swap", "short", "more")]
    pair = (bad, _run()) if word == "base" else (_run(), bad)

    what = f"The {word} run is no benchmark result (cpu steal, swap, short)."
    assert reasons(*pair) == [Difference("invalid", what)]
    bad["books"] = bad["books"] | {"balanced": False}
    what = f"The books of the {word} run do not balance."
    assert reasons(*pair) == [Difference("invalid", what)]


@pytest.mark.parametrize(("before", "after"), [(100, 125), (100, 100), (None, 125), (100, None)])
def test_a_workload_that_was_calibrated_anew_is_noted(
    before: int | None, after: int | None
) -> None:
    base, new = _run(), copy.deepcopy(_run())
    for run, spins in ((base, before), (new, after)):
        for pool in run["pools"].values():
            pool["workloads"]["square"]["work"] = None if spins is None else {"spins": spins}

    noted = ["square was calibrated anew: a task of the new run has +25.0 % turns."]
    assert notes(base, new) == (noted if (before, after) == (100, 125) else [])


def test_how_long_and_with_which_seed_it_was_measured_is_no_reason() -> None:
    other = _run()
    other["plan"] |= {"seed": 9, "budget_s": 1.0, "blocks": 30}

    assert reasons(_run(), other) == []


def _report(new: dict[str, Any]) -> dict[str, Any]:
    found = diff(_run(), new) | {"differences": [], "notes": []}
    limit = Threshold.parse("threads:4 square throughput < -5%")
    return found | {"thresholds": limit.judge(found["changes"])}


def test_the_report_says_what_fired_and_by_how_much() -> None:
    report = _report(_run(0.9))
    console = Console(width=110, record=True, file=None, quiet=False)
    with console.capture() as captured:
        show(report, console)

    for text in (captured.get(), markdown(report)):
        assert "1 of 1 thresholds fired." in text
        assert "FIRES" in text
        assert "-10.0 %" in text
    assert json.loads(json.dumps(report)) == report


def test_the_report_says_what_difference_would_have_shown() -> None:
    text = markdown(_report(_run(1.0, noise=0.1)))

    assert "0 of 1 thresholds fired." in text
    assert "would have fired" in text
    assert "too noisy to call (" in text
    assert "would show)" in text
