"""The ledger's columns and counts."""

from __future__ import annotations

import pytest

from poolproof.history.ledger import Ledger
from poolproof_workers.contract import RECORD, Entry, Event

_TAG = 7


def _op(sequence: int, writer: str = "producer", /, **op: object) -> Entry:
    return Entry.of_op(writer, f"{writer}#1-1", sequence, {"t_ns": sequence, "boot": "b", **op})


def _enqueued(sequence: int, first: int, count: int, block: int = 0) -> Entry:
    place = {"block": block, "side": "s", "first": first, "count": count}
    return _op(sequence, op="enqueued", begin_ns=100, interval_ns=10, **place)


def _records(
    *rows: tuple[int, Event], first: int = 1, tag: int = _TAG, ring: str = "w/5-1"
) -> Entry:
    data = b"".join(
        RECORD.pack(number, 1000 + i, number * number % 1000, tag, 5, 6, event, 0, i)
        for i, (number, event) in enumerate(rows, first)
    )
    return Entry("records", "w", ring, first, data)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.take(_op(1, op="run-begin", run="r", tag=_TAG))
    ledger.take(_enqueued(2, 0, 4))
    return ledger


def test_a_task_has_its_counts_times_and_result(ledger: Ledger) -> None:
    ledger.take(_records((3, Event.RECEIVED), (3, Event.STARTED), (3, Event.SUCCEEDED)))

    assert [int(ledger.count(event)[3]) for event in Event if event != Event.FAULT] == [
        *(1, 1, 1, 0, 0, 0, 0, 0)
    ]
    assert (ledger["first_received"][3], ledger["last_start"][3], ledger["last_end"][3]) == (
        1001,
        1002,
        1003,
    )
    assert ledger["result"][3] == 9
    assert ledger["intended_ns"][3] == 130
    assert ledger.settled == 1


def test_an_entry_that_comes_twice_counts_once(ledger: Ledger) -> None:
    entry = _records((0, Event.STARTED), (0, Event.SUCCEEDED))

    assert ledger.take(entry) == entry
    assert ledger.take(entry) is None
    assert ledger.count(Event.SUCCEEDED).tolist() == [1, 0, 0, 0]


def test_a_task_that_is_done_twice_settles_once(ledger: Ledger) -> None:
    ledger.take(_records((1, Event.SUCCEEDED), (1, Event.SUCCEEDED), (1, Event.FAILED)))

    assert ledger.count(Event.SUCCEEDED)[1] == 2
    assert ledger.settled_of_block == {0: 1}


def test_open_attempts_are_followed_across_entries(ledger: Ledger) -> None:
    ledger.take(_records((0, Event.STARTED)))
    source = ledger.roster.sources["w/5-1"]
    assert source.open == {(0, 6): 1001}

    ledger.take(_records((0, Event.SUCCEEDED), (1, Event.STARTED), first=2))

    assert source.open == {(1, 6): 1003}
    assert not source.unended


def test_a_start_after_a_start_means_that_an_end_is_missing(ledger: Ledger) -> None:
    ledger.take(_records((0, Event.STARTED), (0, Event.STARTED), (0, Event.SUCCEEDED)))

    assert ledger.roster.sources["w/5-1"].unended == {0: 1}


def test_records_of_other_runs_and_of_unknown_numbers_are_only_counted(ledger: Ledger) -> None:
    ledger.take(_records((0, Event.STARTED), tag=_TAG + 1))
    ledger.take(_records((9, Event.STARTED), (1 << 40, Event.STARTED), ring="w/6-1"))

    assert ledger.foreign == 1
    assert ledger.unexpected == {9: 1, 1 << 40: 1}
    assert ledger.size == 4


def test_a_lost_stretch_is_known_with_the_times_around_it(ledger: Ledger) -> None:
    ledger.take(_records((0, Event.STARTED)))
    ledger.take(_records((1, Event.SUCCEEDED), first=4))

    (loss,) = ledger.real_losses()
    assert (loss.gap.first, loss.gap.last) == (2, 3)
    assert (loss.after_ns, loss.before_ns) == (1001, 1004)


def test_what_a_ring_held_before_the_run_is_no_loss(ledger: Ledger) -> None:
    hello = {"side": "s", "life": 1, "pid": 5, "rings": {"w/5-1": 40}}
    ledger.take(_op(1, "w", op="hello", worker="w", **hello))
    ledger.take(_records((0, Event.STARTED), first=41))

    assert ledger.losses
    assert ledger.real_losses() == []


def test_clocks_of_other_hosts_are_shifted() -> None:
    ledger = Ledger()
    ledger.take(_op(1, op="run-begin", run="r", tag=_TAG))
    ledger.take(_op(2, op="clock", offset_ns=700, error_ns=1))
    ledger.take(_op(1, "w", op="clock", boot="other", offset_ns=1_200, error_ns=1))
    ledger.take(_enqueued(3, 0, 1))
    ledger.take(_records((0, Event.STARTED)))

    assert ledger["first_start"][0] == 1501


def test_a_host_that_boots_in_mid_run_has_one_clock_before_it_and_another_after() -> None:
    ledger = Ledger()
    ledger.take(_op(1, op="run-begin", run="r", tag=_TAG))
    ledger.take(_op(2, op="clock", offset_ns=700, error_ns=1))
    ledger.take(_enqueued(3, 0, 2))
    for sequence, boot, offset_ns in ((1, "first", 1_200), (2, "second", 9_700)):
        ledger.take(_op(sequence, "w", op="clock", boot=boot, offset_ns=offset_ns, error_ns=1))
        ledger.take(_records((sequence - 1, Event.STARTED), ring=f"w/5-{sequence}"))

    assert ledger["first_start"].tolist() == [1001 + 500, 1001 + 9_000]
    assert [source.shift_ns for source in ledger.roster.sources.values()] == [500, 9_000]


def test_columns_grow_and_keep_what_they_have() -> None:
    ledger = Ledger()
    ledger.take(_op(1, op="run-begin", run="r", tag=_TAG))
    for block in range(20):
        ledger.take(_enqueued(2 + block, block * 100, 100, block))
    ledger.take(_records(*((n, Event.SUCCEEDED) for n in range(2000))))

    assert ledger.count(Event.SUCCEEDED).tolist() == [1] * 2000
    assert ledger["block"].tolist() == [n // 100 for n in range(2000)]
    assert set(ledger.settled_of_block.values()) == {100}


def test_a_run_of_days_may_have_more_blocks_than_16_bits_count(ledger: Ledger) -> None:
    ledger.take(_enqueued(3, 4, 2, block=40_000))

    assert ledger["block"].tolist() == [0, 0, 0, 0, 40_000, 40_000]


def test_a_task_takes_at_most_128_bytes() -> None:
    ledger = Ledger()
    ledger.reserve(100_000)

    assert ledger.bytes_held / 100_000 <= 128
