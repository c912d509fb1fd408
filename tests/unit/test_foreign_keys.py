"""Keys of ours that somebody else wrote are none."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from types import SimpleNamespace
from typing import Any, Final

import pytest

from poolproof.infra.workers import registered
from poolproof.produce.producer import Producer
from poolproof.runner.remote_environment import RemoteEnvironment
from poolproof_workers.contract import Entry, Keys
from poolproof_workers.supervisor.outbox import Outbox
from poolproof_workers.supervisor.shipper import Shipper

_KEYS: Final = Keys()
_WORKER: Final = {
    "name": "w",
    "side": "s",
    "pool": "solo",
    "concurrency": 1,
    "allow_faults": False,
    "sweep_s": 100.0,
}
_NO_SEQUENCES: Final = (None, b"", b"x", b"\xff", b"-1", b"1.5", b" 1", b"1_0", b"9" * 5000)


def _with_saved(value: bytes | None) -> Any:
    return SimpleNamespace(
        hmget=lambda _, sources: [value for _ in sources],
        hget=lambda *_: value,
        xrange=lambda _: [],
    )


@pytest.mark.parametrize(("value", "left"), [*((v, 2) for v in _NO_SEQUENCES), (b"1", 1)])
def test_a_supervisor_takes_what_is_no_sequence_for_nothing_saved(
    value: bytes | None, left: int
) -> None:
    outbox = Outbox("w")
    outbox.begin_run()
    outbox.add("hello")
    outbox.add("void")

    Shipper(_with_saved(value), _KEYS, "w", outbox)._rewind([])

    assert len(outbox.unsent()) == left


@pytest.mark.parametrize(("value", "has"), [*((v, False) for v in _NO_SEQUENCES), (b"1", True)])
def test_a_producer_takes_what_is_no_sequence_for_nothing_saved(
    value: bytes | None, *, has: bool
) -> None:
    entry = Entry.of_op("producer", "producer#1-1", 1, {"op": "void", "t_ns": 1, "boot": "b"})
    producer: Any = SimpleNamespace(_redis=_with_saved(value), _keys=_KEYS)

    assert Producer._has(producer, entry) is has


def _with_workers(*registrations: object) -> Any:
    held = {_KEYS.worker(str(n)): json.dumps(each) for n, each in enumerate(registrations)}
    return SimpleNamespace(
        scan_iter=lambda pattern, **_: [key for key in held if fnmatch(key, pattern)],
        mget=lambda names: [held[name].encode() for name in names],
    )


@pytest.mark.parametrize(
    "registration",
    [
        {"name": "z"},
        {"name": []},
        *({key: value for key, value in _WORKER.items() if key != name} for name in _WORKER),
        *(_WORKER | {name: None} for name in _WORKER),
    ],
)
def test_a_registration_without_what_is_needed_of_it_is_none(registration: object) -> None:
    redis = _with_workers(_WORKER, registration)

    assert registered(redis, _KEYS) == {"w": _WORKER}
    assert RemoteEnvironment(redis, _KEYS, "redis://127.0.0.1")._wait(1, 0.0) == {"w": _WORKER}
