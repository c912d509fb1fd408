"""What the demonstration writes into the history when somebody at the page breaks something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from poolproof.experiments.demo import Demonstration
from poolproof.runner.listener import NullListener
from poolproof.runner.progress import Progress
from poolproof.runner.side import Side
from poolproof_workers.contract import Keys

_SIDE = Side("prefork:2", "prefork:2", 2, ("prefork@here",))


class _Session:
    """A session in which nothing really happens."""

    def __init__(self) -> None:
        self.ops: list[dict[str, Any]] = []
        self.sides, self.keys, self.listener = (_SIDE,), Keys("demo"), NullListener()
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


def test_every_side_gets_as_much_and_none_gets_more_while_one_does_not_keep_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Side("threads:2", "threads:2", 2, ("threads@here",))
    sent: dict[str, list[int]] = {_SIDE.label: [], other.label: []}
    turns, clock, is_over = iter(range(30)), iter(range(1_000)), False

    def take() -> list[dict[str, Any]]:
        nonlocal is_over
        turn = next(turns, None)
        is_over = turn is not None and 10 <= turn < 20
        return [{"do": "stop"}] if turn is None else []

    def trickle(block: Any, _: Any) -> Any:
        return SimpleNamespace(
            left=1_000, send=sent[block.side].append, sent=SimpleNamespace(count=0)
        )

    session: Any = _Session()
    session.sides = (_SIDE, other)
    session.queued = lambda side: 1_000 if is_over and side is other else 0
    session.producer.trickle, session.producer.end = trickle, session.until_quiet
    session.progress = lambda: SimpleNamespace(settled_in=lambda _: 0)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("time.sleep", lambda _: None)
    orders: Any = SimpleNamespace(take=take)

    Demonstration(orders, per_s=10.0).play(session)

    # The last turn is the one that is asked to stop.
    assert sent[_SIDE.label] == sent[other.label] == [10] * 21
    assert [op["name"] for op in session.ops if op["op"] == "phase"][:2] == [
        "threads:2 does not keep up: no side gets more work until it has caught up",
        "threads:2 has caught up: work flows again",
    ]


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


@pytest.mark.parametrize(
    ("order", "why"),
    [
        *(
            ({"do": "compare", "seconds": seconds}, "nobody understands")
            for seconds in (float("inf"), float("nan"), 0, 86_401)
        ),
        ({"do": "fault", "side": _SIDE.label, "fault": "meteor"}, "There is no fault 'meteor'."),
    ],
)
def test_an_order_that_cannot_be_obeyed_is_said_and_work_goes_on(
    order: dict[str, Any], why: str
) -> None:
    asked = [[order], [{"do": "rate", "per_s": 7}], [{"do": "stop"}]]
    orders: Any = SimpleNamespace(take=lambda: asked.pop(0))
    session: Any = _Session()
    demonstration = Demonstration(orders, per_s=0)

    demonstration.play(session)

    said = [op["name"] for op in session.ops if op["op"] == "phase"]
    assert why in said[0]
    assert said[1:] == ["7 tasks a second for each side", "stopped from the page"]
    assert demonstration.asked is None


@pytest.mark.parametrize("seconds", [1, 86_400.0])
def test_a_comparison_that_is_asked_for_gets_its_time(seconds: float) -> None:
    orders: Any = SimpleNamespace(take=lambda: [{"do": "compare", "seconds": seconds}])
    demonstration = Demonstration(orders, per_s=0)

    demonstration.play(cast("Any", _Session()))

    assert demonstration.asked is not None
    assert demonstration.asked.budget_s == seconds
