"""Which attempts are open in the slots of a process, from its records in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from poolproof.collect.roster import Source

_SLOT_EVENTS: Final = np.zeros(256, bool)
_SLOT_EVENTS[[Event.STARTED, Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED]] = True

Key = tuple[int, int]  # number, native thread id


def follow(
    source: Source, number: np.ndarray, event: np.ndarray, tid: np.ndarray, t_ns: np.ndarray
) -> None:
    """Bring `source.open` and `source.unended` up to date with a batch of records."""
    slot = np.flatnonzero(_SLOT_EVENTS[event])
    if not slot.size:
        return
    number, event, tid, t_ns = number[slot], event[slot], tid[slot], t_ns[slot]
    before = dict(source.open)
    _note_last(source, number, event, tid, t_ns)
    begun = int(np.count_nonzero(event == Event.STARTED))
    # Each start opens one and each end closes one, unless a record between two is missing.
    if begun - (len(event) - begun) != len(source.open) - len(before):
        _note_unended(source, _pairs(number, tid), event.tolist(), before)


def _note_last(
    source: Source, number: np.ndarray, event: np.ndarray, tid: np.ndarray, t_ns: np.ndarray
) -> None:
    """The last event of a task in a slot decides whether the attempt is open."""
    keys = (number.astype(np.uint64) << np.uint64(32)) | tid
    _, from_end = np.unique(keys[::-1], return_index=True)
    last = len(keys) - 1 - from_end
    is_open = event[last] == Event.STARTED
    if source.open:
        for key in _pairs(number[last[~is_open]], tid[last[~is_open]]):
            source.open.pop(key, None)
    opened = last[is_open]
    source.open.update(zip(_pairs(number[opened], tid[opened]), t_ns[opened].tolist(), strict=True))


def _note_unended(
    source: Source, keys: list[Key], events: list[int], begun: dict[Key, int]
) -> None:
    """Count each start in a slot whose earlier start of the same task never ended."""
    for key, event in zip(keys, events, strict=True):
        if event != Event.STARTED:
            begun.pop(key, None)
        elif key in begun:
            source.unended[key[0]] += 1
        else:
            begun[key] = 0


def _pairs(number: np.ndarray, tid: np.ndarray) -> list[Key]:
    return list(zip(number.tolist(), tid.tolist(), strict=True))
