"""What somebody else wrote is told from what a history may hold; it never stops a collector."""

from __future__ import annotations

from typing import Any, Final

import pytest

from poolproof.collect.form import well_formed
from poolproof_workers.contract import Entry

_PLACE: Final = {"block": 0, "side": "s", "first": 0, "count": 1}
_ENQUEUED: Final = {"op": "enqueued", **_PLACE, "begin_ns": 0, "interval_ns": 0}


def _entry(op: dict[str, Any], sequence: int = 1) -> Entry:
    return Entry.of_op("producer", "producer#1-1", sequence, {"t_ns": 1, "boot": "b", **op})


@pytest.mark.parametrize(
    "op",
    [
        {"op": "cost", "cpu_s": 10**400},
        {"op": "cost", "cpu_s": -(10**400)},
        {"op": "cost", "cpu_s": 1 << 61},
        _ENQUEUED | {"faults": {"1" * 5000: "x"}},
        _ENQUEUED | {"faults": {"-1": "x"}},
    ],
    ids=["huge", "less than any", "too much", "a key of 5000 digits", "a negative key"],
)
def test_a_number_that_no_run_has_is_refused_and_nothing_is_raised(op: dict[str, Any]) -> None:
    assert not well_formed(_entry(op))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_what_is_no_finite_number_is_refused(number: bytes) -> None:
    data = b'{"op":"cost","t_ns":1,"boot":"b","cpu_s":' + number + b"}"

    assert not well_formed(Entry("op", "w", "w#1", 1, data))
