"""Places of greenlets: how many ran at once, whatever greenlets a pool makes."""

from __future__ import annotations

import greenlet
import pytest

from poolproof_workers.recorder.greenlets import GreenletSlots


class Turn:
    """Says who runs, in place of a greenlet that is switched to."""

    def __init__(self) -> None:
        self.who = "main"

    def __call__(self) -> str:
        return self.who


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def places(turn: Turn) -> GreenletSlots:
    return GreenletSlots(turn)


def place_of(places: GreenletSlots, turn: Turn, who: str) -> int:
    turn.who = who
    return places.here()


def enter(places: GreenletSlots, turn: Turn, who: str) -> int:
    turn.who = who
    places.enter()
    return places.here()


def leave(places: GreenletSlots, turn: Turn, who: str) -> None:
    turn.who = who
    places.leave()


def test_whoever_runs_no_task_has_no_place(places: GreenletSlots) -> None:
    assert places.here() == 0


def test_those_that_run_at_once_have_places_of_their_own(places: GreenletSlots, turn: Turn) -> None:
    assert [enter(places, turn, who) for who in "abc"] == [1, 2, 3]
    assert [place_of(places, turn, who) for who in "cab"] == [3, 1, 2]


def test_one_after_the_other_they_share_a_place(places: GreenletSlots, turn: Turn) -> None:
    for number in range(100):
        assert enter(places, turn, f"greenlet {number}") == 1
        leave(places, turn, f"greenlet {number}")


def test_the_lowest_place_that_is_free_is_taken_next(places: GreenletSlots, turn: Turn) -> None:
    for who in "abcd":
        enter(places, turn, who)
    for who in "cab":
        leave(places, turn, who)

    assert [enter(places, turn, who) for who in "efgh"] == [1, 2, 3, 5]
    assert place_of(places, turn, "d") == 4


def test_a_task_that_runs_another_one_eagerly_keeps_its_place(
    places: GreenletSlots, turn: Turn
) -> None:
    enter(places, turn, "a")
    for depth in range(3):
        assert enter(places, turn, "a") == 1, depth
    for depth in range(3):
        leave(places, turn, "a")
        assert places.here() == 1, depth
    leave(places, turn, "a")

    assert places.here() == 0
    assert enter(places, turn, "b") == 1


def test_an_end_without_a_beginning_is_passed_over(places: GreenletSlots, turn: Turn) -> None:
    leave(places, turn, "a")

    assert [enter(places, turn, who) for who in "ab"] == [1, 2]


def test_each_real_greenlet_has_its_own_place() -> None:
    places = GreenletSlots()

    def task() -> None:
        places.enter()
        main.switch(places.here())
        places.leave()

    main = greenlet.getcurrent()
    tasks = [greenlet.greenlet(task) for _ in range(3)]
    assert [each.switch() for each in tasks] == [1, 2, 3]
    for each in tasks:
        each.switch()

    assert places.here() == 0
    assert greenlet.greenlet(task).switch() == 1
