"""What the page says of a Flower: where it differs from the books, and what nobody can know."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolproof.live.flower.beside import SETTLED_S, Beside
from poolproof.live.flower.client import PAGE, Flower, Heard, NoAnswerError, Seen
from poolproof.live.flower.difference import Difference, Picture, agree, differences
from poolproof.live.flower.panel import _row, flower_panel, sentences
from poolproof.live.show import Show
from poolproof.live.side import State
from poolproof.live.stage import Stage
from poolproof.live.tasks import NumberRange
from poolproof_workers.contract import Entry, task_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TAG = 0xABCDEF
WATCHED = NumberRange(0, "a", events=True)


def _picture(*pairs: tuple[State, Seen], first: int = 0) -> Picture:
    return Picture.of(first, bytes(state for state, _ in pairs), bytes(seen for _, seen in pairs))


def _compared(*pairs: tuple[State, Seen], stretch: NumberRange = WATCHED) -> Difference:
    """Compare tasks that have not moved for long."""
    picture = _picture(*pairs)
    return differences(picture, picture, [stretch], ["a"])["a"]


# --- the comparison -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (State.QUEUED, Seen.NEVER),
        (State.QUEUED, Seen.RETRIED),
        (State.PREFETCHED, Seen.RECEIVED),
        (State.RUNNING, Seen.STARTED),
        (State.COMPLETED, Seen.SUCCEEDED),
        (State.FAILED, Seen.FAILED),
        (State.FAILED, Seen.REVOKED),
    ],
)
def test_what_is_the_case_is_no_difference(state: State, seen: Seen) -> None:
    assert _compared((state, seen)).differing == {}


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (State.LOST, Seen.STARTED),
        (State.STRANDED, Seen.RECEIVED),
        (State.CUT, Seen.STARTED),
        (State.REPEATED, Seen.SUCCEEDED),
        (State.COMPLETED, Seen.NEVER),
        (State.COMPLETED, Seen.STARTED),
        (State.PREFETCHED, Seen.STARTED),
    ],
)
def test_what_is_not_the_case_differs(state: State, seen: Seen) -> None:
    assert _compared((state, seen)).differing == {(seen, state): 1}


def test_a_state_that_says_nothing_is_not_held_against_flower() -> None:
    assert all(agree(Seen.OTHER, state) for state in State)


def test_a_task_that_moved_lately_in_either_is_not_compared() -> None:
    before = _picture(
        (State.RUNNING, Seen.STARTED), (State.COMPLETED, Seen.STARTED), (State.LOST, Seen.STARTED)
    )
    now = _picture(
        (State.COMPLETED, Seen.STARTED),
        (State.COMPLETED, Seen.SUCCEEDED),
        (State.LOST, Seen.STARTED),
        (State.RUNNING, Seen.NEVER),  # there was no such task
    )

    side = differences(now, before, [WATCHED], ["a"])["a"]

    assert side.counts == {(Seen.STARTED, State.LOST): 1}
    assert side.young == 3


def test_a_number_that_no_task_has_is_none() -> None:
    picture = Picture.of(
        0, bytes([State.COMPLETED, 0, 0]), bytes([Seen.SUCCEEDED, 0, Seen.STARTED])
    )

    side = differences(picture, picture, [WATCHED], ["a"])["a"]

    assert (side.compared, side.young) == (1, 0)


def test_what_flower_knows_beyond_the_books_or_not_at_all_is_no_task_of_the_books() -> None:
    more = Picture.of(0, bytes([State.LOST]), bytes([Seen.STARTED, Seen.STARTED]))
    less = Picture.of(0, bytes([State.LOST, State.LOST]), bytes([Seen.STARTED]))

    assert more.seen.tolist() == [Seen.STARTED]
    assert less.seen.tolist() == [Seen.STARTED, Seen.NEVER]


def test_each_side_has_the_tasks_of_its_own_stretches() -> None:
    picture = _picture(*[(State.LOST, Seen.STARTED)] * 5, first=100)
    stretches = [NumberRange(0, "a", events=True), NumberRange(98, "b", events=True)]
    stretches += [NumberRange(101, "a", events=True), NumberRange(103, "b", events=True)]

    found = differences(picture, picture, stretches, ["a", "b", "c"])

    assert {label: side.compared for label, side in found.items()} == {"a": 2, "b": 3, "c": 0}


_pairs = st.lists(st.tuples(st.sampled_from(State), st.sampled_from(Seen)), max_size=40)


@given(_pairs, _pairs, st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_task_is_compared_or_too_young_whatever_was_seen_before(
    now: list[tuple[State, Seen]], before: list[tuple[State, Seen]], first: int, earlier: int
) -> None:
    stretches = [NumberRange(0, "a", events=False), NumberRange(35, "b", events=True)]
    found = differences(
        _picture(*now, first=first), _picture(*before, first=earlier), stretches, ["a", "b"]
    )

    assert sum(side.compared + side.young for side in found.values()) == len(now)
    settled = Counter(
        (seen, state)
        for number, (state, seen) in enumerate(now, first)
        if first >= earlier
        and number - earlier < len(before)
        and before[number - earlier] == (state, seen)
    )
    assert sum((side.counts for side in found.values()), Counter()) == settled


# --- in words -------------------------------------------------------------------------------------


def test_the_dead_that_flower_shows_alive_are_told_with_their_death() -> None:
    side = _compared(*[(State.LOST, Seen.STARTED)] * 3, (State.CUT, Seen.STARTED))

    assert list(sentences(side, "a's worker at 14:03:20")) == [
        "Flower still shows 4 tasks as started that died with a's worker at 14:03:20."
    ]


def test_the_stranded_are_told_apart_from_the_dead() -> None:
    side = _compared((State.STRANDED, Seen.RECEIVED))

    assert list(sentences(side, "a's worker at 14:03:20")) == [
        (
            "Flower still shows 1 task as received that has been stranded in the broker "
            "since the end of a's worker at 14:03:20."
        )
    ]


def test_why_flower_never_heard_of_a_task_is_said_as_far_as_it_is_known() -> None:
    tasks = [(State.COMPLETED, Seen.NEVER)] * 3 + [(State.COMPLETED, Seen.SUCCEEDED)]

    off = list(sentences(_compared(*tasks, stretch=NumberRange(0, "a", events=False))))
    on = list(sentences(_compared(*tasks)))

    assert off == ["Flower never heard of 3 of 4 tasks of a: task events were off while they ran."]
    assert len(on) == 1
    assert on[0].startswith("Flower never heard of 3 of 4 tasks of a, though task events were on")


def test_what_flower_could_not_hear_of_since_events_were_off_does_not_differ() -> None:
    tasks = [(State.COMPLETED, Seen.NEVER)] * 3
    picture = _picture(*tasks, *tasks)
    both = [NumberRange(0, "a", events=False), NumberRange(4, "a", events=True)]

    assert _row(_compared(*tasks, stretch=NumberRange(0, "a", events=False)), *_MISSED).endswith(
        "<td>never heard of</td><td>completed</td><td>3</td><td>events were off</td></tr>"
    )
    assert "<td><b>differs</b></td>" in _row(_compared(*tasks), *_MISSED)
    assert "<b>differs</b>; events were off for 4 of them" in _row(
        differences(picture, picture, both, ["a"])["a"], *_MISSED
    )


_MISSED = (Seen.NEVER, State.COMPLETED)


def test_a_task_that_ran_twice_is_one_in_flower() -> None:
    (said,) = sentences(_compared((State.REPEATED, Seen.SUCCEEDED)))

    assert said == "Flower shows 1 task of a once as succeeded, but it ran to its end again."


def test_where_nothing_differs_that_is_said() -> None:
    assert list(sentences(_compared((State.COMPLETED, Seen.SUCCEEDED)))) == [
        "Flower shows the 1 task of a as the books do."
    ]
    assert list(sentences(Difference("a"))) == []


# --- what Flower tells ----------------------------------------------------------------------------


def _told(number: int, state: str = "SUCCESS", at_s: float = 1.0) -> dict[str, Any]:
    return {task_id(TAG, number): {"state": state, "timestamp": at_s}}


def test_a_task_of_another_run_or_programme_is_not_ours() -> None:
    heard = Heard(TAG)
    foreign = f"{TAG:08x}-1111-4111-8111-000000000002"
    heard.take(
        _told(1, "STARTED")
        | {task_id(TAG + 1, 3): {"state": "SUCCESS", "timestamp": 1.0}}
        | {foreign: {"state": "SUCCESS", "timestamp": 1.0}, "no uuid": {}}
    )

    assert heard.seen == bytes([Seen.NEVER, Seen.STARTED])


def test_a_state_that_is_not_known_says_nothing() -> None:
    heard = Heard(TAG)
    heard.take(_told(0, "REJECTED") | _told(1, "HALFWAY") | _told(2, "RETRY"))

    assert heard.seen == bytes([Seen.OTHER, Seen.OTHER, Seen.RETRIED])


class _Store:
    """A Flower's memory of a run: number -> (state, when), as it answers from it."""

    def __init__(self) -> None:
        self.tasks: dict[int, tuple[str, float]] = {}

    def tell(self, heard: Heard) -> int:
        """Answer until all has been read; return how often it had to."""
        for asked in range(1, 100):
            newest = sorted(self.tasks, key=lambda n: (self.tasks[n][1], n), reverse=True)
            page = newest[heard.offset : heard.offset + PAGE]
            heard.take({k: v for n in page for k, v in _told(n, *self.tasks[n]).items()})
            if not heard.offset:
                return asked
        raise AssertionError("it never comes to an end")


def test_many_tasks_are_read_page_by_page_and_then_only_the_newest() -> None:
    store, heard = _Store(), Heard(TAG)
    store.tasks = {number: ("STARTED", number * 0.1) for number in range(3 * PAGE)}

    assert store.tell(heard) == 4  # the last page is empty: that was all
    assert len(heard.seen) == 3 * PAGE

    newest_s = 3 * PAGE * 0.1
    store.tasks[5] = ("SUCCESS", newest_s + 1)
    assert store.tell(heard) == 1
    assert heard.seen[5] == Seen.SUCCEEDED
    assert heard.newest_s == newest_s + 1


def test_a_flower_that_was_started_anew_has_forgotten() -> None:
    store, heard = _Store(), Heard(TAG)
    store.tasks = dict.fromkeys(range(10), ("STARTED", 1.0))
    store.tell(heard)

    store.tasks = {10: ("STARTED", 2.0)}
    store.tell(heard)

    assert heard.seen == bytes([Seen.NEVER] * 10 + [Seen.STARTED])


# --- asking ---------------------------------------------------------------------------------------


class _Answers:
    """In a Flower's place: answers with what it is given, or not at all."""

    def __init__(self) -> None:
        self.tells: dict[str, Any] | None = {}

    async def tasks(self, tag: int, offset: int) -> Mapping[str, Any]:
        assert (tag, offset) == (TAG, 0)
        if self.tells is None:
            raise NoAnswerError("does not answer")
        return self.tells


def _stage(count: int) -> Stage:
    stage = Stage()
    ops = [
        {"op": "run-begin", "run": "r", "tag": TAG, "t_ns": 1},
        {"op": "block-begin", "side": "a", "workload": "square", "first": 0, "t_ns": 2},
        {"op": "enqueued", "block": 0, "side": "a", "first": 0, "count": count, "t_ns": 3},
    ]
    for number, op in enumerate(ops, 1):
        stage.take(Entry.of_op("producer", "producer#1-1", number, op))
    return stage


class _Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _beside(answers: _Answers) -> tuple[Beside, _Clock]:
    clock = _Clock()
    return Beside(answers, clock), clock  # type: ignore[arg-type]


def _ask(beside: Beside, stage: Stage, now_ns: int = 3) -> None:
    asyncio.run(beside.ask(stage, now_ns))


def test_nothing_is_compared_before_it_has_been_so_for_a_while() -> None:
    answers = _Answers()
    answers.tells = _told(0, "STARTED", 1.0)
    beside, clock = _beside(answers)
    stage = _stage(2)

    _ask(beside, stage)
    clock.now_s += SETTLED_S / 2
    _ask(beside, stage)
    assert beside.found is None

    clock.now_s += SETTLED_S
    _ask(beside, stage)
    assert beside.found is not None
    assert beside.found["a"].differing == {(Seen.STARTED, State.QUEUED): 1}


def test_a_flower_that_is_behind_is_given_that_time() -> None:
    answers = _Answers()
    beside, clock = _beside(answers)
    stage = _stage(2)
    for step in range(3):
        # Its events still come in, and are a minute old.
        answers.tells = _told(0, "STARTED", time.time() - 60.0 + step)
        _ask(beside, stage)
        clock.now_s += 2 * SETTLED_S

    assert beside.found is None
    assert beside.behind_s > 50.0


def test_a_page_that_is_behind_is_given_that_time() -> None:
    beside, clock = _beside(_Answers())
    stage = _stage(2)
    for _ in range(3):
        _ask(beside, stage, now_ns=3 + 60 * 10**9)
        clock.now_s += 2 * SETTLED_S

    assert beside.found is None


def test_without_an_answer_nothing_is_known() -> None:
    answers = _Answers()
    beside, clock = _beside(answers)
    stage = _stage(2)
    for _ in range(2):
        _ask(beside, stage)
        clock.now_s += 2 * SETTLED_S
    assert beside.found is not None

    answers.tells = None
    _ask(beside, stage)

    assert beside.found is None
    assert beside.trouble == "does not answer"


def test_another_run_begins_with_nothing_known() -> None:
    answers = _Answers()
    answers.tells = _told(0, "STARTED", 1.0)
    beside, clock = _beside(answers)
    for _ in range(2):
        _ask(beside, _stage(2))
        clock.now_s += 2 * SETTLED_S
    assert beside.found is not None

    other = _stage(2)
    other.tag = TAG + 1
    with pytest.raises(AssertionError):  # it is asked of the other run
        _ask(beside, other)

    assert beside.found is None


def test_a_flower_that_cannot_be_reached_is_told_in_the_panel(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{nobody.getsockname()[1]}"
        show = Show(tmp_path, flower=Flower(f"http://poolproof:a%3Cb@{at}"))
        show.stage = _stage(1)
        assert show.beside is not None
        _ask(show.beside, show.stage)

        said = flower_panel(show)

    assert "what it shows is not known" in said
    assert "<table" not in said
    # What the URL tells, the page tells, and no mark-up of a password's.
    assert f"Flower at http://{at} asks for the user poolproof, password a&lt;b." in said
    assert show.flower == f"http://{at}"


def test_a_login_in_a_file_is_read_each_time_and_not_told(tmp_path: Path) -> None:
    login = tmp_path / "login"
    flower = Flower("http://127.0.0.1:1", login=login)
    with pytest.raises(NoAnswerError, match=re.escape(str(login))):
        asyncio.run(flower.tasks(TAG, 0))

    login.write_text("poolproof:secret\n")
    with pytest.raises(NoAnswerError, match="cannot be reached"):
        asyncio.run(flower.tasks(TAG, 0))
    assert flower.told is None


def test_a_page_without_a_flower_has_no_panel(tmp_path: Path) -> None:
    assert flower_panel(Show(tmp_path)) == ""
