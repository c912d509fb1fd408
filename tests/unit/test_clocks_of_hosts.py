"""A run on several hosts is judged as on one: each has a monotonic clock of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolproof.judge.summary import summarise
from poolproof_workers.contract import RECORD, RECORD_BYTES, Entry
from tests.unit.celery_model import OFFSET_NS, Model, write
from tests.unit.test_verdicts import _models, _play, _steps

if TYPE_CHECKING:
    from collections.abc import Mapping

_ahead = st.integers(-(10**11), 10**15)


def _moved(model: Model, ahead_ns: Mapping[str, int]) -> list[Entry]:
    """Return the history with each of these on a host whose clock is so far ahead."""
    found: list[Entry] = []
    sequences: dict[str, int] = {}

    def add(writer: str, op: dict[str, Any]) -> None:
        sequences[writer] = sequences.get(writer, 0) + 1
        found.append(Entry.of_op(writer, f"{writer}#1-1", sequences[writer], op))

    for entry in model.entries([3]):
        host, by = entry.worker, ahead_ns.get(entry.worker, 0)
        if entry.kind == "records":
            data = _later(entry.data, by)
            found.append(Entry("records", host, _ring(entry.source, by), entry.sequence, data))
            continue
        op = entry.op | {"t_ns": entry.op["t_ns"] + by}
        if host in ahead_ns:
            op["boot"] = host
            if host not in sequences:
                clock = {"op": "clock", "offset_ns": OFFSET_NS - by, "error_ns": 1_000}
                add(host, clock | {"t_ns": op["t_ns"], "boot": host, "worker": host})
        if "ring" in op:
            op["ring"] = _ring(op["ring"], by)
        if "rings" in op:
            op["rings"] = {_ring(name, by): count for name, count in op["rings"].items()}
        add(host, op)
    return found


def _later(data: bytes, by_ns: int) -> bytes:
    rows = (RECORD.unpack_from(data, at) for at in range(0, len(data), RECORD_BYTES))
    return b"".join(RECORD.pack(number, t_ns + by_ns, *rest) for number, t_ns, *rest in rows)


def _ring(name: str, by_ns: int) -> str:
    head, _, opened = name.rpartition("-")
    return f"{head}-{int(opened) + by_ns}"


def _summary(entries: list[Entry]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return summarise(write(Path(folder), entries))


@given(_models, _steps, _ahead, _ahead, _ahead)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_on_several_hosts_everything_is_as_on_one(
    kind: tuple[str, str, int], steps: list[tuple[str, int, int]], first: int, second: int, own: int
) -> None:
    model = Model(*kind)
    model.enqueue(2)
    _play(model, steps)
    about = {"worker": model.workers[0].name, "fault": "kill-worker", "pid": 1, "reason": None}
    model._op(model.workers[0].name, op="fault", applied=True, **about)
    model.kill(model.workers[0])
    model.close()
    ahead = {"model-0@host": first, "model-1@host": second, "collector": own}

    alone, together = _summary(model.entries([3])), _summary(_moved(model, ahead))

    for part in ("books", "crashes", "crash_totals", "seconds", "warnings", "sentences"):
        assert together[part] == alone[part]
