"""How fast records come from the stream to disk and ledger, and the memory that a task costs."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.collect.collector import Collector
from poolproof.history.file import FILE_NAME
from poolproof.history.ledger import empty_records
from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.contract import RECORD_BYTES, Entry, Event, Keys

if TYPE_CHECKING:
    from redis import Redis

_TASKS: Final = 200_000
_EVENTS: Final = (Event.RECEIVED, Event.STARTED, Event.SUCCEEDED)
_RECORDS: Final = _TASKS * len(_EVENTS)
#: Rings that are written at the same time, and the records of an entry: what a supervisor that
#: ships ten times a second makes of a busy pool.
_RINGS: Final = 8
_BATCH: Final = 400
_TAG: Final = 0xC0FFEE
_KEYS: Final = Keys("bench")
_RUN: Final = f"20000101-000000-{_TAG:08x}"


def measure(rounds: int) -> dict[str, Any]:
    """Return `records_per_s` (median) and `bytes_per_task`; each round collects 600,000 records."""
    entries = list(_history())
    with RedisServer.start() as server, connect(server.url) as redis:
        found = [_round(redis, entries) for _ in range(rounds)]
    figures = {
        "records_per_s": statistics.median(each["records_per_s"] for each in found),
        "bytes_per_task": max(each["bytes_per_task"] for each in found),
    }
    return {"bench": "collector", "figures": figures, "rounds": found}


def _round(redis: Redis, entries: list[Entry]) -> dict[str, float]:
    _fill(redis, entries)
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(redis, _KEYS, Path(folder))
        begin = time.perf_counter()
        collector.run(stop=lambda: _settled(collector) == _TASKS)
        seconds = time.perf_counter() - begin
        size = (Path(folder) / _RUN / FILE_NAME).stat().st_size
    redis.delete(_KEYS.history, _KEYS.saved, _KEYS.progress)
    return {
        "records_per_s": _RECORDS / seconds,
        "bytes_per_task": _bytes(collector) / _TASKS,
        "disk_bytes_per_record": size / _RECORDS,
    }


def _settled(collector: Collector) -> int:
    return collector.ledger.settled if collector.ledger else 0


def _bytes(collector: Collector) -> int:
    return collector.ledger.bytes_held if collector.ledger else 0


def _fill(redis: Redis, entries: list[Entry]) -> None:
    for start in range(0, len(entries), 100):
        pipe = redis.pipeline(transaction=False)
        for entry in entries[start : start + 100]:
            pipe.xadd(_KEYS.history, entry.fields())  # type: ignore[arg-type]
        pipe.execute()


def _history() -> list[Entry]:
    side = {"block": 0, "side": "threads:8", "first": 0, "count": _TASKS}
    ops = [
        {"op": "run-begin", "run": _RUN, "tag": _TAG},
        {"op": "block-begin", "workload": "square", "warmup": False, "measured": True, **side},
        {"op": "enqueued", "begin_ns": 0, "interval_ns": 0, **side},
    ]
    time_and_place = {"t_ns": 1, "boot": "bench"}
    entries = [
        Entry.of_op("producer", "producer#1-1", number, op | time_and_place)
        for number, op in enumerate(ops, 1)
    ]
    rings = [_ring(index) for index in range(_RINGS)]
    # As they arrive: a batch of each ring in turn.
    return entries + [entry for batch in zip(*rings, strict=True) for entry in batch]


def _ring(index: int) -> list[Entry]:
    records = empty_records(_RECORDS // _RINGS)
    count = len(records)
    records["number"] = np.repeat(np.arange(index, _TASKS, _RINGS), len(_EVENTS))
    records["event"] = np.tile(np.array(_EVENTS), count // len(_EVENTS))
    records["t_ns"] = np.arange(count) * 1_000 + index
    records["tag"] = _TAG
    records["pid"], records["tid"] = index + 1, index + 1
    records["sequence"] = np.arange(1, count + 1)
    data, step = records.tobytes(), _BATCH * RECORD_BYTES
    name = f"threads-8@bench/{index + 1}-1"
    return [
        Entry(
            "records",
            "threads-8@bench",
            name,
            start // RECORD_BYTES + 1,
            data[start : start + step],
        )
        for start in range(0, len(data), step)
    ]
