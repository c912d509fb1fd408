"""Which attempts are open in the slots of processes, from their records in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.history.batch import Batch
    from poolproof.history.columns import Columns
    from poolproof.history.participants import Source

_ENDS: Final = (Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED)
#: By event: whether it begins or ends an attempt in a slot.
IN_A_SLOT: Final = np.zeros(1 << 16, bool)
IN_A_SLOT[[Event.STARTED, *_ENDS]] = True
#: A task's mark: it may have an open attempt. A number beyond it is used within `follow` only.
_OPEN: Final = 1
_WHOLE: Final = 2


def follow(sources: Sequence[Source], columns: Columns, records: Batch) -> None:
    """Bring `open` and `unended` of the sources up to date with records that were counted.

    All of them are of events that `IN_A_SLOT` has.
    """
    rest = records.where(~_whole(columns, records))
    mark = columns["mark"]
    number, event, tid, t_ns, source = (
        column.tolist() for column in (rest.number, rest.event, rest.tid, rest.t_ns, rest.source)
    )
    for task, what, thread, when, index in zip(number, event, tid, t_ns, source, strict=True):
        attempts, key = sources[index].open, (task, thread)
        if what != Event.STARTED:
            attempts.pop(key, None)
            continue
        if key in attempts:
            sources[index].unended[task] += 1
        attempts[key] = when
        mark[task] = _OPEN


def _whole(columns: Columns, records: Batch) -> np.ndarray:
    """Return a mask of the records of attempts that began and ended within these, without doubt.

    They are nearly all there are, and need not be followed one by one: the only start that is known
    of the task, and its only end, in the same slot.
    """
    mark = columns["mark"]
    is_start = records.event == Event.STARTED
    ends = records.where(~is_start)
    ended = sum(columns.of(event.name, ends.number) for event in _ENDS)
    once = (columns[Event.STARTED.name][ends.number] == 1) & (ended == 1)
    here = (
        (columns["last_source"][ends.number] == ends.source)
        & (columns["last_tid"][ends.number] == ends.tid)
        & (columns["first_start"][ends.number] < ends.t_ns)
    )
    # One that began in an earlier batch is marked as open.
    whole = ends.number[once & here & (mark[ends.number] == 0)]
    mark[whole] = _WHOLE
    found = np.asarray(mark[records.number] == _WHOLE)
    mark[whole] = 0
    return found
