"""Naming, interleaving and sizing."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest

from poolproof.produce.plan import Run, block_size, rounds


def test_a_run_id_holds_the_time_in_utc_and_the_tag() -> None:
    run = Run.new(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), tag=0xBEEF)

    assert run.id == "20260102-030405-0000beef"


def test_runs_have_different_tags() -> None:
    assert len({Run.new().tag for _ in range(100)}) == 100


@pytest.mark.parametrize("sides", [("a",), ("a", "b"), ("a", "b", "c")])
def test_every_side_has_a_turn_in_every_round(sides: tuple[str, ...]) -> None:
    orders = list(islice(rounds(sides, seed=7), 6))

    assert [sorted(order) for order in orders] == [sorted(sides)] * 6


@pytest.mark.parametrize("seed", range(20))
def test_a_pair_of_rounds_reads_the_same_from_both_ends(seed: int) -> None:
    forth, back = islice(rounds(("a", "b", "c"), seed), 2)

    assert back == forth[::-1]


def test_the_seed_decides_who_begins_and_nothing_else_does() -> None:
    def orders() -> dict[int, list[tuple[str, ...]]]:
        return {seed: list(islice(rounds(("a", "b"), seed), 6)) for seed in range(20)}

    assert {order[0][0] for order in orders().values()} == {"a", "b"}
    assert orders() == orders()


def test_a_block_fills_its_time_in_whole_rounds_over_the_slots() -> None:
    assert block_size(rate_per_s=101.0, seconds=2.0, slots=4) == 204


def test_a_block_has_at_least_a_few_rounds() -> None:
    assert block_size(rate_per_s=1.0, seconds=0.1, slots=4, rounds=3) == 12


def test_rounds_go_on_for_ever_and_each_second_one_runs_backwards() -> None:
    first = list(islice(rounds(("a", "b", "c"), 3), 20))

    assert all(back == forth[::-1] for forth, back in zip(first[::2], first[1::2], strict=True))
    assert len(set(first)) > 2
