"""The account of a fault from summaries of before."""

from __future__ import annotations

from poolproof.judge.faults.account import account
from tests.unit.matrices import crash


def test_an_older_summary_counts_no_more_interrupted_at_the_first_strike_than_ran() -> None:
    old = crash("threads:4", running=3, interrupted=6, strikes=2)
    del old["interrupted_first"]

    found = account([[old]])

    assert (found["interrupted_first"], found["interrupted"]) == (3, 6)
    assert found["shares"]["interrupted"]["share"] == 1.0
