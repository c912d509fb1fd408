"""How much work a piece of poolproof is, counted and not timed: the same on any machine."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import poolproof
import poolproof_workers

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType
    from typing import Any

_OURS = tuple(str(Path(str(of.__file__)).parent) for of in (poolproof, poolproof_workers))


@dataclass
class Work:
    """Counts what is done in it.

    `lines` are those that Python ran, by function; one round of a loop, or of a comprehension, is
    at least one. numpy works on whole arrays in one line, so `allocated` counts bytes: of each line
    what it had in hand at most beyond what was there before it.
    """

    lines: Counter[str] = field(default_factory=Counter)
    allocated: int = 0
    _held: int = 0
    _counts: Counter[int] = field(default_factory=Counter)  #: id of a code object -> lines
    _codes: dict[int, CodeType] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        tracemalloc.start()
        self._held, _ = tracemalloc.get_traced_memory()
        sys.settrace(self._call)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.settrace(self._before)
        self._weigh()
        tracemalloc.stop()
        for key, count in self._counts.items():
            code = self._codes[key]
            self.lines[f"{Path(code.co_filename).name} {code.co_qualname}"] += count

    def _call(self, frame: FrameType, event: str, _argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS):
            return None
        self._codes[id(code)] = code
        return self._line

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._counts[id(frame.f_code)] += 1
            self._weigh()
        return self._line

    def _weigh(self) -> None:
        held, most = tracemalloc.get_traced_memory()
        self.allocated += most - self._held
        self._held = held
        tracemalloc.reset_peak()
