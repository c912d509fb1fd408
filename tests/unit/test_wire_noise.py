"""Whatever is in a ring, the stream or a list of orders, only what is documented is raised."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproof.collect.collector import _ours
from poolproof.experiments.crash import Crash
from poolproof.history.file import records
from poolproof.history.form import well_formed
from poolproof.history.ledger import Ledger
from poolproof_workers.contract import (
    LAYOUT,
    RING_HEADER,
    RING_HEADER_BYTES,
    RING_MAGIC,
    RING_RECORD,
    RING_RECORD_BYTES,
    Entry,
)
from poolproof_workers.errors import DiskError, UsageError
from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.settings import Policy, Settings
from poolproof_workers.supervisor import orders
from poolproof_workers.supervisor.ring_cursor import RingCursor
from poolproof_workers.supervisor.ring_reader import RingReader
from poolproof_workers.supervisor.shipper import _order

_QUICK: Final = settings(deadline=None, max_examples=100)
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary(max_size=RING_HEADER_BYTES + 3))
@_QUICK
def test_a_file_that_is_no_ring_is_refused(noise: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "1-1.ring"
        path.write_bytes(RING_MAGIC[: len(noise) % 9] + noise)

        with pytest.raises(DiskError, match=r"1-1\.ring is"):
            RingReader(path)


@given(
    st.integers(0, 40),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**63 - 1),
    st.data(),
    st.booleans(),
)
@_QUICK
def test_a_ring_with_anything_in_it_gives_whole_records_or_is_refused(
    capacity: int,
    pid: int,
    opened_ns: int,
    data: st.DataObject,
    gone: bool,
) -> None:
    size = (LAYOUT, RING_RECORD_BYTES, capacity, pid, opened_ns)
    body = b"".join(data.draw(_SLOT) for _ in range(capacity))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "1-1.ring"
        path.write_bytes(RING_HEADER.pack(RING_MAGIC, *size) + body)
        try:
            tape = RingCursor(path, "w@h")
        except DiskError:
            assert capacity <= 16
            return
        tape.gone = gone
        entries = tape.batches()
        tape.look()
        tape.skip_lost()
        tape.runs_task()
        tape.close()

    for entry in entries:
        found = records(entry)
        assert found["sequence"].tolist() == list(
            range(entry.sequence, entry.sequence + entry.count)
        )


def _slot(sequence: int, event: int, task: bytes) -> bytes:
    return RING_RECORD.pack(task, 1, 2, 3, sequence << 8 | event)


_ID: Final = b"00abcdef-0000-8000-8000-000000000001"
#: A slot of a ring: often one that could be there, with a low sequence.
_SLOT: Final = st.binary(min_size=RING_RECORD_BYTES, max_size=RING_RECORD_BYTES) | st.builds(
    _slot,
    st.integers(0, 60) | st.integers(0, 2**56 - 1),
    st.integers(0, 255),
    st.just(_ID) | st.binary(min_size=36, max_size=36),
)


@given(
    st.dictionaries(
        st.sampled_from([b"k", b"w", b"s", b"n", b"d", b"x"]),
        st.binary(max_size=60) | st.sampled_from([b"op", b"records", b"1", b"-1", b"{}", b"[]"]),
    )
)
@_QUICK
def test_an_entry_of_the_stream_is_read_or_refused_and_a_history_takes_only_what_it_may_hold(
    fields: dict[bytes, bytes],
) -> None:
    entry = _ours(fields)

    if entry is not None:
        ledger = Ledger()
        ledger.take(entry)
        assert entry.sequence >= 1


@pytest.mark.parametrize(("text", "kept"), [("b\udcffd", "b?d"), ("b\U0001f600d", "b\U0001f600d")])
def test_what_our_own_ops_hold_can_be_read_again_whatever_a_path_is_made_of(
    text: str, kept: str
) -> None:
    op = {"op": "run-begin", "t_ns": 1, "boot": "b", "run": "r", "tag": 1, "command": [text]}
    entry = Entry.of_op("producer", "p#1", 1, op)

    assert well_formed(entry)
    assert entry.op["command"] == [kept]


@given(st.binary(max_size=80) | _JSON.map(lambda value: json.dumps(value).encode()))
@_QUICK
def test_an_order_is_an_object_whatever_somebody_pushed(text: bytes) -> None:
    assert isinstance(_order(text), dict)


def test_an_order_as_deep_as_can_be_is_one_too() -> None:
    assert _order(b"[" * 100_000)


@given(_JSON | st.dictionaries(st.sampled_from(sorted(orders.CHANGEABLE)), _JSON))
@_QUICK
def test_what_an_order_changes_is_on_the_list_and_makes_settings_or_is_refused(
    changes: object,
) -> None:
    own = Settings.from_env({})
    try:
        new = Settings.from_env({**own.to_env(), **orders.checked(changes)})
    except UsageError:
        return

    kept = ("name", "side", "redis_url", "broker_url", "namespace", "rings", "include")
    assert [getattr(new, name) for name in kept] == [getattr(own, name) for name in kept]
    assert new.allow_faults == own.allow_faults
    assert not new.pool.pool.is_custom


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("POOLPROOF_POOL", text) for text in ("custom:1=this:Zen", "threads:99999", "x")),
        *((f"POOLPROOF_{each}", "1") for each in ("ALLOW_FAULTS", "INCLUDE", "RINGS", "NAME")),
        *(("POOLPROOF_POLICY", "never"), ("POOLPROOF_PREFETCH", "-1"), ("PATH", "/")),
        *(("POOLPROOF_RESTORE_INTERVAL_S", "nan"), ("POOLPROOF_PREFETCH", 3)),
        *(("POOLPROOF_TIME_LIMIT_S", "inf"), ("POOLPROOF_SOFT_TIME_LIMIT_S", "0")),
        ("POOLPROOF_MAX_MEMORY_PER_CHILD_KB", "0"),
    ],
)
def test_what_no_order_may_do_is_refused(name: str, value: object) -> None:
    own = Settings.from_env({"POOLPROOF_POOL": "solo"})

    with pytest.raises(UsageError):
        Settings.from_env({**own.to_env(), **orders.checked({name: value})})


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
def test_what_a_crash_orders_may_be_ordered(fault: str, policy: Policy) -> None:
    wanted = Crash(fault=fault, policy=policy, restarts=False).settings()

    new = Settings.from_env({**Settings.from_env({}).to_env(), **orders.checked(wanted)})

    assert {name: new.to_env()[name] for name in wanted} == wanted
