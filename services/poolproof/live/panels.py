"""The words of the page: its head, the books, what is stranded, what a comparison says so far."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import row
from bokeh.models import Div, InlineStyleSheet

from poolproof.live import words
from poolproof.live.lanes import COLOURS
from poolproof.live.side import State
from poolproof.report import content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.live.show import Show
    from poolproof.live.side import Side
    from poolproof.live.stage import Stage

_CSS: Final = files("poolproof.live") / "words.css"


def panel(text: str = "", styles: dict[str, str] | None = None) -> Div:
    """Return a place for words."""
    # Bokeh keeps each of its models apart from the page's style.
    return Div(
        text=text,
        sizing_mode="stretch_width",
        margin=0,
        styles=styles or {},
        stylesheets=[InlineStyleSheet(css=_CSS.read_text("utf-8"))],
    )


def beside(*parts: Any) -> Any:
    """Return a row that breaks where the screen is too narrow for it."""
    styles = {"flex-wrap": "wrap", "gap": "4px 16px"}
    return row(*parts, sizing_mode="stretch_width", styles=styles)


def head(show: Show) -> str:
    """Return what is shown."""
    stage = show.stage
    if not stage.run:
        return "<h1>poolproof</h1><p>Waiting for a run to begin.</p>"
    state = "over" if stage.closed else "played again" if show.replay else "running"
    doing = [f"{side.label}: {side.workload}" for side in stage.sides.values() if side.workload]
    title = " against ".join(stage.sides)
    said = [f"Run {stage.run}, {state}", *doing, *([stage.phase] if stage.phase else [])]
    link = f' · <a href="{escape(show.flower)}">Flower</a>' if show.flower else ""
    lost = (
        f"<p>{escape(show.damage)} are lost: these books are not whole.</p>" if show.damage else ""
    )
    return f'<h1>{escape(title)}</h1><p class="dim">{escape(" · ".join(said))}{link}</p>{lost}'


def news(stage: Stage, now_ns: int) -> str:
    """Return a sentence for what just happened to each side."""
    told = [words.news(side, now_ns) for side in stage.sides.values()]
    said = "".join(f"<p>{escape(each)}</p>" for each in told if each)
    return f'<div class="news" role="status" aria-live="polite">{said}</div>'


def books(sides: list[Side]) -> str:
    """Return where every task of every side is: a row a side."""
    shown = [
        state
        for state in State
        if any(side.counts[state] for side in sides) or state in {State.COMPLETED, State.LOST}
    ]
    heads = "".join(f'<th scope="col">{words}</th>' for words in ("enqueued", *_words(shown)))
    rows = "".join(
        f'<tr><th scope="row">{escape(side.label)}</th><td class="sum">{side.enqueued:,}</td>'
        + "".join(f"<td>{side.counts[state]:,}</td>" for state in shown)
        + "</tr>"
        for side in sides
    )
    return (
        '<div class="scroll"><table class="books" aria-label="The books: where every task is">'
        f"<thead><tr><th>The books</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _words(states: list[State]) -> Iterator[str]:
    for place, state in enumerate(states):
        yield f"{'=' if place == 0 else '+'} {state.words}"


def tray(side: Side, now_ns: int) -> str:
    """Return what is stranded on a side, and when it is due."""
    if not side.counts[State.STRANDED]:
        return '<p class="tray">Nothing is stranded.</p>'
    left = sorted(max(0.0, (due - now_ns) / 1e9) for due in side.due_ns.values())
    when = f", back in {left[0]:.1f} to {left[-1]:.1f} s" if left else ""
    chips = '<span class="chip"></span>' * min(len(left), 60)
    count = side.counts[State.STRANDED]
    return f'<p class="tray"><b>{count:,} stranded</b> in the broker{when} {chips}</p>'


def key() -> str:
    """Return what the colours of the lanes mean."""
    rows = "".join(
        f'<li><span class="chip" style="background: {_css(COLOURS[look])}"></span> {text}</li>'
        for look, text in _LOOKS.items()
    )
    return f"<b>A lane is a slot: a child process, or a thread</b><ul>{rows}</ul>"


def so_far(summary: dict[str, Any]) -> str:
    """Return what the measured blocks say up to now, as a table."""
    pairs = {(one["workload"], one["a"], one["b"]): one for one in summary["comparisons"]}
    rows = "".join(
        f'<tr><th scope="row">{escape(workload)}</th><td>{escape(one["a"])} / {escape(one["b"])}'
        f"</td><td>{one['ratio']:.2f}</td><td>{one['low']:.2f} to {one['high']:.2f}</td>"
        f"<td>{escape(content.outcome(one))}</td></tr>"
        for (workload, _, _), one in pairs.items()
    )
    return (
        '<table class="measured"><caption>Measured so far: tasks a second, the first divided by '
        'the second</caption><thead><tr><th></th><th scope="col">sides</th><th scope="col">ratio'
        '</th><th scope="col">between</th><th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def report(run: str) -> str:
    """Return the report of a run that is over."""
    at = f"report/{escape(run)}"
    return (
        f'<h2><a href="{at}" target="_blank">The report of this run</a></h2>'
        f'<iframe class="report" src="{at}" title="The report of run {escape(run)}"></iframe>'
    )


_LOOKS: Final = {
    "innocent": "an innocent task; the next one is lighter",
    "cut": "interrupted: it died with its slot",
    "poison": "the poison, which does the fault",
    "failed": "failed",
    "idle": "idle",
}


def _css(colour: tuple[int, int, int, int]) -> str:
    red, green, blue, alpha = colour
    return f"rgba({red}, {green}, {blue}, {alpha / 255:.2f})"
