"""The sentences are true in the odd cases too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.judge.performance.ratios import noise_floor
from poolproof.judge.performance.statistics import Ratio, ratio_of_medians, ratio_of_rounds
from poolproof.judge.sentences import sentences
from poolproof.judge.summary import summarise
from tests.unit.celery_model import Model, write
from tests.unit.measured_run import MS, Run, S
from tests.unit.summaries import comparison, comparison_of_two, comparison_with_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _even(begin_ns: int, count: int, every_ns: int) -> list[tuple[int, int, int]]:
    starts = [begin_ns + MS + index * every_ns for index in range(count)]
    return [(start - MS, start, start + MS) for start in starts]


def _compared(rates: dict[str, tuple[float, ...]]) -> Run:
    """Sides with blocks of 100 tasks at these rates."""
    run = Run(tuple(rates), plan={"fresh": True})
    for side, of in rates.items():
        for rate in of:
            begin = (10 + 4 * run.blocks) * S
            run.block(side, begin, _even(begin, 100, round(S / rate)))
    return run


def _said(run: Run, folder: Path) -> list[str]:
    found: list[str] = summarise(run.write(folder))["sentences"]
    return found


def test_sides_of_which_all_of_the_interval_is_within_1_percent_are_the_same(
    tmp_path: Path,
) -> None:
    rates = (1000.0, 1000.2, 1000.4, 1000.6, 1000.8)

    first = _said(_compared({"a": rates, "b": rates}), tmp_path)[0]

    assert first == (
        "For square a and b did the same within 1 %: a did between 0.999 and 1.001 times as many "
        "tasks a second as b."
    )


def test_what_would_have_shown_is_never_rounded_down_to_nothing(tmp_path: Path) -> None:
    rates = (1000.0, 1000.2, 1000.4, 1000.6, 1000.8)
    run = _compared({"a": rates, "b": rates})
    run.ops[0][1]["plan"] = {"fresh": False}  # two processes of one programme may differ by 5 %

    first = _said(run, tmp_path)[0]

    assert first == (
        "For square it is too noisy to call: a did between 0.999 and 1.001 times as many tasks a "
        "second as b. Half of such runs would show a difference of 5.1 %."
    )


def test_an_interval_that_leaves_out_1_and_crosses_1_percent_is_told_as_it_is(
    tmp_path: Path,
) -> None:
    slow = tuple(100.0 * each for each in (0.986, 0.988, 0.989, 0.991, 0.992))

    first = _said(_compared({"a": slow, "b": (100.0,) * 5}), tmp_path)[0]

    assert first.startswith(
        "For square it is too close to call: as measured a did 0.8 to 1.4 % fewer tasks a second "
        "than b, and what may be less than 1 % is not called a difference. Half of such runs "
    )


def test_a_run_whose_figures_are_not_to_be_believed_says_nothing_of_its_sides(
    tmp_path: Path,
) -> None:
    run = _compared({"a": (100.0,) * 6, "b": (200.0,) * 6})
    number, t_ns, detail, event = run.records["a"][-1]
    run.records["a"][-1] = (number, t_ns, detail + 1, event)

    said = _said(run, tmp_path)

    assert said[0] == "The figures below are no benchmark result: see the warnings."
    assert not any("tasks a second" in each for each in said)


@pytest.mark.parametrize(("ratio_of", "most"), [(ratio_of_rounds, 0.6), (ratio_of_medians, 0.65)])
def test_a_true_difference_of_what_would_have_shown_is_shown_in_half_of_the_runs(
    ratio_of: Callable[[list[float], list[float]], Ratio | None], most: float
) -> None:
    generator = np.random.default_rng(3)
    shown = 0
    for _ in range(300):
        a, b, again, other = np.exp(generator.normal(0, 0.04, (4, 7)))
        asked = ratio_of(a.tolist(), b.tolist())
        assert asked is not None
        found = ratio_of((again * asked.smallest_detectable).tolist(), other.tolist())
        shown += found is not None and found.verdict == "a"

    assert 0.4 < shown / 300 < most


def test_a_small_difference_that_is_shown_is_not_written_as_none(tmp_path: Path) -> None:
    slow, fast = (100.0, 100.01, 100.02, 100.03, 100.04), (101.2, 101.21, 101.22, 101.23, 101.24)

    first = _said(_compared({"a": slow, "b": fast}), tmp_path)[0]

    assert "b did 1.01 times as many tasks a second as a" in first


def test_what_is_less_than_the_least_difference_is_not_called_one(tmp_path: Path) -> None:
    slow, fast = (100.0, 100.01, 100.02, 100.03, 100.04), (100.4, 100.41, 100.42, 100.43, 100.44)

    first = _said(_compared({"a": slow, "b": fast}), tmp_path)[0]

    assert "a and b did the same within 1 %: a did between 0.996 and 0.996 times" in first


def test_of_three_sides_those_are_named_that_are_the_same(tmp_path: Path) -> None:
    rates = (100.0, 101.0, 102.0, 103.0, 104.0)
    run = _compared(dict.fromkeys(("a", "b", "c"), rates))
    run.ops = [
        (who, op | {"pool": "prefork:2"} if (op["op"], who) == ("hello", "c@host") else op)
        for who, op in run.ops
    ]

    (noise,) = [each for each in _said(run, tmp_path) if "noise" in each]

    assert noise.startswith("a and b are the same, so what they differ by is noise.")


def test_a_run_without_tasks_says_so(tmp_path: Path) -> None:
    model = Model("threads", "early")
    model.close()

    summary = summarise(write(tmp_path, model.entries([1])))

    assert summary["sentences"] == ["No task was enqueued."]


def test_one_block_is_one_block(tmp_path: Path) -> None:
    summary = summarise(_compared({"a": (100.0,)}).write(tmp_path))

    advice = [each["advice"] for each in summary["warnings"] if each["code"] == "few_blocks"]
    assert advice[0].startswith("Only 1 round of square on a:")


def _aa(*taken: float, **summary: Any) -> dict[str, Any]:
    """Return a comparison of equal sides, on one workload for each share that others took."""
    compared = [
        comparison(f"work-{turn}", 1.0, 0.98, 1.02, share) | {"same": True}
        for turn, share in enumerate(taken)
    ]
    found = comparison_of_two() | {"comparisons": compared} | summary
    return found | {"noise_floor": noise_floor(compared)}


def test_the_noise_floor_is_taken_from_what_may_be_compared_only() -> None:
    (said,) = [each for each in sentences(_aa(0.01, 0.6)) if "noise" in each]

    assert _aa(0.01, 0.6)["noise_floor"] == pytest.approx({"work-0": 1 / 0.98 - 1})
    assert said.startswith("prefork:4 and threads:4 are the same, so")
    assert said.endswith("told from it here: 2.0 % for work-0.")
    assert _aa(0.6)["noise_floor"] == {}


def test_of_a_pair_without_a_floor_it_is_not_said_that_it_is_the_same() -> None:
    summary = _aa(0.01, 0.6)
    summary["comparisons"][1] |= {"a": "c", "b": "d"}

    (said,) = [each for each in sentences(summary) if "noise" in each]

    assert "c and d" not in said


@pytest.mark.parametrize("warned", [True, False])
def test_only_of_a_run_that_is_to_be_believed_anything_is_compared(*, warned: bool) -> None:
    summary = _aa(0.01, valid=not warned) | {"pools": comparison_with_all()["pools"]}

    said = sentences(summary)

    for words in ("For work-0", "noise", "half were done within", "times the memory"):
        assert any(words in each for each in said) == (not warned), words


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (None, "half were done within this time: prefork:4 2 ms, p90 4 ms; threads:4 2 ms, "),
        (0.1, "half were done within this time: prefork:4 2 ms, p90 4 ms; threads:4 2 ms, "),
        (0.6, "prefork:4 and threads:4 are not comparable on a host this busy: others took 60 % "),
    ],
)
def test_how_long_tasks_took_is_not_compared_on_a_busy_host(taken: float | None, said: str) -> None:
    summary = comparison_with_all()
    summary["pools"]["threads:4"]["workloads"]["square"]["open_loop"]["taken_share"] = taken

    told = [each for each in sentences(summary) if each.startswith("At ")]

    assert told[0].startswith(f"At 700 square tasks a second {said}")
    assert [each.split()[2] for each in told] == ["square", "sleep:50ms", "cpu:5ms"]
    assert all("half were done" in each for each in told[1:])


def test_how_long_the_tasks_of_one_side_took_is_said_on_a_busy_host_too() -> None:
    summary = _slowly(1.4)
    summary["pools"]["a"]["workloads"]["sleep:1000ms"]["open_loop"]["taken_share"] = 0.6

    assert sentences(summary)[0].endswith("half were done within this time: a 1.00 s.")


def _slowly(offered_per_s: float) -> dict[str, Any]:
    load = {"offered_per_s": offered_per_s, "latency_s": {"total": {"n": 30, "p50": 1.0}}}
    figures = {"open_loop": load | {"overloaded": False}, "counter": None}
    pool = {"workloads": {"sleep:1000ms": figures}, "memory": {}}
    books = {"enqueued": 30, "balanced": True, "verdicts": {"completed": 30}}
    return {"valid": True, "comparisons": [], "pools": {"a": pool}, "crashes": [], "books": books}


def test_a_slow_rate_is_not_rounded_to_another_one() -> None:
    assert sentences(_slowly(1.4))[0].startswith("At 1.4 sleep:1000ms tasks a second")
