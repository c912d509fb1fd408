"""What the collector says of a run that goes on, and what a producer reads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from poolproof.collect.progress import progress
from poolproof.history.recording import Recording
from poolproof.produce.handle import BlockHandle
from poolproof.runner.progress import Progress
from poolproof_workers.contract import RECORD, Entry, Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TAG = 7
_MS = 1_000_000
_TEN_DAYS_NS = 10 * 86_400 * 1_000_000_000
_UNIX_NS = 1_700_000_000_000_000_000


def _sent(block: int) -> BlockHandle:
    return BlockHandle(block, "a", 10 * block, 10, 0, 1, 0)


def test_a_block_that_is_no_longer_told_of_has_settled_and_a_new_one_has_not() -> None:
    now = Progress.of({"blocks": {"7": {"enqueued": 10, "settled": 4}}})

    assert now.settled_in(_sent(6)) == 10
    assert now.settled_in(_sent(7)) == 4
    assert now.settled_in(_sent(8)) == 0
    assert Progress().settled_in(_sent(0)) == 0


# --- hosts of other clocks ------------------------------------------------------------------------


class _Hosts:
    """Writes the history of a side with a worker on each of two hosts, one task of 20 ms each.

    The second host's clock is ten days ahead of the producer's.
    """

    def __init__(self, folder: Path) -> None:
        self.recording = Recording(folder)
        self._sequences: dict[str, int] = {}
        self.op("producer", op="run-begin", run="r", tag=_TAG)
        self.clock("producer")
        self.op("producer", op="enqueued", block=0, side="s", first=0, count=2, begin_ns=0,
                interval_ns=0)  # fmt: skip

    def op(self, writer: str, ahead_ns: int = 0, **op: Any) -> None:
        sequence = self._sequences[writer] = self._sequences.get(writer, 0) + 1
        body = {"t_ns": ahead_ns, "boot": f"boot-{ahead_ns}", "worker": writer, **op}
        self.recording.take("1-0", Entry.of_op(writer, f"{writer}#1-1", sequence, body))

    def clock(self, writer: str, ahead_ns: int = 0) -> None:
        self.op(writer, ahead_ns, op="clock", offset_ns=_UNIX_NS - ahead_ns, error_ns=1_000)

    def task(self, worker: str, number: int, begin_ns: int) -> None:
        events = ((Event.STARTED, begin_ns), (Event.SUCCEEDED, begin_ns + 20 * _MS))
        data = b"".join(
            RECORD.pack(number, t_ns, 0, _TAG, 5, 6, event, 0, sequence)
            for sequence, (event, t_ns) in enumerate(events, 1)
        )
        self.recording.take("1-0", Entry("records", worker, f"{worker}/5-1", 1, data))

    def now(self) -> Progress:
        return Progress.of(progress(self.recording))


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[_Hosts]:
    hosts = _Hosts(tmp_path / "r")
    hosts.op("near", op="hello", side="s", life=1, pid=5)
    yield hosts
    hosts.recording.close()


def test_the_span_of_a_block_on_hosts_of_other_clocks_is_that_on_one_clock(hosts: _Hosts) -> None:
    hosts.clock("far", _TEN_DAYS_NS)
    hosts.op("far", _TEN_DAYS_NS, op="hello", side="s", life=1, pid=5)
    hosts.task("near", 0, 100 * _MS)
    hosts.task("far", 1, _TEN_DAYS_NS + 130 * _MS)

    assert hosts.now().span_s(BlockHandle(0, "s", 0, 2, 0, 1, 0)) == 0.05


def test_no_span_is_told_as_long_as_a_clock_is_not_known(hosts: _Hosts) -> None:
    hosts.op("far", _TEN_DAYS_NS, op="hello", side="s", life=1, pid=5)
    hosts.task("near", 0, 100 * _MS)
    hosts.task("far", 1, _TEN_DAYS_NS + 130 * _MS)

    now = hosts.now()

    assert now.settled_in(BlockHandle(0, "s", 0, 2, 0, 1, 0)) == 2
    assert now.span_s(BlockHandle(0, "s", 0, 2, 0, 1, 0)) is None
