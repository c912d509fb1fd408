"""Intervals, and figures that a sample cannot support."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from poolproof.judge.performance import statistics
from poolproof.judge.performance.statistics import (
    LEAST,
    interval_of_median,
    is_narrow,
    percentile,
    ratio_of_medians,
    ratio_of_rounds,
    spread,
    wilson,
)

_A = [100.0, 101.0, 99.0, 102.0, 98.0]
_ROUNDS = [*_A, 100.5]


def test_a_clear_difference_is_shown() -> None:
    found = ratio_of_medians([2 * each for each in _A], _A)

    assert found is not None
    assert found.ratio == pytest.approx(2)
    assert found.low < 2 < found.high
    assert found.verdict == "a"


def test_the_other_way_round_it_is_the_inverse() -> None:
    found = ratio_of_medians(_A, [2 * each for each in _A])

    assert found is not None
    assert found.ratio == pytest.approx(0.5)
    assert found.verdict == "b"


def test_equal_sides_show_no_difference_and_say_what_would_have_shown() -> None:
    found = ratio_of_medians(_A, [99.0, 100.0, 102.0, 97.0, 101.0])

    assert found is not None
    assert found.verdict == "no difference shown"
    assert 1 < found.smallest_detectable < 1.1


def test_what_would_have_shown_is_beyond_what_was_measured_and_did_not() -> None:
    # One round is far from the others: the interval reaches further down than up.
    found = ratio_of_rounds([1.005, 1.05, 1.05, 1.055, 1.06, 1.06], [1.0] * 6)

    assert found is not None
    assert found.verdict == "no difference shown"
    assert found.smallest_detectable == pytest.approx(LEAST * found.ratio / found.low)
    assert found.smallest_detectable > found.ratio > LEAST
    turned = ratio_of_rounds([1.0] * 6, [1.005, 1.05, 1.05, 1.055, 1.06, 1.06])
    assert turned is not None
    assert turned.smallest_detectable == pytest.approx(found.smallest_detectable)


def test_the_same_values_give_the_same_interval() -> None:
    assert ratio_of_medians(_A, _A) == ratio_of_medians(_A, _A)


def test_with_few_blocks_only_complete_separation_is_a_difference() -> None:
    apart = ratio_of_medians([3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 2.5, 2.6])
    mixed = ratio_of_medians([3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 2.5, 3.5])

    assert apart is not None
    assert mixed is not None
    assert (apart.verdict, mixed.verdict) == ("a", "no difference shown")


@pytest.mark.parametrize(("a", "b"), [(3, 3), (3, 4), (2, 7), (1, 38), (0, 50)])
def test_so_few_blocks_have_no_interval_however_far_apart(a: int, b: int) -> None:
    assert ratio_of_medians([9.0] * a, [1.0] * b) is None
    assert ratio_of_medians([1.0] * b, [9.0] * a) is None


@pytest.mark.parametrize(("a", "b"), [(3, 5), (4, 4), (2, 8), (1, 39)])
def test_the_fewest_blocks_that_have_an_interval_call_equal_sides_different_in_5_percent(
    a: int, b: int
) -> None:
    generator = np.random.default_rng(a)
    trials, alarms = 4_000, 0
    for _ in range(trials):
        values = np.exp(generator.normal(0, 0.05, a + b)).tolist()
        found = ratio_of_medians(values[:a], values[a:])
        assert found is not None
        alarms += found.verdict != "no difference shown"

    assert 0 < alarms / trials < 0.06


def test_a_false_alarm_is_rare() -> None:
    generator = np.random.default_rng(4)
    rounds = 200
    alarms = 0
    for _ in range(rounds):
        a, b = np.exp(generator.normal(0, 0.05, (2, 5)))
        found = ratio_of_medians(a.tolist(), b.tolist())
        alarms += found is not None and found.verdict != "no difference shown"

    assert alarms / rounds < 0.1


# --- rounds ---------------------------------------------------------------------------------------


def test_what_slows_both_sides_of_a_round_down_does_not_widen_the_interval() -> None:
    drift = np.array([1.0, 0.5, 0.8, 2.0, 1.3, 0.6, 0.9])
    noise = np.array([1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01])
    a, b = (1.1 * drift * noise).tolist(), drift.tolist()

    rounds, blocks = ratio_of_rounds(a, b), ratio_of_medians(a, b)

    assert rounds is not None
    assert blocks is not None
    assert rounds.verdict == "a"
    assert rounds.low < 1.1 < rounds.high
    assert rounds.precision < 0.03
    assert blocks.verdict == "no difference shown"


def test_the_order_of_rounds_does_not_matter_and_the_other_way_round_it_is_the_inverse() -> None:
    generator = np.random.default_rng(9)
    a, b = np.exp(generator.normal(0, 0.1, (2, 9)))
    order = generator.permutation(9)

    found, other = ratio_of_rounds(a.tolist(), b.tolist()), ratio_of_rounds(a[order], b[order])
    back = ratio_of_rounds(b.tolist(), a.tolist())

    assert found is not None
    assert back is not None
    assert other == found
    assert [1 / back.ratio, 1 / back.high, 1 / back.low] == pytest.approx(
        [found.ratio, found.low, found.high]
    )


def test_fewer_than_six_rounds_have_no_interval() -> None:
    assert ratio_of_rounds([9.0] * 5, [1.0] * 5) is None
    assert ratio_of_rounds([], []) is None
    assert ratio_of_rounds([9.0] * 6, [1.0] * 6) is not None


@pytest.mark.parametrize("count", [6, 7, 8, 11, 20, 60])
def test_the_interval_leaves_out_1_where_the_signed_ranks_say_so(count: int) -> None:
    generator = np.random.default_rng(count)
    said = set()
    for _ in range(300):
        a, b = np.exp(generator.normal([[0.03], [0.0]], 0.05, (2, count)))
        found = ratio_of_rounds(a.tolist(), b.tolist())
        assert found is not None
        shown = not found.low <= 1 <= found.high
        assert shown == (wilcoxon(np.log(a / b), method="exact").pvalue <= 0.05)
        said.add(shown)
    assert said == {True, False}


def test_of_many_rounds_the_normal_distribution_gives_nearly_the_same_interval() -> None:
    exact, near = ([statistics._cut(count) or 0 for count in pair] for pair in ((59, 60), (61, 62)))

    steps = np.diff([*exact, *near])
    assert (steps > 0).all()
    assert steps.max() - steps.min() <= 2


_NOISES = {
    "even": lambda generator, count: generator.normal(0, 0.04, count),
    "with outliers": lambda generator, count: (
        generator.normal(0, 0.025, count)
        - np.where(generator.random(count) < 0.15, generator.exponential(0.15, count), 0)
    ),
    "heavy in its tails": lambda generator, count: 0.04 * generator.standard_t(3, count) / 1.7,
}


def _measured(a: np.ndarray, b: np.ndarray) -> tuple[str, int]:
    """Stop as `experiments.measurement` does; return the verdict, and after how many rounds."""
    for count in range(6, len(a) + 1):
        if count % 2 == 0 and is_narrow(a[:count].tolist(), b[:count].tolist(), 0.05):
            break
    found = ratio_of_rounds(a[:count].tolist(), b[:count].tolist())
    assert found is not None
    return found.verdict, count


@pytest.mark.parametrize("noise", _NOISES)
def test_to_stop_when_the_interval_is_narrow_does_not_raise_the_false_alarms(noise: str) -> None:
    generator = np.random.default_rng(7)
    rounds, wrong, counts = 200, 0, set()
    for _ in range(rounds):
        a, b = (np.exp(_NOISES[noise](generator, 24)) for _ in range(2))
        verdict, count = _measured(a, b)
        wrong += verdict != "no difference shown"
        counts.add(count)

    assert len(counts) > 3  # it did stop at different times
    # 5 % and two standard errors of 200 rounds.
    assert wrong / rounds < 0.08


def test_a_true_difference_of_twice_the_precision_is_found() -> None:
    generator = np.random.default_rng(8)
    found = 0
    for _ in range(100):
        a, b = np.exp(generator.normal(0, 0.04, (2, 24)))
        found += _measured(1.1 * a, b)[0] == "a"

    assert found >= 90


def test_whether_an_interval_is_narrow_does_not_depend_on_where_it_lies() -> None:
    for factor in (0.5, 1.0, 2.0):
        mine = [factor * each for each in _ROUNDS[::-1]]
        assert is_narrow(mine, _ROUNDS, 0.05)
        assert not is_narrow(mine, _ROUNDS, 0.01)


def test_with_few_blocks_no_interval_is_narrow() -> None:
    assert not is_narrow(_A, _A, 0.5)
    assert interval_of_median(_A[:4]) is None


def test_the_interval_of_a_median_holds_it() -> None:
    interval = interval_of_median(_A)

    assert interval is not None
    assert interval[0] < 100 < interval[1]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # As in Wilson's formula by hand, and R's binom.confint(method="wilson").
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 3, 0.0615, 0.7923)],
)
def test_the_interval_of_a_share(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_nothing_tried_is_nothing_known() -> None:
    assert wilson(0, 0) is None


def test_a_percentile_needs_ten_values_beyond_it() -> None:
    values = np.arange(1000.0)

    assert percentile(values, 99) == pytest.approx(989.01)
    assert percentile(values, 99.9) is None
    assert percentile(np.arange(9_999.0), 99.9) is None
    assert percentile(np.arange(10_000.0), 99.9) == pytest.approx(9_989.0001)
    assert percentile(values[:19], 50) is None
    assert percentile(values[:20], 50) == pytest.approx(9.5)


def test_the_spread_is_a_share_of_the_median() -> None:
    assert spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
