"""What the README shows is what the run that is kept beside it proves, judged anew."""

from __future__ import annotations

import re

from poolproof.judge.run import consider
from poolproof.judge.summary import summary_of
from tests.example import README, ROOT, RUN, report, shown


def test_the_readme_shows_the_report_of_the_kept_run() -> None:
    assert shown() == report()


def test_the_kept_run_is_a_benchmark_result() -> None:
    summary = summary_of(consider(RUN))

    assert summary["valid"]
    assert summary["books"]["balanced"]
    assert [crash["interrupted"] for crash in summary["crashes"]] == [0, 3]


def test_what_the_readme_links_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8"))

    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
