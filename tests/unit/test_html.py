"""The HTML report says what the summary says, and trusts nothing in it."""

from __future__ import annotations

import re

from poolproof.report.html import html
from poolproof.report.plots import ratios
from poolproof.report.theme import LIGHT
from tests.unit.summaries import comparison_with_all, timelines_of_two


def test_every_sentence_and_fact_is_on_the_page() -> None:
    summary = comparison_with_all()
    page = html(summary, timelines_of_two())

    assert all(sentence in page for sentence in summary["sentences"])
    assert "Example CPU @ 2.50GHz" in page
    assert "segfault on threads:4" in page


def test_the_page_says_how_it_was_made_and_what_measuring_took() -> None:
    page = html(comparison_with_all())

    for words in ("seed 7", "$ poolproof compare --out", "0123456789ab", "GCC 13.3.0"):
        assert words in page
    for title in ("Open loops", "What measuring took", "What went on around it"):
        assert f"<summary>{title}</summary>" in page
    assert "2,470" in page


def test_the_page_says_what_was_noticed_of_a_fault() -> None:
    assert "worker ended by SIGSEGV" in html(comparison_with_all())


def test_it_loads_nothing() -> None:
    page = html(comparison_with_all())

    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)


def test_what_a_run_says_is_text_and_never_markup() -> None:
    summary = comparison_with_all()
    summary["sentences"] = ["<script>alert(1)</script>"]
    summary["run"] = "<b>bold"
    page = html(summary)

    assert "<script>alert" not in page
    assert "<b>bold" not in page


def test_a_run_without_figures_is_still_a_page() -> None:
    summary = comparison_with_all() | {
        "pools": {},
        "sweep": None,
        "comparisons": [],
        "crashes": [],
        "valid": False,
    }

    assert "NOT A BENCHMARK RESULT" in html(summary)


def test_the_ratio_of_one_is_always_in_sight() -> None:
    only = [one for one in comparison_with_all()["comparisons"] if one["workload"] == "cpu:5ms"]
    plot = ratios(only, LIGHT)

    assert plot.x_range.start < 1 < plot.x_range.end
    assert 1 in plot.xaxis[0].ticker.ticks
