"""The findings say what the cells say, and nothing where they say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from poolproof.judge.faults.matrix import assemble
from poolproof.report.matrix.findings import findings, is_harmed
from tests.unit.matrices import crash, plan, run, unharmed


def _said(*crashes: dict[str, Any]) -> list[str]:
    return findings(assemble(plan(), [run(*crashes)]))


def _one(sentences: list[str], words: str) -> str:
    (found,) = [sentence for sentence in sentences if words in sentence]
    return found


def test_a_matrix_without_a_cell_that_was_measured_finds_nothing() -> None:
    assert findings(assemble(plan(), [])) == []


def test_who_was_harmed_and_what_was_lost_is_counted_a_pool() -> None:
    said = _said(unharmed("prefork:4"), crash("threads:4"))

    assert "1 of 1 faults on prefork:4 and 0 of 1 faults on threads:4" in _one(said, "harmed by")
    assert "0 on prefork:4 and 3 on threads:4 (in 1 fault)" in _one(said, "lost for good")


def test_what_ends_one_pool_and_not_the_other_is_named() -> None:
    said = _said(unharmed("prefork:4"), crash("threads:4"))

    assert _one(said, "whole worker") == (
        "The whole worker ends on threads:4, and not on every other pool, by segfault."
    )


def test_what_ends_a_worker_in_some_cells_only_is_said_with_their_number() -> None:
    said = _one(_matrix({"late": [4]}), "whole worker")

    assert said.endswith("ends on threads:4, and not on every other pool, by segfault (in 1 of 4).")


def _under(policy: str, prefetch: int, *crashes: dict[str, Any]) -> dict[str, Any]:
    found = run(*crashes)
    return found | {"plan": found["plan"] | {"policy": policy, "prefetch": prefetch}}


def _matrix(cells: dict[str, list[int]]) -> list[str]:
    """Return what is said where threads lose their worker; prefork and all else is unharmed."""
    runs = [
        _under(policy, prefetch, unharmed("prefork:4"), made("threads:4"))
        for policy in ("early", "late")
        for prefetch in (1, 4)
        for made in [crash if prefetch in cells.get(policy, []) else unharmed]
    ]
    return findings(assemble(plan(policies=["early", "late"], prefetches=[1, 4]), runs))


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        ({"early": [1, 4], "late": [1, 4]}, "Under every policy"),
        ({"early": [4], "late": [4]}, "Under every policy, prefetch 4"),
        ({"late": [1, 4]}, "Late"),
        ({"early": [1], "late": [1, 4]}, "Early, prefetch 1; late"),
    ],
)
def test_what_is_the_same_under_several_policies_is_said_once(
    cells: dict[str, list[int]], where: str
) -> None:
    said = _one(_matrix(cells), "3 on threads:4")

    assert said.startswith(f"{where}: innocent tasks lost for good: 0 on prefork:4 and 3 on")


def test_what_ends_every_pool_alike_sets_none_apart() -> None:
    said = _said(crash("prefork:4"), crash("threads:4"))

    assert not [sentence for sentence in said if "whole worker" in sentence]


def test_a_poison_that_strikes_again_and_a_slot_that_never_comes_back_are_named() -> None:
    endless = unharmed("prefork:4")
    endless["books"]["poison"] = {"running": 1}

    said = _said(endless, crash("threads:4", strikes=4))

    assert "threads:4 (segfault)" in _one(said, "strikes again")
    assert "segfault on prefork:4" in _one(said, "never comes back")


def test_only_harm_that_nobody_was_told_of_counts_as_unnoticed() -> None:
    silent = crash("threads:4", noticed=[])

    assert "segfault on threads:4" in _one(_said(silent), "nobody is told")
    assert not [each for each in _said(crash("threads:4")) if "nobody is told" in each]
    assert not [each for each in _said(unharmed("threads:4")) if "nobody is told" in each]


def test_what_ran_twice_by_the_short_timeout_alone_is_no_harm() -> None:
    books = {"enqueued": 60, "innocent": {"completed": 58, "repeated": 1}, "poison": {"failed": 1}}
    twice = unharmed("prefork:4") | {"books": books, "others": 1, "repeated": 1}

    of = [assemble(plan(), [run(twice | {"overdue": n})])["cells"][0] for n in (0, 1)]

    assert [is_harmed(cell) for cell in of] == [True, False]
