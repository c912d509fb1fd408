"""The table of a run's tasks: `tasks.parquet`, one row a task."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from poolproof.history.participants import NEVER
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof_workers.contract import Event
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof.history.ledger import Part
    from poolproof.judge.run import JudgedRun

#: Version of the table.
#: 1: first.
FORMAT: Final = 1
TABLE_NAME: Final = "tasks.parquet"
_VERDICTS: Final = pl.Enum([verdict.word for verdict in Verdict])
_NUMBER: Final = re.compile(r"os error (\d+)")
#: Rows that are made at once.
_STRETCH: Final = 1 << 18


def write_table(case: JudgedRun, path: Path) -> None:
    """Write the table of the tasks that were enqueued, and of those that were not and yet ran.

    It takes little memory, however many there are. A reader finds the whole table or none. Raises
    DiskError.
    """
    table = _Table(case)
    draft = path.with_name(f".{path.name}.draft")
    try:
        source = register_io_source(lambda *_: table.stretches(), schema=table.schema())
        source.sink_parquet(draft, metadata=table.facts(), maintain_order=True)
        draft.replace(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise DiskError(f"Cannot write {path}: {_reason(error)}.") from error
    finally:
        draft.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return what the system said, which polars gives in words only."""
    number = _NUMBER.search(str(error))
    return os.strerror(int(number[1])) if number else str(error)


class _Table:
    def __init__(self, case: JudgedRun) -> None:
        self._case = case
        self._ledger = case.evidence.ledger
        sources = list(self._ledger.roster.sources.values())
        self._pids = np.array([*(source.pid for source in sources), 0], np.uint32)
        workers = list(dict.fromkeys(source.worker for source in sources))
        numbers = [workers.index(source.worker) for source in sources]
        self._worker_of = np.array([*numbers, len(workers)], np.int64)
        self._workers = _words(workers)
        self._sides = _words(self._ledger.sides)
        workloads = list(dict.fromkeys(block.workload for block in case.blocks))
        last = max((block.index for block in case.blocks), default=-1)
        self._workload_of = np.full(last + 2, len(workloads))
        for block in case.blocks:
            self._workload_of[block.index] = workloads.index(block.workload)
        self._workloads = _words(workloads)
        self._verdicts = pl.Series([verdict.word for verdict in Verdict], dtype=_VERDICTS)

    def facts(self) -> dict[str, str]:
        """Return what the file says of itself."""
        begin = self._case.evidence.last("run-begin")
        clock = self._case.evidence.clocks
        zero = clock.from_unix(0)
        return {
            "poolproof.format": str(FORMAT),
            "poolproof.run": str(begin["run"]) if begin else "",
            # Added to a time of the table it gives nanoseconds of Unix time.
            "poolproof.unix_offset_ns": "" if zero is None else str(-zero),
            "poolproof.boot": clock.reference,
            "poolproof.versions": json.dumps((begin.get("versions") if begin else None) or {}),
        }

    def schema(self) -> dict[str, Any]:
        """Return column -> type, also of a table without rows."""
        return dict(self._part(slice(0, 0)).schema)

    def stretches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows, many at a time."""
        for first in range(0, self._ledger.size, _STRETCH):
            yield self._part(slice(first, min(first + _STRETCH, self._ledger.size)))

    def _part(self, rows: slice) -> pl.DataFrame:
        part, verdicts = self._ledger.part(rows), self._case.verdicts[rows]
        source = part["last_source"]  # -1 is the last of what is looked up: nothing
        begun = np.maximum(part.count(Event.STARTED), _ends(part))
        ran = begun > 0
        times = ("first_received", "first_start", "last_start", "last_end")
        received, started, again, ended = (part[name] for name in times)
        enqueued = part["block"] >= 0
        table = pl.DataFrame(
            {
                "number": np.arange(rows.start, rows.stop),
                "side": self._sides.gather(_or_last(part["side"], self._sides)),
                "block": _known(part["block"], enqueued),
                "workload": self._workloads.gather(self._workload_of[part["block"]]),
                "verdict": self._verdicts.gather(verdicts),
                "poison": part["poison"] > 0,
                "intended_ns": _known(part["intended_ns"], enqueued),
                "enqueued_ns": _known(part["enqueued_ns"], enqueued),
                "received_ns": _known(received, received != NEVER),
                "started_ns": _known(started, started != NEVER),
                "last_started_ns": _known(again, again > 0),
                "ended_ns": _known(ended, ended > 0),
                "receipts": part.count(Event.RECEIVED),
                "attempts": begun,
                "completions": part.count(Event.SUCCEEDED),
                "failures": part.count(Event.FAILED),
                "retries": part.count(Event.RETRIED),
                "result": _known(part["result"], part.count(Event.SUCCEEDED) > 0),
                "worker": self._workers.gather(self._worker_of[source]),
                "pid": _known(self._pids[source], source >= 0),
                "thread": _known(part["last_tid"], ran & (source >= 0)),
            }
        )
        return table.filter(pl.Series(verdicts != Verdict.NONE))


def _ends(part: Part) -> np.ndarray:
    ends = (Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED)
    return np.asarray(np.sum([part.count(event) for event in ends], axis=0, dtype=np.uint32))


def _words(words: list[str]) -> pl.Series:
    """Return words to look up by their place; the last is none."""
    return pl.Series([*words, None], dtype=pl.Enum(words))


def _or_last(places: np.ndarray, words: pl.Series) -> np.ndarray:
    return np.where(places < 0, len(words) - 1, places)


def _known(values: np.ndarray, known: np.ndarray) -> pl.Series:
    """Return the values, null where they are not known."""
    series = pl.Series(values)
    return series if known.all() else series.set(pl.Series(~known), None)
