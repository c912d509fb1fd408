"""How smooth the live page is, how far behind, and what it holds: seen from a real browser."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil

from benchmarks.browser import Chromium, free_port
from benchmarks.endless_history import SIDES, Stream
from poolproof.history.file import FILE_NAME, read, records
from poolproof.infra.child import Child
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.browser import Drawn, Looking


_PER_S: Final = 5_000  #: tasks a second, each side
#: Until the series are full (two minutes), and forget as much as they learn.
_FULL_S: Final = 130.0
_WARM_UP_S: Final = 20.0
_ROUND_S: Final = 30.0
_SHOWN_S: Final = 2.0  #: what happened must be on the screen after so long
_STUCK_S: Final = 30.0
_STOP_S: Final = 60.0
_NONE: Final = np.empty(0)
_DRAWN: Final = (Event.STARTED, Event.SUCCEEDED)


def measure(rounds: int) -> dict[str, Any]:
    """Return how a page draws a run of 5,000 tasks/s a side, and one of real workers.

    `frames_per_s` is the browser's, `updates_per_s` how often a side's lanes show something new,
    `server_cpu_share` what the page's server needs of a core. The lag of an event is the time from
    its own to when a frame that shows it was drawn: `lag_p50_s` and `lag_p99_s` in the busy run,
    `worker_lag_*` from inside a real worker of `poolproof serve`. The clocks are related to within
    `clock_error_s`.

    Memory is looked at between the rounds, each of 30 s: `*_bytes_per_task` is by how much it grows
    (the server's PSS, the page's JavaScript heap after a collection, the PSS of the processes that
    draw). `stuck_growth_bytes` is by how much the server grows in 30 s in which the browser takes
    nothing, `stuck_behind_s` how long it takes after that until the page is at the present, and
    `stuck_ratio_to_watched` what the workers do in such a time, against one that is drawn.

    Medians of the rounds. Other work on the machine shows in the lags: see `load` beside them.
    """
    with Chromium() as chromium:
        busy, busy_rows = _busy(chromium, rounds)
        worker, worker_rows = _at_work(chromium, rounds)
    return {"bench": "live", "figures": busy | worker, "rounds": busy_rows + worker_rows}


# --- a run that is written at a set rate ----------------------------------------------------------


def _busy(chromium: Chromium, rounds: int) -> tuple[dict[str, float], list[dict[str, float]]]:
    with (
        _serving("--watch") as (server, port, runs),
        Stream(runs, _PER_S) as stream,
        chromium.looking(port, len(SIDES), server.check) as looking,
    ):
        looking.wait(_FULL_S)
        looks = [_held(server, looking, stream.tasks)]
        rows = []
        for _ in range(rounds):
            rows.append(_busy_round(server, looking, stream))
            looks.append(_held(server, looking, stream.tasks))
        stuck = _stuck(server, looking)
    growth = {f"{name}_bytes_per_task": _growth(looks, name) for name in _HELD}
    error = {"clock_error_s": looking.error_s}
    figures = _medians(rows) | growth | {f"{n}_bytes": looks[-1][n] for n in _HELD} | stuck | error
    return figures, [row | look for row, look in zip(rows, looks[1:], strict=True)]


def _busy_round(server: Child, looking: Looking, stream: Stream) -> dict[str, float]:
    cpu_s = _cpu_s(server)
    begin_ns, end_ns, drawn = _round(looking)
    cpu_s = _cpu_s(server) - cpu_s
    events = _within(stream.events(), begin_ns, end_ns)
    return {
        "frames_per_s": drawn.frames / drawn.seconds,
        "updates_per_s": drawn.updates / drawn.seconds / len(SIDES),
        "server_cpu_share": cpu_s / drawn.seconds,
        "load": psutil.getloadavg()[0],
        **_lags("lag", events, drawn),
    }


_HELD: Final = ("server", "heap", "renderer")


def _held(server: Child, looking: Looking, tasks: int) -> dict[str, float]:
    """Return what server and browser hold, and after how many tasks."""
    return {
        "tasks": tasks,
        "server": _pss_bytes(psutil.Process(server.pid)),
        "heap": looking.heap_bytes(),
        "renderer": sum(map(_pss_bytes, looking.renderers())),
    }


def _growth(looks: list[dict[str, float]], name: str) -> float:
    """Return the slope of a straight line through all looks."""
    tasks = np.array([look["tasks"] for look in looks])
    return float(np.polyfit(tasks - tasks[0], [look[name] for look in looks], 1)[0])


def _stuck(server: Child, looking: Looking) -> dict[str, float]:
    process = psutil.Process(server.pid)
    before = _pss_bytes(process)
    with looking.stuck():
        time.sleep(_STUCK_S)
        grown = _pss_bytes(process) - before
    begin_ns = time.monotonic_ns()
    while not _shows(looking.drawn(), begin_ns):
        server.check()
        looking.wait(0.05)
    behind_s = (time.monotonic_ns() - begin_ns) / 1e9
    return {"stuck_growth_bytes": grown, "stuck_behind_s": behind_s}


def _shows(drawn: Drawn, since_ns: int) -> bool:
    """Tell whether every lane has shown what happened after some moment."""
    newest_ns = [newest[-1] for _, newest in drawn.lanes.values()]
    return bool(newest_ns) and min(newest_ns) > since_ns


# --- real workers ---------------------------------------------------------------------------------


def _at_work(chromium: Chromium, rounds: int) -> tuple[dict[str, float], list[dict[str, float]]]:
    with (
        _serving() as (server, port, runs),
        chromium.looking(port, len(SIDES), server.check) as looking,
    ):
        looking.wait(_WARM_UP_S)
        seen = [(*_round(looking), psutil.getloadavg()[0]) for _ in range(rounds)]
        with looking.stuck():
            begin_ns = time.monotonic_ns()
            time.sleep(_ROUND_S)
            end_ns = time.monotonic_ns()
        looking.wait(_SHOWN_S)  # the collector may need a moment
        events = _events(runs)
    rows, watched = [], []
    for begin, end, drawn, load in seen:
        mine = _within(events, begin, end)
        watched.append(_count(mine) / (end - begin))
        rows.append({"worker_load": load, **_lags("worker_lag", mine, drawn)})
    alone = _count(_within(events, begin_ns, end_ns)) / (end_ns - begin_ns)
    figures = {"stuck_ratio_to_watched": alone / statistics.median(watched)}
    return _medians(rows) | figures, rows


def _events(runs: Path) -> dict[int, np.ndarray]:
    """Return the starts and ends in the history of the run: thread -> their times in ns."""
    (path,) = runs.glob(f"*/{FILE_NAME}")
    found = [records(entry) for _, entry in read(path) if entry.kind == "records"]
    every = np.concatenate(found)
    drawn = every[np.isin(every["event"], _DRAWN)]
    return {int(tid): drawn["t_ns"][drawn["tid"] == tid] for tid in np.unique(drawn["tid"])}


# --- parts ----------------------------------------------------------------------------------------


@contextmanager
def _serving(*words: str) -> Iterator[tuple[Child, int, Path]]:
    """Run `poolproof serve` for a while; give it, its port, and the folder of its runs."""
    with tempfile.TemporaryDirectory(prefix="poolproof-live-") as folder:
        port, runs = free_port(), Path(folder)
        child = Child("the page", ["serve", *words, "--port", str(port), "--out", folder], {})
        try:
            yield child, port, runs
        finally:
            child.ask_to_stop()
            child.end(_STOP_S)


def _round(looking: Looking) -> tuple[int, int, Drawn]:
    """Look for a while: return its begin and end in ns, and what was drawn up to a little later."""
    looking.drawn()
    begin_ns = time.monotonic_ns()
    looking.wait(_ROUND_S)
    end_ns = time.monotonic_ns()
    looking.wait(_SHOWN_S)
    return begin_ns, end_ns, looking.drawn()


def _lags(name: str, events: dict[int, np.ndarray], drawn: Drawn) -> dict[str, float]:
    lags = lags_s(events, drawn.lanes, drawn.until_ns)
    p50, p99 = np.percentile(lags, (50, 99))
    return {f"{name}_p50_s": float(p50), f"{name}_p99_s": float(p99), f"{name}_events": len(lags)}


def _within(events: dict[int, np.ndarray], begin_ns: int, end_ns: int) -> dict[int, np.ndarray]:
    return {lane: ns[(ns >= begin_ns) & (ns < end_ns)] for lane, ns in events.items()}


def _count(events: dict[int, np.ndarray]) -> int:
    return sum(map(len, events.values()))


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _cpu_s(child: Child) -> float:
    times = psutil.Process(child.pid).cpu_times()
    return float(times.user + times.system)


def _pss_bytes(process: psutil.Process) -> float:
    held = process.memory_full_info()
    return float(getattr(held, "pss", held.rss))


def lags_s(
    events: Mapping[int, np.ndarray],
    frames: Mapping[int, tuple[np.ndarray, np.ndarray]],
    until_ns: float,
) -> np.ndarray:
    """Return the lag of each event, in seconds.

    `events`: lane -> their times in ns. `frames`: lane -> when frames were drawn, and the newest
    event that each of them shows, both in ns and sorted. An event is shown by the first frame whose
    newest is not older than it; one that none shows has waited until the end, `until_ns`.
    """
    found = [
        _lags_ns(times, *frames.get(lane, (_NONE, _NONE)), until_ns)
        for lane, times in events.items()
    ]
    return np.concatenate([_NONE, *found]) / 1e9


def _lags_ns(
    times: np.ndarray, drawn: np.ndarray, newest: np.ndarray, until_ns: float
) -> np.ndarray:
    shown_by = np.searchsorted(newest, times)
    lags: np.ndarray = np.append(drawn, until_ns)[shown_by] - times
    return lags
