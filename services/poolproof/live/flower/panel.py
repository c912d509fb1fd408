"""The panel beside the books: what Flower shows, what the books say, and where they differ."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Final

from poolproof.live.flower.beside import SETTLED_S
from poolproof.live.flower.client import Seen
from poolproof.live.flower.difference import agree
from poolproof.live.side import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.live.flower.beside import Beside
    from poolproof.live.flower.difference import Difference
    from poolproof.live.show import Show
    from poolproof.live.side import Side

_SEEN: Final = {
    Seen.NEVER: "never heard of",
    Seen.RECEIVED: "received",
    Seen.STARTED: "started",
    Seen.SUCCEEDED: "succeeded",
    Seen.FAILED: "failed",
    Seen.RETRIED: "retried",
    Seen.REVOKED: "revoked",
    Seen.OTHER: "something else",
}
_DEAD: Final = (State.CUT, State.LOST)
_ALIVE: Final = (Seen.RECEIVED, Seen.STARTED)


def flower_panel(show: Show) -> str:
    """Return the panel as HTML; empty if there is no Flower beside this page."""
    beside = show.beside
    if beside is None:
        return ""
    stage = show.stage
    events = any(stretch.events for stretch in stage.tasks.stretches[-1:])
    said = [*_access(beside), *([_COST] if events else []), _state(beside)]
    parts = "".join(f'<p class="dim">{escape(each)}</p>' for each in said if each)
    if beside.found:
        told = [
            sentence
            for label, side in beside.found.items()
            for sentence in sentences(side, _death(stage.sides[label], show.now_ns))
        ]
        parts += "".join(f"<p>{escape(each)}</p>" for each in told) + _table(beside.found)
    return f'<section class="flower" aria-label="Flower and the books">{parts}</section>'


_COST: Final = (
    "Celery's task events, which are all that Flower sees, are on: "
    "they cost a worker about a third of its throughput."
)


def _access(beside: Beside) -> Iterator[str]:
    if (told := beside.flower.told) is not None:
        user, password = told
        yield f"Flower at {beside.flower.link} asks for the user {user}, password {password}."


def _state(beside: Beside) -> str:
    if beside.trouble:
        return f"Flower {beside.trouble}: what it shows is not known, and nothing is compared."
    if beside.found is None:
        late = beside.behind_s > SETTLED_S
        lag = f" Flower or this page is {beside.behind_s:.0f} s behind." if late else ""
        return f"Nothing is compared yet: only what both have known for a few seconds is.{lag}"
    young = sum(side.young for side in beside.found.values())
    return f"{_tasks(young)} that moved a moment ago are not compared." if young else ""


def sentences(side: Difference, death: str = "") -> Iterator[str]:
    """Yield in words where a side differs; `death` says whose end it was that tasks died with."""
    if not side.differing:
        if side.compared:
            every = "the" if side.compared == 1 else "all"
            yield f"Flower shows {every} {_tasks(side.compared)} of {side.side} as the books do."
        return
    yield from _missed(side)
    for (seen, state), count in sorted(_merged(side).items()):
        yield _sentence(side.side, seen, state, count, death)


def _missed(side: Difference) -> Iterator[str]:
    never = f"Flower never heard of {{}} of {side.compared:,} tasks of {side.side}"
    if side.unwatched:
        yield f"{never.format(f'{side.unwatched:,}')}: task events were off while they ran."
    if others := side.missed - side.unwatched:
        yield (
            f"{never.format(f'{others:,}')}, though task events were on: "
            "an event that is lost is not sent again."
        )


def _merged(side: Difference) -> dict[tuple[Seen, State], int]:
    """Return what differs of the tasks that Flower has heard of; interrupted ones as lost."""
    found: dict[tuple[Seen, State], int] = {}
    for (seen, state), count in side.differing.items():
        if seen is not Seen.NEVER:
            pair = seen, State.LOST if state in _DEAD else state
            found[pair] = found.get(pair, 0) + count
    return found


def _sentence(side: str, seen: Seen, state: State, count: int, death: str) -> str:
    shown = f"Flower still shows {_tasks(count)} as {_SEEN[seen]}"
    with_it = death or "a slot"
    if seen in _ALIVE and state in _DEAD:
        return f"{shown} that died with {with_it}."
    if seen in _ALIVE and state is State.STRANDED:
        return f"{shown} that {_were(count)} in the broker since the end of {with_it}."
    if state is State.REPEATED:
        again = "it ran to its" if count == 1 else "they ran to their"
        return (
            f"Flower shows {_tasks(count)} of {side} once as {_SEEN[seen]}, but {again} end again."
        )
    return f"Flower shows {_tasks(count)} of {side} as {_SEEN[seen]}, the books as {state.words}."


def _death(side: Side, now_ns: int) -> str:
    """Return which process of a side ended last, and when."""
    deaths = [each for each in side.happened if each.kind in {"exit", "child"}]
    if not deaths:
        return ""
    last = deaths[-1]
    same = sum(each.kind == last.kind for each in deaths)
    at = time.localtime(time.time() - (now_ns - last.t_ns) / 1e9)
    who = "worker" if last.kind == "exit" else "child process"
    which = f"{who} at" if same == 1 else f"{who} ({same} times), last at"
    return f"{side.label}'s {which} {time.strftime('%H:%M:%S', at)}"


def _table(found: dict[str, Difference]) -> str:
    heads = "".join(
        f'<th scope="col">{head}</th>'
        for head in ("side", "Flower shows", "the books say", "tasks", "")
    )
    rows = "".join(_row(side, *pair) for side in found.values() for pair in sorted(side.counts))
    return (
        '<table class="flower"><caption>What Flower shows, and what the books say</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(side: Difference, seen: Seen, state: State) -> str:
    count = side.counts[seen, state]
    cells = (_SEEN[seen], state.words, f"{count:,}", _differs(side, seen, state, count))
    return (
        f'<tr><th scope="row">{escape(side.side)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _differs(side: Difference, seen: Seen, state: State, count: int) -> str:
    """Say where the two differ, and where Flower cannot know."""
    if agree(seen, state):
        return ""
    off = side.unheard[state] if seen is Seen.NEVER else 0
    if off == count:
        return "events were off"
    return f"<b>differs</b>; events were off for {off:,} of them" if off else "<b>differs</b>"


def _tasks(count: int) -> str:
    return f"{count:,} task{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "has been stranded" if count == 1 else "have been stranded"
