"""Whether verdicts can be believed: equal sides, a planted difference, another's count."""

from __future__ import annotations

import tempfile
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.compare import Comparison
from poolproof.history.file import FILE_NAME, read
from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof.infra.sides import SideSpec
from poolproof.judge.outcome import BUSY, LESS, MORE
from poolproof.judge.summary import summarise
from poolproof.runner.listener import NullListener
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.included import onlooker, slowdown
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.judge.outcome import Outcome

#: What is compared with itself, in turn, and the seconds that it gets. The slots set the pace, so
#: that 5 % there are 5 %. What computes has one slot, so that the harness has a core for itself on
#: any machine, and more time: how fast a core is changes more than how long a sleep takes.
_SUBJECTS: Final = (
    ("threads:4", "sleep:20ms", 75.0),
    ("prefork:4", "sleep:20ms", 75.0),
    ("solo", "cpu:5ms", 260.0),
    ("prefork:1", "cpu:5ms", 260.0),
)
#: A difference of 5 % cannot be found where the ratio is only known to 5 %.
_PRECISION: Final = 0.02
#: Sides of a comparison -> what it is to find between them.
_EQUAL: Final = ("a", "b")
_PLANTED: Final = ("a", "slow")
_SAID: Final = (
    "ratio",
    "low",
    "high",
    "outcome",
    "taken_share",
    "verdict",
    "precision",
    "smallest_detectable",
)
#: About 2 s a block: the onlooker's clock tells milliseconds.
_OUTSIDE_TASKS: Final = 400
_INCLUDE: Final = "POOLPROOF_INCLUDE"


def measure(rounds: int) -> dict[str, Any]:
    """Compare three sides `rounds` times: two that are equal, and one that is slowed down.

    Then a few comparisons are counted by an onlooker too. Every run has workers of its own.
    """
    subjects = enumerate(islice(cycle(_SUBJECTS), rounds))
    runs = [run for seed, subject in subjects for run in _compare(seed, *subject)]
    equal, planted = ([run for run in runs if run["kind"] == kind] for kind in ("equal", "planted"))
    counted = [_count(index, *_SUBJECTS[index]) for index in range(min(rounds, len(_SUBJECTS)))]
    figures = {
        **counted_outcomes(equal, planted),
        "outside_blocks": sum(len(run["blocks"]) for run in counted),
        "outside_deviation": max(run["deviation"] for run in counted),
        "outside_worst_block": max(run["worst_block"] for run in counted),
    }
    return {"bench": "verdict", "figures": figures, "rounds": [*equal, *planted, *counted]}


def counted_outcomes(
    equal: list[dict[str, Any]], planted: list[dict[str, Any]]
) -> dict[str, float]:
    """Return how often equal sides were called different, and a planted difference was found.

    A comparison counts by its outcome; what was not comparable was neither called nor found.
    """
    return {
        "equal_runs": len(equal),
        "equal_called_different": _count_of(equal, MORE, LESS),
        "equal_called_different_share": _count_of(equal, MORE, LESS) / len(equal),
        "equal_ratio_furthest_from_1": max(abs(run["ratio"] - 1) for run in equal),
        "planted_runs": len(planted),
        "planted_found": _count_of(planted, MORE),
        "planted_found_share": _count_of(planted, MORE) / len(planted),
        "planted_ratio": median(run["ratio"] for run in planted),
        "not_comparable": _count_of([*equal, *planted], BUSY),
    }


def _count_of(runs: list[dict[str, Any]], *outcomes: Outcome) -> int:
    return sum(run["outcome"] in outcomes for run in runs)


def _compare(seed: int, pool: str, workload: str, budget_s: float) -> Iterator[dict[str, Any]]:
    """Compare a pool with itself and with itself slowed down; yield what is said of each pair."""
    sides = dict.fromkeys(_EQUAL, _side(pool, {}))
    sides["slow"] = _side(pool, {_INCLUDE: slowdown.__name__})
    comparison = Comparison(
        (workload,), precision=_PRECISION, budget_s=budget_s, seed=seed, latency="none", crash=None
    )
    with tempfile.TemporaryDirectory(prefix="poolproof-bench-") as folder:
        summary = summarise(LocalEnvironment(sides, Path(folder)).play(comparison, NullListener()))
    said = {(one["a"], one["b"]): one for one in summary["comparisons"]}
    for kind, pair in (("equal", _EQUAL), ("planted", _PLANTED)):
        rates = {side: summary["pools"][side]["workloads"][workload] for side in pair}
        yield {
            "kind": kind,
            "pool": pool,
            "workload": workload,
            **{name: said[pair][name] for name in _SAID},
            "valid": summary["valid"],
            "seconds": summary["seconds"],
            "tasks_per_s": {side: of["throughput_per_s"]["blocks"] for side, of in rates.items()},
            "warnings": [warning["code"] for warning in summary["warnings"]],
        }


def _side(pool: str, settings: dict[str, str]) -> SideSpec:
    return SideSpec(pool, PoolSpec.parse(pool), settings)


# --- somebody else's count ------------------------------------------------------------------------


def _count(seed: int, pool: str, workload: str, budget_s: float) -> dict[str, Any]:
    """Have the onlooker count a comparison; return how far it disagrees on a side's median."""
    watched = {_INCLUDE: onlooker.__name__}
    sides = {"a": _side(pool, watched), "b": _side(pool, watched)}
    comparison = Comparison(
        (workload,),
        tasks=_OUTSIDE_TASKS,
        precision=1.0,
        budget_s=budget_s,
        seed=seed,
        fresh=False,
        latency="none",
        crash=None,
    )
    with (
        tempfile.TemporaryDirectory(prefix="poolproof-bench-") as name,
        RedisServer.start() as server,
    ):
        folder = LocalEnvironment(sides, Path(name), server.url).play(comparison, NullListener())
        seen = _seen(server.url)
        summary = summarise(folder)
        theirs = dict(_rates(folder, seen))
    ours = {
        side: of["workloads"][workload]["throughput_per_s"]["blocks"]
        for side, of in summary["pools"].items()
    }
    blocks = [
        {"side": side, "poolproof_per_s": mine, "onlooker_per_s": other}
        for side, rates in ours.items()
        for mine, other in zip(rates, theirs[side], strict=True)
    ]
    return {
        "kind": "outside",
        "pool": pool,
        "workload": workload,
        "blocks": blocks,
        "deviation": max(abs(median(ours[side]) / median(theirs[side]) - 1) for side in ours),
        "worst_block": max(abs(b["poolproof_per_s"] / b["onlooker_per_s"] - 1) for b in blocks),
    }


def _seen(url: str) -> dict[int, list[int]]:
    """Return the number of each task -> the milliseconds at which the onlooker saw it."""
    found: dict[int, list[int]] = {}
    with connect(url) as redis:
        for identifier, fields in redis.xrange(onlooker.STREAM):
            number = int(fields[b"task"][-12:], 16)
            found.setdefault(number, []).append(int(identifier.partition(b"-")[0]))
    return found


def _rates(folder: Path, seen: dict[int, list[int]]) -> Iterator[tuple[str, list[float]]]:
    """Yield each side with the tasks a second of its measured blocks, as the onlooker has them."""
    found: dict[str, list[float]] = {}
    for _, entry in read(folder / FILE_NAME):
        if entry.kind == "op" and entry.op["op"] == "block-begin" and entry.op["measured"]:
            first, count = entry.op["first"], entry.op["count"]
            times = [at for number in range(first, first + count) for at in seen[number]]
            found.setdefault(entry.op["side"], []).append(1e3 * count / (max(times) - min(times)))
    yield from found.items()
