"""The sequences, as data: reproducible, bounded, and of every kind."""

from __future__ import annotations

from itertools import chain
from typing import Final

import pytest

from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.pools import PoolSpec

from .seeds import parse
from .sequence import DEATHS, ERASURES, LEFT_OUT, POLICIES, POOLS, TABLE, Sequence

ALL: Final = [Sequence.of(seed) for seed in range(1, 101)]


def test_a_seed_always_gives_the_same_sequence() -> None:
    assert [Sequence.of(sequence.seed) for sequence in ALL] == ALL
    assert len({sequence.steps for sequence in ALL}) == len(ALL)


def test_a_sequence_is_three_to_six_acts_and_short() -> None:
    assert {len(sequence.acts) for sequence in ALL} == {3, 4, 5, 6}
    assert all(set(DEATHS) & set(sequence.acts) for sequence in ALL)
    assert max(sum(step.wait_s for step in sequence.steps) for sequence in ALL) < 10


def test_nobody_is_killed_more_often_than_a_child_of_ours_is_started_again() -> None:
    for sequence in ALL:
        acts = [*sequence.acts, sequence.at_closing]
        victims = ["supervisor" if act in ERASURES else act for act in acts]
        assert all(victims.count(death) <= 3 for death in DEATHS)


def test_only_what_can_be_done_to_a_pool_is_done_to_it() -> None:
    for sequence in ALL:
        pool = PoolSpec.parse(sequence.pool).pool
        assert all(find(act)[1].why_not(pool) is None for act in sequence.acts if act in TABLE)


def test_a_hundred_seeds_have_every_pool_policy_and_kind_of_act() -> None:
    acts = set(chain.from_iterable(sequence.acts for sequence in ALL))

    assert {sequence.pool for sequence in ALL} == set(POOLS)
    assert {sequence.policy for sequence in ALL} == set(POLICIES)
    assert {sequence.at_closing for sequence in ALL} == {None, *DEATHS}
    assert acts >= {*DEATHS, *ERASURES}
    assert {find(act)[1].where for act in acts & TABLE} == {"inside", "outside", "broker"}
    assert any(len(step.acts) == 2 for sequence in ALL for step in sequence.steps)


def test_every_fault_is_either_played_or_left_out_for_a_reason() -> None:
    played = set(chain.from_iterable(Sequence.of(seed).acts for seed in range(1, 2001)))

    assert {fault.name for fault in FAULTS} - played == set(LEFT_OUT)


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [3]), ("1-3", [1, 2, 3]), ("2,9-10", [2, 9, 10])]
)
def test_seeds_are_written_as_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert parse(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "3-1", "1,,2"])
def test_anything_else_is_no_seed(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)
