"""What the demonstration writes into the history when somebody at the page breaks something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from poolproof.experiments.demonstration import Demonstration
from poolproof.experiments.listener import Silence
from poolproof.experiments.progress import Progress
from poolproof.experiments.session import Side
from poolproof_workers.contract import Keys

_SIDE = Side("prefork:2", "prefork:2", 2, ("prefork@here",))


class _Session:
    """A session in which nothing really happens."""

    def __init__(self) -> None:
        self.ops: list[dict[str, Any]] = []
        self.sides, self.keys, self.listener = (_SIDE,), Keys("demo"), Silence()
        self.producer = SimpleNamespace(op=self._op, enqueue=self._nothing, trickle=self._trickle)

    def _op(self, op: str, /, **fields: Any) -> None:
        self.ops.append({"op": op, **fields})

    def _nothing(self, *_: Any, **__: Any) -> None: ...

    def _trickle(self, *_: Any) -> Any:
        return SimpleNamespace(left=1, send=self._nothing)

    warm_up = workload = order = health = until_quiet = _nothing

    def queued(self, _: Side) -> int:
        return 0

    def progress(self) -> Progress:
        return Progress()


@pytest.mark.parametrize(("fault", "aimed"), [("segfault", True), ("kill-worker", False)])
def test_a_strike_says_when_in_its_task_it_comes_or_that_it_is_not_aimed(
    fault: str, aimed: bool
) -> None:
    asked = [{"do": "fault", "side": _SIDE.label, "fault": fault}, {"do": "stop"}]
    orders: Any = SimpleNamespace(take=lambda: [asked.pop(0)])
    session: Any = _Session()
    demonstration = Demonstration(orders, per_s=0)

    demonstration.play(session)

    (strike,) = [op for op in session.ops if op["op"] == "strike"]
    after_s = demonstration.crash.task_s / 2 if aimed else None
    assert strike == {"op": "strike", "side": _SIDE.label, "fault": fault, "after_s": after_s}
