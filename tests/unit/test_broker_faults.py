"""What is written down of a fault of the broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from poolproof.runner.broker_faults import refuse, why_not
from poolproof.runner.side import Side
from poolproof_workers.faults.catalogue import find

_SIDE = Side("threads:2", "threads:2", 2, ("threads@here",))
#: As docs/history.md has them.
_FIELDS = (
    *("side", "worker", "workers", "fault", "pid", "applied", "reason"),
    *("lasts_s", "delay_s", "connections", "t_ns"),
)


def test_one_that_was_refused_has_every_field_that_one_that_was_done_has() -> None:
    ops: list[dict[str, Any]] = []
    producer = SimpleNamespace(op=lambda name, **fields: ops.append({"op": name, **fields}))
    session: Any = SimpleNamespace(producer=producer, broker=None)
    fault = find("broker-slow")[1]
    reason = why_not(session, _SIDE, fault)
    assert reason

    refuse(session, _SIDE, fault, reason)

    (op,) = ops
    assert set(op) == {"op", *_FIELDS}
    assert (op["applied"], op["reason"], op["connections"]) == (False, reason, None)
    assert (op["lasts_s"], op["delay_s"]) == (3.0, 0.05)
