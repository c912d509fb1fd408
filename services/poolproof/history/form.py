"""The form of what a history says: which fields an op must have, and what each may hold.

A frame whose checksum is right may still be one that no poolproof wrote. More fields than these are
allowed, and so are ops of other names: a later version may write them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from poolproof_workers.contract import RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof_workers.contract import Entry

    Check: TypeAlias = Callable[[Any], bool]

#: What a field holds that is not there.
_MISSING: Final = object()
#: No run has a task of a higher number.
TASKS: Final = 1 << 31
#: Times and their sums fit 64 bits. No run has so many blocks.
_TIME: Final = 1 << 61
_COUNT: Final = 1 << 53
_DIGITS: Final = len(str(TASKS))
_BLOCKS: Final = 1 << 24
#: Also the name of its folder: no way leads out of the folder for runs.
_RUN: Final = re.compile(r"\w[\w.-]{0,99}", re.ASCII)


def well_formed(entry: Entry) -> bool:
    """Tell whether an entry is one that a history may hold."""
    names = is_text(entry.worker) and is_text(entry.source)
    if not (names and type(entry.sequence) is int and 1 <= entry.sequence <= _COUNT):
        return False
    if entry.kind == "records":
        return len(entry.data) > 0 and len(entry.data) % RECORD_BYTES == 0
    return entry.kind == "op" and _is_op(entry.data)


def is_text(value: object) -> bool:
    """Tell whether a value is text that can be written to a file or a terminal."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)


def is_run(value: object) -> bool:
    """Tell whether a value can be the id of a run."""
    return isinstance(value, str) and _RUN.fullmatch(value) is not None


def is_number(value: object) -> bool:
    """Tell whether a value is a number, and of a size that a run may have."""
    # Neither an infinity nor what is no number (NaN) is below it.
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < _TIME


def _is_op(data: bytes) -> bool:
    try:
        op = json.loads(data, parse_constant=_refuse)
        if rb"\ud" in data.lower():
            json.dumps(op, ensure_ascii=False).encode()  # half a pair is no character
    except (ValueError, RecursionError):
        return False
    if not (isinstance(op, dict) and is_text(op.get("op"))):
        return False
    fields = _EVERY | _FIELDS.get(op["op"], {})
    return _with(fields)(op)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _maybe(check: Check) -> Check:
    return lambda value: value is _MISSING or value is None or check(value)


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _with(fields: dict[str, Check]) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and all(check(value.get(name, _MISSING)) for name, check in fields.items())
    )


def _pair(first: Check, second: Check) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) == 2 and first(value[0]) and second(value[1])
    )


def _is_by_number(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_text_of_number(name) and is_text(of) for name, of in value.items()
    )


def _is_text_of_number(name: str) -> bool:
    is_short = len(name) <= _DIGITS and name.isascii() and name.isdecimal()
    return is_short and int(name) < TASKS


_is_time: Final = _whole(-_TIME, _TIME)
_is_count: Final = _whole(0, _COUNT)
_is_number_of_task: Final = _whole(0, TASKS)
_is_block: Final = _whole(0, _BLOCKS)
_maybe_number: Final = _maybe(is_number)
_maybe_count: Final = _maybe(_is_count)
_maybe_text: Final = _maybe(is_text)
_maybe_names: Final = _maybe(_object_of(_or_null(is_text)))

_MACHINE: Final[dict[str, Check]] = {
    **dict.fromkeys(("cpu", "system"), _maybe_text),
    **dict.fromkeys(("cores", "usable_cores"), _maybe_count),
    **dict.fromkeys(("cgroup_cpus", "cgroup_memory_bytes", "memory_bytes"), _maybe_number),
}

_EVERY: Final[dict[str, Check]] = {"op": is_text, "t_ns": _is_time, "boot": is_text}
_LIFE: Final[dict[str, Check]] = {
    "worker": is_text,
    "side": lambda value: value is _MISSING or is_text(value),
    "life": _maybe_count,
    "pid": _maybe_count,
    "settings": _maybe_names,
}
_EFFORT: Final[dict[str, Check]] = {
    "worker": is_text,
    "processes": _is_count,
    "cpu_s": is_number,
    "own_cpu_s": _maybe_number,
    "ctx_voluntary": _maybe_number,
    "ctx_involuntary": _maybe_number,
    "host": _maybe(_object_of(_or_null(is_number))),
}
_TASKS_OF: Final[dict[str, Check]] = {
    "block": _is_block,
    "side": is_text,
    "first": _is_number_of_task,
    "count": _is_number_of_task,
}
#: As docs/history.md has them; what older runs lack may be missing.
_FIELDS: Final[dict[str, dict[str, Check]]] = {
    "run-begin": {
        "run": is_run,
        "tag": _whole(0, (1 << 32) - 1),
        "plan": _maybe(_is_object),
        "machine": _maybe(_with(_MACHINE)),
        "versions": _maybe_names,
        "command": _maybe(_list(is_text)),
    },
    "hello": _LIFE
    | {
        "side": is_text,
        "pool": _maybe_text,
        "concurrency": _maybe_count,
        "versions": _maybe_names,
        "rings": _maybe(_object_of(_is_count)),
        "restart_delay_s": _maybe_number,
        "visibility_timeout_s": _maybe_number,
        "sweep_s": _maybe_number,
    },
    "worker-up": _LIFE | {"life": _is_count, "command": _maybe(_list(is_text))},
    "worker-ready": _LIFE | {"life": _is_count},
    "worker-exit": {
        "worker": is_text,
        "life": _maybe_count,
        "pid": _or_null(_is_count),
        "code": _or_null(_is_time),
        "signal": _or_null(_is_count),
        "asked": _is_bool,
        "stop_s": _maybe_number,
        "stderr": _maybe(_list(is_text)),
    },
    "worker-restart": {"worker": is_text, "delay_s": is_number, "by": is_text},
    "process-gone": {
        "worker": is_text,
        "pid": _is_count,
        "ring": is_text,
        "written": _maybe_count,
    },
    "sample": _EFFORT
    | dict.fromkeys(("pss_bytes", "uss_bytes", "rss_bytes", "ring_bytes"), _maybe_number),
    "effort": _EFFORT,
    "cost": {"cpu_s": is_number},
    "clock": {"offset_ns": _is_time, "error_ns": _is_time},
    "fault": {
        "worker": is_text,
        "fault": is_text,
        "applied": _is_bool,
        "reason": _maybe_text,
        "workers": _maybe(_list(is_text)),
        "lasts_s": _maybe_number,
        "delay_s": _maybe_number,
    },
    "fault-end": {"worker": is_text, "fault": is_text},
    "not-applicable": {"side": is_text, "fault": is_text, "reason": is_text},
    "flushed": {
        "worker": is_text,
        "token": _or_null(is_text),
        "rings": _object_of(_is_count),
        "alive": _list(_is_count),
        "pid": _or_null(_is_count),
    },
    "blind": {"worker": is_text},
    "block-begin": _TASKS_OF
    | {
        "workload": is_text,
        "warmup": _is_bool,
        "measured": _is_bool,
        "parameters": _maybe(_is_object),
        "events": _maybe(_is_bool),
        "continues": _maybe(_is_bool),
        "round": _maybe_count,
        "own_cpu_s": _maybe_number,
        "redis_cpu_s": _maybe_number,
    },
    "enqueued": _TASKS_OF
    | {
        "count": _whole(1, TASKS),
        "begin_ns": _is_time,
        "interval_ns": _is_time,
        "faults": _maybe(_is_by_number),
    },
    "block-end": {
        "block": _is_block,
        "drained": _is_bool,
        "why": _maybe_text,
        "own_cpu_s": _maybe_number,
        "redis_cpu_s": _maybe_number,
    },
    "strike": {"side": is_text, "fault": is_text},
    "phase": {"name": _maybe_text},
    "broker": {
        "side": is_text,
        "reason": is_text,
        "queue": _list(_pair(_is_number_of_task, _is_number_of_task)),
        "unacked": _list(_pair(_is_number_of_task, is_number)),
        "foreign": _maybe_count,
        "stable": _maybe(_is_bool),
        "visibility_timeout_s": _maybe_number,
        "sweep_s": _maybe_number,
    },
    "celery": {
        "worker": is_text,
        "answered": _is_bool,
        "active": _list(_is_count),
        "reserved": _list(_is_count),
    },
    "run-end": {"reason": is_text},
    "closed": {
        "complete": _maybe(_is_bool),
        "missing": _object_of(is_text),
        "sources": _maybe(_object_of(_is_count)),
    },
}
