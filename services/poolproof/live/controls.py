"""The controls of the page: what people may change of a demonstration, or of a replay."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from bokeh.models import Button, Select, Spinner

from poolproof.live.panels import beside
from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.live.show import Show
    from poolproof.live.side import Side

_SPEEDS: Final = ("0.1", "0.25", "0.5", "1", "2", "5", "10")
_WORKLOADS: Final = ("square", "sleep:50ms", "sleep:300ms", "sleep:1s", "cpu:5ms", "cpu:50ms")
_MAX_PER_S: Final = 5_000
_MAX_SLOTS: Final = 64
_SECONDS: Final = 30


def controls(show: Show) -> list[Any]:
    """Return the rows of controls that this show has; none where people may only look."""
    if show.replay is not None:
        return [_replay(show)]
    if show.order is None or not show.stage.run:
        return []
    if show.stage.plan != "demonstration":
        return [_next(show.order)] if show.stage.closed else []
    if show.stage.closed:
        return []
    sides = (_side(show.order, side) for side in show.stage.sides.values())
    return [_work(show, show.order), beside(*chain.from_iterable(sides))]


def _work(show: Show, order: Callable[[dict[str, Any]], None]) -> Any:
    first = next(iter(show.stage.sides.values()), None)
    known = first.workload if first and first.workload in _WORKLOADS else "sleep:300ms"
    work = Select(title="Workload", value=known, options=list(_WORKLOADS), width=150)
    work.on_change("value", lambda _name, _old, new: order({"do": "workload", "text": new}))
    rate = Spinner(
        title="Tasks a second, each side",
        value=show.stage.per_s,
        low=0,
        high=_MAX_PER_S,
        step=5,
        width=180,
    )
    rate.on_change("value", lambda _name, _old, new: order({"do": "rate", "per_s": new or 0}))
    stop = Button(label="Stop and judge", width=130, align="end")
    stop.on_click(lambda: order({"do": "stop"}))
    seconds = Spinner(
        title="Seconds to measure", value=_SECONDS, low=5, high=3_600, step=5, width=150
    )
    compare = Button(label="Measure this work on both", width=210, align="end")
    compare.on_click(lambda: order({"do": "compare", "seconds": seconds.value or _SECONDS}))
    return beside(work, rate, stop, seconds, compare)


def _next(order: Callable[[dict[str, Any]], None]) -> Any:
    """Return what can come after a comparison."""
    back = Button(label="Back to the demonstration", width=210)
    back.on_click(lambda: order({"do": "demonstrate"}))
    again = Button(label="Measure again", width=130)
    again.on_click(lambda: order({"do": "compare"}))
    stop = Button(label="Stop", width=90)
    stop.on_click(lambda: order({"do": "stop"}))
    return beside(back, again, stop)


def _side(order: Callable[[dict[str, Any]], None], side: Side) -> list[Any]:
    pool = PoolSpec.parse(side.pool or side.label).pool
    names = [f.name for f in FAULTS if f.where != "broker" and not f.why_not(pool)]
    fault = Select(title=f"Fault for {side.label}", value=names[0], options=names, width=190)
    crash = Button(label=f"Crash {side.label}", button_type="danger", width=170, align="end")
    crash.on_click(lambda: order({"do": "fault", "side": side.label, "fault": fault.value}))
    found = [fault, crash]
    if side.concurrency > 1:
        slots = Spinner(
            title="Slots", value=side.concurrency, low=1, high=_MAX_SLOTS, step=1, width=90
        )
        slots.on_change(
            "value",
            lambda _name, _old, new: order(
                {"do": "slots", "side": side.label, "count": int(new or 1)}
            ),
        )
        found.append(slots)
    return found


def _replay(show: Show) -> Any:
    def set_speed(_name: str, _old: str, new: str) -> None:
        if show.replay is not None:
            show.replay.speed = float(new)

    def pause(button: Button) -> None:
        if show.replay is not None:
            going = show.replay.speed > 0
            show.replay.speed = 0 if going else float(speed.value)
            button.label = "Go on" if going else "Pause"

    now = f"{show.replay.speed:g}" if show.replay and show.replay.speed else "1"
    speed = Select(title="Speed", value=now, options=sorted({*_SPEEDS, now}, key=float), width=100)
    speed.on_change("value", set_speed)
    stop = Button(label="Pause", width=90, align="end")
    stop.on_click(partial(pause, stop))
    again = Button(label="From the beginning", width=150, align="end")
    again.on_click(show.again)
    return beside(speed, stop, again)
