"""What befell a side, in a sentence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from poolproof.live.side import State

if TYPE_CHECKING:
    from poolproof.live.side import Happening, Side

#: After so long a crash is no news any more, once everything has come back.
_NEWS_S: Final = 60.0
#: A fault and the death that it caused are this close.
_CAUSE_S: Final = 3.0


def news(side: Side, now_ns: int) -> str:
    """Return what last happened to a side; empty if nothing did lately."""
    deaths = [each for each in side.happened if each.kind in {"exit", "child"}]
    if not deaths or (now_ns - deaths[-1].t_ns) / 1e9 > _NEWS_S:
        return _fault_only(side, now_ns)
    last = deaths[-1]
    what = (
        f"{side.label} lost its worker to {last.what}"
        if last.kind == "exit"
        else f"{side.label} lost one child process ({last.what})"
    )
    parts = [f"{what} {_ago(last, now_ns)}{_because(side, last)}: {_innocent(last)}"]
    if side.due_ns:
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + _left_s(side, now_ns)))
        parts.append(f"{_tasks(side.counts[State.STRANDED])} stranded until {until}")
    back = [h for h in side.happened if h.kind == "ready" and h.t_ns > last.t_ns]
    if last.kind == "exit":
        back_s = (back[0].t_ns - last.t_ns) / 1e9 if back else None
        parts.append(f"a new worker took over after {back_s:.1f} s" if back_s else "it is down")
    if lost := side.counts[State.LOST] - side.poison_lost:
        parts.append(f"{_tasks(lost, 'innocent ')} lost so far")
    return ", ".join(parts) + "."


def _fault_only(side: Side, now_ns: int) -> str:
    faults = [each for each in side.happened if each.kind == "fault"]
    if not faults or (now_ns - faults[-1].t_ns) / 1e9 > _NEWS_S:
        return ""
    return f"{side.label}: {faults[-1].what} {_ago(faults[-1], now_ns)}; nothing died of it."


def _left_s(side: Side, now_ns: int) -> float:
    return max(0.0, (max(side.due_ns.values()) - now_ns) / 1e9)


def _ago(happening: Happening, now_ns: int) -> str:
    return f"{max(0.0, (now_ns - happening.t_ns) / 1e9):.1f} s ago"


def _because(side: Side, death: Happening) -> str:
    causes = [
        each.what
        for each in side.happened
        if each.kind == "fault" and 0 <= (death.t_ns - each.t_ns) / 1e9 < _CAUSE_S
    ]
    return f" ({causes[-1]})" if causes else ""


def _innocent(death: Happening) -> str:
    if not death.cut:
        return "no innocent task died"
    return f"{_tasks(len(death.cut), 'innocent ')} died"


def _tasks(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}task{'' if count == 1 else 's'}"
