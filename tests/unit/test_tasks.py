"""What the tasks do, and that it is what is expected of them."""

from __future__ import annotations

import threading
import time

import pytest
from celery.backends.base import DisabledBackend
from celery.backends.redis import RedisBackend

from poolproof_workers.app import make_app
from poolproof_workers.contract import KEPT, Stamped, fold, result_detail
from poolproof_workers.settings import Settings
from poolproof_workers.workloads import answers, hashing, memory, payload
from poolproof_workers.workloads.calibration import turns_per_ms
from poolproof_workers.workloads.counter import Tally
from poolproof_workers.workloads.tasks import functions, spin, square

#: Of hashlib's documentation.
LETS_GO_BYTES = 2_047
NUMBERS = [0, 7, 1_000_003, (1 << 48) - 1]


def test_a_square_is_a_square_whatever_it_costs() -> None:
    assert [square(n) for n in (0, 3, -4, 1 << 40)] == [0, 9, 16, 1 << 80]
    assert square(5, sleep_s=0.001, spins=10) == 25


def test_a_sleeping_square_takes_its_time() -> None:
    begin = time.monotonic()
    square(2, sleep_s=0.05)

    assert time.monotonic() - begin >= 0.05


def test_the_same_spins_are_the_same_work() -> None:
    assert spin(1000) == spin(1000) != spin(1001)


@pytest.mark.parametrize("turn", ["spin", "hash", "compress"])
def test_calibration_gives_a_rate_of_this_machine(turn: str) -> None:
    assert 0.001 < turns_per_ms(turn) < 10_000_000  # type: ignore[arg-type]


def test_every_task_but_the_counter_has_an_answer() -> None:
    registered = functions(Settings.from_env({}))

    assert registered.keys() == {*answers.ANSWERS, answers.COUNTER}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("task", "given", "facts"),
    [
        (answers.SQUARE, (0.0, 10), {}),
        (answers.HASH, (3,), {"rounds": 3}),
        (answers.COMPRESS, (3,), {"rounds": 3}),
        (answers.MEMORY, (100_001, 0.001), {"bytes": 100_001}),
        (answers.PAYLOAD, (payload.text(1_000), 77), {"in_bytes": 1_000, "out_bytes": 77}),
    ],
)
def test_a_task_returns_what_the_judge_expects(
    task: str, given: tuple[object, ...], facts: dict[str, int], number: int
) -> None:
    returned = functions(Settings.from_env({}))[task](number, *given)

    assert result_detail(returned) == answers.ANSWERS[task](number, facts)


def test_only_the_results_of_payloads_leave_their_slot() -> None:
    tasks = make_app(Settings.from_env({})).tasks

    travelling = {name for name, task in tasks.items() if not task.ignore_result}
    assert {name for name in travelling if name.startswith("poolproof.")} == {answers.PAYLOAD}
    assert isinstance(tasks[answers.PAYLOAD].backend, RedisBackend)
    assert isinstance(tasks[answers.SQUARE].backend, DisabledBackend)


def test_each_round_of_work_in_c_counts() -> None:
    assert hashing.hash_rounds(2) == hashing.hashed(2) != hashing.hashed(3)
    assert hashing.compress_rounds(2) == hashing.compressed(2) != hashing.compressed(3)


def test_hashing_is_long_enough_for_hashlib_to_let_go_of_the_interpreter() -> None:
    assert len(hashing.material(hashing.HASHED_BYTES)) == hashing.HASHED_BYTES
    assert hashing.HASHED_BYTES > LETS_GO_BYTES


@pytest.mark.parametrize("size", [1, 62, 63, 64, 10_000])
def test_a_text_has_its_size_in_characters_and_bytes(size: int) -> None:
    assert len(payload.text(size)) == len(payload.text(size).encode()) == size


@pytest.mark.parametrize(
    "spoiled",
    [payload.text(999), payload.text(1_001), payload.text(1_000)[::-1], "x" * 1_000],
    ids=["short", "long", "reversed", "other"],
)
def test_an_argument_that_did_not_arrive_whole_gives_another_result(spoiled: str) -> None:
    right = payload.exchange(5, payload.text(1_000), 10)

    assert payload.exchange(5, spoiled, 10).stamp != right.stamp


def test_a_record_keeps_the_stamp_of_a_text_and_nothing_of_another() -> None:
    assert result_detail(Stamped.of("much text", 12)) == 12
    assert result_detail("much text") == 0


def test_memory_that_is_held_is_touched_page_by_page() -> None:
    assert memory.hold(3, 4_096 * 5 + 1, 0.001) == fold(3, 6)


def test_what_a_tally_tells_adds_up_to_what_it_holds() -> None:
    tally = Tally()
    told: list[int] = []

    def task() -> None:
        tally.begin()
        tally.add(20_000)
        told.append(tally.end())

    threads = [threading.Thread(target=task) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert sum(told) == tally.value <= 160_000


def test_an_update_that_is_overwritten_is_missed() -> None:
    tally = Tally()
    tally.begin()
    read_before = tally.value
    tally.begin()
    tally.add(10)
    first = tally.end()
    tally.value = read_before + 1  # what a thread does that was stopped between read and write

    assert (first, tally.end()) == (0, 1)


def test_a_fold_tells_number_and_fact_and_fits_a_record() -> None:
    folds = {fold(number, fact) for number in NUMBERS for fact in (0, 1, 1 << 70)}

    assert len(folds) == len(NUMBERS) * 2  # 1 << 70 has no bit that is kept
    assert all(0 <= each <= KEPT for each in folds)
