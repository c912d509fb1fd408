"""The matrix as CSV: a line a cell, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.faults.loss import CAUSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]

#: Columns of the CSV that are the cell's own keys.
_PLAIN: Final = (
    "fault",
    "pool",
    "policy",
    "prefetch",
    "workers",
    "restarts",
    "status",
    "reason",
    "repeats",
    "running",
    "interrupted_first",
    "interrupted",
    "hung",
    "stranded",
    "given_back",
    "waited",
    "others",
    "recovered",
    "lost",
    "repeated",
    "overdue",
    "phantom",
    "strikes",
    "slots_gone_first",
    "slots_gone",
    "worker_died",
    "enqueued",
    "lingered_s",
)
_LISTS: Final = ("noticed", "restarted_by", "ended", "ways", "runs")
_SHARES: Final = ("interrupted", "lost", "repeated")
_SEEN: Final = ("observers", "saw", "suffered", "updates", "lost_updates")

_TIMES: Final = ("detect", "slot_back", "redelivered", "throughput_back")


def as_csv(matrix: Json) -> str:
    """Return one line a cell, with a heading, for a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _fields(), restval="", lineterminator="\n")
    writer.writeheader()
    for cell in matrix["cells"]:
        writer.writerow(_line(cell))
    return text.getvalue()


def _fields() -> list[str]:
    shares = [f"{name}_{edge}" for name in _SHARES for edge in ("share", "low", "high")]
    times = [f"{name}_s" for name in _TIMES]
    causes = [f"lost_{name}" for name in CAUSES]
    return [*_PLAIN, *causes, *_LISTS, *_SEEN, *times, "due_first_s", "due_last_s", *shares]


def _line(cell: Json) -> dict[str, Any]:
    line = {name: cell[name] for name in _PLAIN if name in cell}
    line |= {name: "; ".join(cell[name]) for name in _LISTS if name in cell}
    if cell["status"] != "measured":
        return line
    line |= dict(cell["observations"] or {})
    line |= {f"lost_{name}": cell["lost_by"].get(name, 0) for name in CAUSES}
    line["lingered_s"] = _rounded(cell["lingered_s"])
    line |= {f"{name}_s": _rounded(cell["recovery_s"][name]) for name in _TIMES}
    due = cell["due_s"] or {}
    line |= {f"due_{edge}_s": _rounded(due.get(edge)) for edge in ("first", "last")}
    for name in _SHARES:
        share = cell["shares"][name]
        line |= {f"{name}_{edge}": _rounded(share[edge]) for edge in ("share", "low", "high")}
    return line


def _rounded(number: float | None) -> float | str:
    return "" if number is None else round(number, 4)
