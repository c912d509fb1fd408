"""The measures of a run beside throughput: waiting, cost, load, the harness and the host."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.judge.faults.lost_updates import counted
from poolproof.judge.performance.memory import measure
from poolproof.judge.performance.statistics import interval_of_median
from poolproof.judge.performance.sweep import sweep
from poolproof.judge.summary import summarise
from poolproof.report.details import measuring
from poolproof_workers.contract import Event
from poolproof_workers.workloads.answers import COUNTER
from tests.unit.measured_run import MS, Run, S

if TYPE_CHECKING:
    from pathlib import Path


def _summary(run: Run, folder: Path) -> dict[str, Any]:
    summary = summarise(run.write(folder))
    found: dict[str, Any] = json.loads(json.dumps(summary, allow_nan=False))
    return found


def _codes(summary: dict[str, Any]) -> set[str]:
    return {each["code"] for each in summary["warnings"]}


def _even(begin_ns: int, count: int, every_ns: int, took_ns: int) -> list[tuple[int, int, int]]:
    """Tasks that are received, begun and ended one `every_ns` after the other."""
    starts = [begin_ns + MS + index * every_ns for index in range(count)]
    return [(start - MS, start, start + took_ns) for start in starts]


def _effort(run: Run, side: str, t_ns: int, cpu_s: float, voluntary: int = 0, **more: Any) -> None:
    run.worker(
        side, "effort", t_ns, processes=1, cpu_s=cpu_s, ctx_voluntary=voluntary, ctx_involuntary=0,
        **more,
    )  # fmt: skip


def _a_run(plan: dict[str, Any] | None = None) -> Run:
    """Five blocks a side, in turn, of 100 tasks in a second; both sides are alike."""
    run = Run(plan=plan or {})
    for turn in range(5):
        for place, side in enumerate(("a", "b")):
            begin = (10 + 4 * turn + 2 * place) * S
            run.block(side, begin, _even(begin, 100, 10 * MS + turn * MS // 10, 5 * MS))
    return run


# --- waiting --------------------------------------------------------------------------------------


def _open(run: Run, side: str, begin: int) -> None:
    """100 tasks, 100 a second: each waits 4 ms in the queue, 2 ms in the worker, and runs 3 ms."""
    received = [begin + index * 10 * MS + 4 * MS for index in range(100)]
    times = [(when, when + 2 * MS, when + 5 * MS) for when in received]
    run.block(side, begin, times, rate_per_s=100.0)


def test_the_parts_of_a_task_s_time_add_up_from_when_it_was_due(tmp_path: Path) -> None:
    run = Run()
    _open(run, "a", 10 * S)

    load = _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]["open_loop"]

    parts = {name: of["p50"] for name, of in load["latency_s"].items()}
    assert parts == pytest.approx(
        {"total": 0.009, "queued": 0.004, "prefetched": 0.002, "running": 0.003}
    )
    assert "p90" in load["latency_s"]["total"]
    assert "p99" not in load["latency_s"]["total"]
    assert load["acknowledging"] == "acknowledged before it runs"


def test_a_side_that_keeps_up_is_not_overloaded(tmp_path: Path) -> None:
    run = Run()
    _open(run, "a", 10 * S)

    summary = _summary(run, tmp_path)

    load = summary["pools"]["a"]["workloads"]["square"]["open_loop"]
    assert load["offered_per_s"] == pytest.approx(100)
    assert load["achieved_per_s"] == pytest.approx(100)
    assert load["backlog"] == {"most": 1, "at_the_end": 1}
    assert "overload" not in _codes(summary)
    assert any(
        "At 100 square tasks a second" in sentence and "a 9 ms, p90 9 ms" in sentence
        for sentence in summary["sentences"]
    )


def test_a_side_that_falls_behind_is_overloaded(tmp_path: Path) -> None:
    run = Run()
    begin = 10 * S
    run.block("a", begin, _even(begin, 100, 20 * MS, 15 * MS), rate_per_s=100.0)

    summary = _summary(run, tmp_path)

    load = summary["pools"]["a"]["workloads"]["square"]["open_loop"]
    assert load["overloaded"]
    assert load["achieved_per_s"] == pytest.approx(50)
    assert load["backlog"]["at_the_end"] == pytest.approx(50, abs=2)
    assert "overload" in _codes(summary)


def test_throughput_is_that_of_the_closed_blocks_alone(tmp_path: Path) -> None:
    run = _a_run()
    _open(run, "a", 60 * S)

    of = _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]

    assert len(of["throughput_per_s"]["blocks"]) == 5
    assert of["latency_s"]["running"]["p50"] == pytest.approx(0.005)
    assert of["latency_s"]["total"]["p50"] == pytest.approx(0.009)


def _turns(run: Run) -> None:
    """Six rounds of two blocks a side, A B A B: 100 tasks in one second, and in two."""
    for number in range(6):
        for turn in range(2):
            for place, side in enumerate(("a", "b")):
                begin = (10 + 10 * number + 5 * turn + 2 * place) * S
                times = _even(begin, 100, (10 + 10 * turn) * MS, 0)
                run.block(side, begin, times, of_round=number)


def test_a_round_is_all_of_its_blocks_together(tmp_path: Path) -> None:
    run = Run()
    _turns(run)

    summary = _summary(run, tmp_path)

    of = summary["pools"]["a"]["workloads"]["square"]
    # 200 tasks, in 99 times 10 ms and in 99 times 20 ms.
    assert of["throughput_per_s"] == {
        "median": pytest.approx(200 / 2.97),
        "blocks": [pytest.approx(200 / 2.97)] * 6,
        "rounds": list(range(6)),
    }
    assert of["tasks"] == 200
    (one,) = summary["comparisons"]
    assert (one["rounds"], one["ratio"]) == (6, pytest.approx(1))


def test_a_round_that_lacks_a_task_of_one_of_its_blocks_is_left_out(tmp_path: Path) -> None:
    run = Run()
    _turns(run)
    run.lost = {(150, Event.STARTED), (400, Event.STARTED)}  # of b, and of a one round later

    summary = _summary(run, tmp_path)

    rounds = {
        side: of["workloads"]["square"]["throughput_per_s"]["rounds"]
        for side, of in summary["pools"].items()
    }
    assert rounds == {"a": [0, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}
    assert summary["comparisons"][0]["rounds"] is None  # four in common say nothing


def test_what_a_round_costs_is_one_value_however_often_it_was_read(tmp_path: Path) -> None:
    run = Run()
    _turns(run)
    for reading in range(25):
        _effort(run, "a", (9 + 5 * reading // 2) * S, cpu_s=reading * 1.0)

    effort = _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]["effort"]

    assert len(effort["cpu_s_per_task_spans"]) == 6


@pytest.mark.parametrize("event", [Event.RECEIVED, Event.STARTED])
def test_a_block_of_which_a_time_was_lost_has_no_figures(tmp_path: Path, event: Event) -> None:
    run = _a_run()
    _open(run, "a", 60 * S)
    last = run.numbers - 1
    run.lost = {(30, event), (last, event)}

    summary = _summary(run, tmp_path)

    # Of the task itself there is no doubt: it was received once, and its end is there.
    assert summary["books"]["verdicts"]["completed"] == run.numbers
    of = summary["pools"]["a"]["workloads"]["square"]
    assert len(of["throughput_per_s"]["blocks"]) == 4
    assert of["open_loop"] is None
    assert 0 < of["utilisation"] < 1
    assert {"incomplete", "records_lost", "few_blocks"} <= _codes(summary)


def test_a_measured_block_that_never_ran_takes_no_time(tmp_path: Path) -> None:
    run = _a_run()
    for t_ns, cpu_s in ((9 * S, 1.0), (100 * S, 50.0)):
        host = {"cpu_s": 2 * cpu_s, "idle_s": 0.0, "steal_s": cpu_s}
        host |= {"periods": 10 * cpu_s, "throttled": 4 * cpu_s}
        _effort(run, "a", t_ns, cpu_s, host=host)
    never = (1 << 60, 1 << 60, 1 << 60)
    run.block("a", 60 * S, [never])
    run.lost = {(run.numbers - 1, event) for event in Event}
    run.ops[-1][1]["t_ns"] = 61 * S

    summary = _summary(run, tmp_path)

    around = summary["surroundings"]["a@host"]
    assert around["steal_share"] == pytest.approx(0.5)
    assert around["throttled_share"] == pytest.approx(0.4)
    assert not summary["valid"]


# --- cost -----------------------------------------------------------------------------------------


def test_a_task_costs_what_the_counters_grew_by_less_what_idling_costs(tmp_path: Path) -> None:
    run = Run(("a",))
    # A second without tasks costs 10 ms of CPU and 20 switches, a task 3 ms and 4 switches.
    cpu_s, switches = 1.0, 100.0
    for turn in range(3):
        begin = (10 + 4 * turn) * S
        _effort(run, "a", begin - 2 * S, cpu_s, round(switches))
        _effort(run, "a", begin - S, cpu_s + 0.01, round(switches + 20))
        run.block("a", begin, _even(begin, 100, 10 * MS, 5 * MS))
        cpu_s, switches = cpu_s + 0.03 + 0.3, switches + 60 + 400
    _effort(run, "a", 20 * S, cpu_s, round(switches))

    effort = _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]["effort"]

    assert effort["tasks"] == 300
    assert effort["cpu_s_per_task"] == pytest.approx(0.003, rel=0.02)
    assert effort["ctx_voluntary_per_task"] == pytest.approx(4, rel=0.02)
    assert effort["cpu_s_per_task_error"] == pytest.approx(0, abs=1e-6)


def test_starting_is_not_idling(tmp_path: Path) -> None:
    run = Run(("a",))
    run.worker("a", "worker-up", 7 * S, life=2, pid=7)
    _effort(run, "a", 8 * S, 1.0)
    _effort(run, "a", 9 * S, 1.5)  # it was ready, and still at work for itself
    run.block("a", 10 * S, _even(10 * S, 100, 10 * MS, 5 * MS))
    _effort(run, "a", 12 * S, 1.8)
    _effort(run, "a", 14 * S, 1.8)
    run.block("a", 15 * S, _even(15 * S, 100, 10 * MS, 5 * MS))
    _effort(run, "a", 17 * S, 2.1)

    effort = _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]["effort"]

    assert effort["cpu_s_per_task"] == pytest.approx(0.003)
    assert effort["cpu_s_per_task_error"] is None  # of one pause


def test_work_of_another_kind_between_two_readings_leaves_the_cost_unknown(tmp_path: Path) -> None:
    run = Run(("a",))
    _effort(run, "a", 9 * S, 1.0)
    run.block("a", 10 * S, _even(10 * S, 100, 10 * MS, 5 * MS))
    run.block("a", 12 * S, _even(12 * S, 100, 10 * MS, 5 * MS), workload="sleep:5ms")
    _effort(run, "a", 14 * S, 2.0)

    workloads = _summary(run, tmp_path)["pools"]["a"]["workloads"]

    assert workloads["square"]["effort"] is None
    assert workloads["sleep:5ms"]["effort"] is None


def test_a_worker_that_ended_meanwhile_leaves_the_cost_unknown(tmp_path: Path) -> None:
    run = Run(("a",))
    _effort(run, "a", 9 * S, 1.0)
    run.block("a", 10 * S, _even(10 * S, 100, 10 * MS, 5 * MS))
    run.worker("a", "process-gone", 12 * S, pid=7, ring="a@host/7-0", written=0)
    _effort(run, "a", 14 * S, 2.0)

    assert _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]["effort"] is None


def test_slots_in_use_are_the_share_of_their_time_that_they_ran_tasks(tmp_path: Path) -> None:
    run = Run(("a",))
    run.block("a", 10 * S, _even(10 * S, 100, 10 * MS, 10 * MS))

    of = _summary(run, tmp_path)["pools"]["a"]["workloads"]["square"]

    assert of["utilisation"] == pytest.approx(0.5)  # one of two


def _sample(
    run: Run,
    t_ns: int,
    pss_bytes: int | None,
    *,
    processes: int = 2,
    side: str = "a",
    uss: int = 50,
) -> None:
    run.worker(
        side, "sample", t_ns, processes=processes, pss_bytes=pss_bytes, rss_bytes=700,
        uss_bytes=uss, ring_bytes=10, cpu_s=1.0, ctx_voluntary=0, ctx_involuntary=0,
    )  # fmt: skip


def test_memory_is_idle_loaded_and_after_less_what_the_rings_take(tmp_path: Path) -> None:
    run = Run(("a",))
    run.block("a", 10 * S, _even(10 * S, 100, 10 * MS, 5 * MS))
    _sample(run, 5 * S, 100)
    _sample(run, 10 * S + 500 * MS, 300)
    _sample(run, 12 * S, 210)
    _sample(run, 13 * S, 60, processes=1)  # it is ending
    run.worker(
        "a", "worker-exit", 14 * S, life=1, pid=1, code=0, signal=None, asked=True, stop_s=1.5
    )
    _sample(run, 16 * S, 5)

    of = _summary(run, tmp_path)["pools"]["a"]

    memory = of["memory"]
    assert memory["pss_idle_bytes"] == 90
    assert memory["pss_loaded_bytes"] == 290
    assert memory["pss_after_bytes"] == 200
    assert memory["pss_slot_bytes"] == 145
    assert of["stop_s"] == 1.5
    assert (memory["uss_loaded_bytes"], memory["rss_loaded_bytes"]) == (50, 700)


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize(("pool", "more"), [("prefork:1", 0), ("spawn:1", 1)])
def test_moments_in_which_a_slots_process_is_dead_are_no_memory_of_a_pool(
    pool: str, more: int, measured: bool, tmp_path: Path
) -> None:
    run = Run(("a",))
    (hello,) = (op for _, op in run.ops if op["op"] == "hello")
    hello |= {"pool": pool, "concurrency": 1}
    run.block("a", 10 * S, _even(10 * S, 100, 50 * MS, 5 * MS), measured=measured)
    for second, processes in enumerate((2, 1, 1, 1), 11):
        _sample(run, second * S, 100 * processes, processes=processes + more)
    for second, processes in enumerate((1, 1, 2), 16):
        _sample(run, second * S, 110 * processes, processes=processes + more)

    memory = _summary(run, tmp_path)["pools"]["a"]["memory"]

    assert memory["pss_loaded_bytes"] == 190
    assert memory["pss_after_bytes"] == (210 if measured else None)


def test_start_and_stop_are_those_of_celery_by_itself(tmp_path: Path) -> None:
    run = _a_run()
    hasty = ["celery", "worker", "--without-mingle"]
    for life, command, ready_s in ((2, hasty, 0.5), (3, ["celery", "worker"], 1.5)):
        at = (10 * life + 10) * S
        run.worker("a", "worker-exit", at, life=life - 1, pid=1, code=None, signal=9, asked=True)
        run.worker("a", "worker-up", at, life=life, pid=life, command=command)
        run.worker("a", "worker-ready", at + round(ready_s * S), life=life, pid=life)

    of = _summary(run, tmp_path)["pools"]["a"]

    assert of["start_up_s"] == 1.5
    assert of["stop_s"] is None


def test_idle_is_before_the_first_task_of_a_life_if_nothing_was_sampled_before_the_first_of_all(
    tmp_path: Path,
) -> None:
    run = Run(("a",))
    run.block("a", 10 * S, _even(10 * S, 100, 10 * MS, 5 * MS))
    _sample(run, 12 * S, 210)  # it has worked
    _sample(run, 13 * S, 60, processes=1)  # it is ending
    _sample(run, 14 * S, 40, processes=1)  # another comes
    run.worker("a", "worker-ready", 15 * S, life=2, pid=2)
    _sample(run, 16 * S, 110)
    run.block("a", 17 * S, _even(17 * S, 100, 10 * MS, 5 * MS))

    assert _summary(run, tmp_path)["pools"]["a"]["memory"]["pss_idle_bytes"] == 100


def test_a_side_that_was_only_sampled_when_idle_and_tells_no_pss_is_warned_of(
    tmp_path: Path,
) -> None:
    run = _a_run()
    _sample(run, 5 * S, None)

    assert "no_pss" in _codes(_summary(run, tmp_path))


def test_where_one_side_tells_no_pss_memory_is_uss(tmp_path: Path) -> None:
    run = _a_run()
    for side, pss_bytes, uss in (("a", None, 200), ("b", 400, 100)):
        for t_ns in (5 * S, 10 * S + 500 * MS, 12 * S + 500 * MS):
            _sample(run, t_ns, pss_bytes, side=side, uss=uss * 1_000_000)

    summary = _summary(run, tmp_path)

    memory = summary["pools"]["a"]["memory"]
    assert memory["pss_loaded_bytes"] is memory["pss_slot_bytes"] is None
    assert (memory["uss_loaded_bytes"], memory["uss_slot_bytes"]) == (200_000_000, 100_000_000)
    assert measure(summary["pools"]) == "uss"
    assert any(
        "a needs 2.0 times the unshared memory of b (200 against 100 MB)" in sentence
        for sentence in summary["sentences"]
    )


# --- the harness and the host ---------------------------------------------------------------------


def test_a_producer_that_needs_a_whole_core_limits_the_figure(tmp_path: Path) -> None:
    run = Run(("a",))
    run.block(
        "a",
        10 * S,
        _even(10 * S, 100, 10 * MS, 5 * MS),
        own_cpu_s=(1.0, 1.98),
        redis_cpu_s=(0, 0.1),
    )

    summary = _summary(run, tmp_path)

    shares = summary["harness"]["cpu_share"]
    assert shares["producer"]["square"]["a"] == pytest.approx(0.98, rel=0.02)
    assert shares["redis"]["square"]["a"] == pytest.approx(0.1, rel=0.02)
    assert summary["harness"]["ceiling_per_s"]["square"] == pytest.approx(102, rel=0.02)
    assert "harness_limited" in _codes(summary)


def test_a_queue_that_ran_empty_limits_the_figure(tmp_path: Path) -> None:
    run = Run(("a",))
    times = _even(10 * S, 50, 10 * MS, 5 * MS) + _even(12 * S, 50, 10 * MS, 5 * MS)
    run.block("a", 10 * S, times, sent=[(10 * S, 50), (12 * S, 50)])

    assert "harness_limited" in _codes(_summary(run, tmp_path))


def test_a_queue_that_was_filled_in_time_does_not(tmp_path: Path) -> None:
    run = Run(("a",))
    times = _even(10 * S, 100, 10 * MS, 5 * MS)
    run.block("a", 10 * S, times, sent=[(10 * S, 50), (10 * S + 100 * MS, 50)])

    assert "harness_limited" not in _codes(_summary(run, tmp_path))


def _host(**counters: float) -> dict[str, float]:
    quiet = {"cpu_s": 0, "idle_s": 0, "steal_s": 0, "swapped_pages": 0, "load": 1}
    return quiet | {"periods": 0, "throttled": 0} | counters


@pytest.mark.parametrize(
    ("counters", "code"),
    [
        ({"cpu_s": 200, "steal_s": 20}, "cpu_steal"),
        ({"swapped_pages": 1_000_000}, "swapping"),
        ({"periods": 1_000, "throttled": 500}, "throttled"),
        ({"periods": 1_000, "throttled": 5}, None),
        ({"cpu_s": 200, "idle_s": 195}, None),
    ],
)
def test_what_the_host_was_busy_with_is_warned_of(
    tmp_path: Path, counters: dict[str, float], code: str | None
) -> None:
    run = _a_run()
    for side in run.sides:
        _effort(run, side, 5 * S, 1.0, host=_host())
        _effort(run, side, 105 * S, 2.0, host=_host(**counters))

    found = _codes(_summary(run, tmp_path)) & {"cpu_steal", "swapping", "throttled"}

    assert found == ({code} if code else set())


def test_a_host_that_does_not_tell_is_not_called_quiet(tmp_path: Path) -> None:
    run = _a_run()
    _effort(run, "a", 5 * S, 1.0, host=_host(steal_s=None))  # type: ignore[arg-type]
    _effort(run, "a", 105 * S, 1.0, host=_host(cpu_s=200, steal_s=None))  # type: ignore[arg-type]

    around = _summary(run, tmp_path)["surroundings"]

    assert around["a@host"]["steal_share"] is None
    assert around["b@host"]["steal_share"] is None


def _shared(idle_s: int) -> Run:
    # 200 s of two cores in 100 s; each side's processes take 2 s of it, the harness hardly any.
    run = Run()
    for turn in range(10):
        begin = (10 + 4 * turn) * S
        costs = {"own_cpu_s": (0.1 * turn, 0.1 * turn), "redis_cpu_s": (0.0, 0.0)}
        run.block("ab"[turn % 2], begin, _even(begin, 100, 10 * MS, 5 * MS), **costs)
    run.op("collector", "cost", 5 * S, cpu_s=0.0)
    run.op("collector", "cost", 105 * S, cpu_s=0.1)
    for side in run.sides:
        quiet = _host(cpu_s=200, idle_s=idle_s)
        _effort(run, side, 5 * S, 1.0, own_cpu_s=0.0, host=_host())
        _effort(run, side, 105 * S, 3.0, own_cpu_s=0.1, host=quiet)
    return run


def test_a_share_of_others_is_of_the_time_around_which_all_was_read(tmp_path: Path) -> None:
    run = _shared(100)
    run.ops = [
        (who, op | {"t_ns": 47 * S} if op["op"] == "cost" and op["t_ns"] > 5 * S else op)
        for who, op in run.ops
    ]

    around = _summary(run, tmp_path)["surroundings"]["a@host"]

    # What the collector took is not known of the last block.
    assert around["others_share"] == pytest.approx((100 - 4.4) / 200, abs=0.01)
    assert around["others_unknown"] is None


@pytest.mark.parametrize(
    ("name", "changed", "why"),
    [
        ("cost", {"op": "other"}, "what the collector took was not read"),
        ("effort", {"op": "other"}, "the host does not tell"),
        ("cost", {"t_ns": 5 * S}, "it was not read before and after any measured work"),
    ],
)
def test_why_a_share_of_others_is_not_known_is_said(
    tmp_path: Path, name: str, changed: dict[str, Any], why: str
) -> None:
    run = _shared(100)
    run.ops = [(who, op | changed if op["op"] == name else op) for who, op in run.ops]

    summary = _summary(run, tmp_path)

    assert summary["surroundings"]["a@host"]["others_share"] is None
    assert f"other programmes not known: {why}" in measuring(summary)


@pytest.mark.parametrize(("idle_s", "is_busy"), [(100, True), (190, False)])
def test_a_host_that_others_use_is_warned_of(tmp_path: Path, idle_s: int, is_busy: bool) -> None:
    summary = _summary(_shared(idle_s), tmp_path)

    share = (200 - idle_s - 4.3) / 200
    assert summary["surroundings"]["a@host"]["others_share"] == pytest.approx(share, abs=0.005)
    assert ("busy_host" in _codes(summary)) == is_busy


def _two_works(shares: dict[str, float], *, ends_early: bool = False) -> Run:
    """Rounds of two workloads, in which others took such a share of two cores."""
    run = Run(plan={"fresh": True})
    told = {"cpu_s": 0.0, "idle_s": 0.0}
    at = 10 * S
    _tell(run, at, told)
    for workload, share in shares.items():
        for turn in range(12):
            times = _even(at, 100, 10 * MS, 5 * MS)
            costs = {"own_cpu_s": (0.0, 0.0), "redis_cpu_s": (0.0, 0.0)}
            run.block("ab"[turn % 2], at, times, workload=workload, of_round=turn // 2, **costs)
            at += 4 * S
            told = {"cpu_s": told["cpu_s"] + 8, "idle_s": told["idle_s"] + 8 * (1 - share)}
            if not ends_early or turn < 10:
                _tell(run, at, told)
    return run


def _tell(run: Run, t_ns: int, told: dict[str, float]) -> None:
    """What the host and the processes of the run, which took nothing, told at a time."""
    run.op("collector", "cost", t_ns, cpu_s=0.0)
    for side in run.sides:
        _effort(run, side, t_ns, 0.0, own_cpu_s=0.0, host=_host(**told))


def test_only_what_was_measured_while_others_took_a_part_is_not_comparable(tmp_path: Path) -> None:
    summary = _summary(_two_works({"square": 0.5, "sleep:1ms": 0.02}), tmp_path)

    said = {one["workload"]: one for one in summary["comparisons"]}
    assert said["square"]["outcome"] == "not comparable on a host this busy"
    assert said["square"]["taken_share"] == pytest.approx(0.5, abs=0.01)
    assert said["sleep:1ms"]["outcome"] == "the same within 1 %"
    assert said["sleep:1ms"]["taken_share"] == pytest.approx(0.02, abs=0.01)


def test_a_share_is_taken_of_what_was_read_before_and_after_where_a_run_ended_early(
    tmp_path: Path,
) -> None:
    (one,) = _summary(_two_works({"square": 0.5}, ends_early=True), tmp_path)["comparisons"]

    assert one["taken_share"] == pytest.approx(0.5, abs=0.01)


def test_where_the_harness_was_the_limit_nothing_is_said_of_the_pools(tmp_path: Path) -> None:
    run = _two_works({"square": 0.02, "sleep:1ms": 0.02})
    begun = [op for _, op in run.ops if op["op"] == "block-begin" and op["workload"] == "square"]
    blocks = {op["block"] for op in begun if op["side"] == "b"}
    for _, op in run.ops:
        if op["op"] == "block-end" and op["block"] in blocks:
            op["own_cpu_s"] = 0.99

    summary = _summary(run, tmp_path)

    said = {one["workload"]: one for one in summary["comparisons"]}
    assert summary["harness"]["limits"] == [["square", "b"]]
    assert said["square"]["outcome"] == "not comparable on a host this busy"
    assert said["sleep:1ms"]["outcome"] == "the same within 1 %"
    assert summary["sentences"][0] == (
        "For square a and b are not comparable on a host this busy: poolproof's own processes were "
        "the limit."
    )


def test_what_others_took_of_a_host_that_does_not_tell_is_not_known(tmp_path: Path) -> None:
    (one,) = _summary(_a_run(), tmp_path)["comparisons"]

    assert one["taken_share"] is None


# --- two sides ------------------------------------------------------------------------------------


def test_equal_sides_give_the_noise_floor(tmp_path: Path) -> None:
    summary = _summary(_a_run(), tmp_path)

    (one,) = summary["comparisons"]
    assert one["same"]
    assert one["verdict"] == "no difference shown"
    assert summary["noise_floor"]["square"] == pytest.approx(one["high"] - 1, rel=0.05)
    assert any("noise" in sentence for sentence in summary["sentences"])


def test_sides_with_other_settings_are_not_equal(tmp_path: Path) -> None:
    run = Run(settings={"a": {"POOLPROOF_PREFETCH": "1"}, "b": {"POOLPROOF_PREFETCH": "4"}})
    for turn in range(10):
        begin = (10 + 2 * turn) * S
        run.block("ab"[turn % 2], begin, _even(begin, 100, 10 * MS, 5 * MS))

    summary = _summary(run, tmp_path)

    assert not summary["comparisons"][0]["same"]
    assert summary["noise_floor"] == {}


def test_equal_sides_that_differ_are_warned_of(tmp_path: Path) -> None:
    run = Run()
    for turn in range(10):
        begin = (10 + 2 * turn) * S
        run.block("ab"[turn % 2], begin, _even(begin, 100, (10 + turn % 2) * MS, 5 * MS))

    summary = _summary(run, tmp_path)

    assert "noise_shown" in _codes(summary)
    assert summary["sentences"][0].endswith(" They are the same: so much is noise here.")
    assert summary["noise_floor"]["square"] == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, "This is at equal concurrency: 2 slots a side."),
        (
            {"sweep": {"concurrency": [1, 2]}},
            "This is a sweep: each pool had 1 and 2 slots, and only equal numbers are compared.",
        ),
    ],
)
def test_a_result_says_whether_it_is_at_equal_concurrency_or_of_a_sweep(
    tmp_path: Path, plan: dict[str, Any], words: str
) -> None:
    assert words in _summary(_a_run(plan), tmp_path)["sentences"]


def test_a_result_of_unequal_concurrency_says_so(tmp_path: Path) -> None:
    run = _a_run()
    for _, op in run.ops:
        if op["op"] == "hello" and op["side"] == "b":
            op["concurrency"] = 1

    said = _summary(run, tmp_path)["sentences"]

    assert "This is not at equal concurrency: a had 2 slots, b had 1 slot." in said


def test_a_summary_has_the_command_line_that_made_it(tmp_path: Path) -> None:
    run = _a_run()
    run.ops[0][1]["command"] = ["poolproof", "compare"]

    assert _summary(run, tmp_path)["command"] == ["poolproof", "compare"]


def test_a_sweep_gives_a_curve_with_intervals(tmp_path: Path) -> None:
    run = _a_run({"name": "compare", "sweep": {"concurrency": [2]}})

    swept = _summary(run, tmp_path)["sweep"]

    assert [curve["pool"] for curve in swept["curves"]] == ["a", "b"]
    (point,) = swept["curves"][0]["points"]
    assert point["concurrency"] == 2
    assert point["low"] <= point["throughput_per_s"] <= point["high"]


def _swept(slots: int, *rates: float, costs: float | None = None) -> dict[str, Any]:
    """A side of a sweep, as a summary has it."""
    median = sorted(rates)[len(rates) // 2]
    return {
        "concurrency": slots,
        "memory": {"pss_loaded_bytes": 1000 * slots, "pss_slot_bytes": 10 * slots},
        "workloads": {
            "square": {
                "throughput_per_s": {"median": median, "blocks": [*rates]},
                "utilisation": 0.1 * slots,
                "effort": None if costs is None else {"cpu_s_per_task": costs},
            }
        },
    }


def test_a_curve_of_a_sweep_has_each_figure_of_each_number_of_slots() -> None:
    plan = {"sweep": {"concurrency": (2, 16)}}
    rates = (5.0, 7.0, 6.0, 8.0, 9.0, 4.0)
    low, high = interval_of_median(rates) or (None, None)
    many, few = _swept(16, *rates, costs=0.25), _swept(2, 3.0)

    found = sweep(plan, {"prefork:16": many, "threads:8": _swept(16, 1.0), "prefork:2": few})

    assert found is not None
    assert found["concurrency"] == [2, 16]
    prefork, other = found["curves"]
    assert (prefork["pool"], prefork["workload"]) == ("prefork", "square")
    assert prefork["points"] == [
        {
            "concurrency": 2,
            "side": "prefork:2",
            "throughput_per_s": 3.0,
            "low": None,
            "high": None,
            "utilisation": 0.2,
            "cpu_s_per_task": None,
            "pss_loaded_bytes": 2000,
            "pss_slot_bytes": 20,
        },
        {
            "concurrency": 16,
            "side": "prefork:16",
            "throughput_per_s": 7.0,
            "low": low,
            "high": high,
            "utilisation": 1.6,
            "cpu_s_per_task": 0.25,
            "pss_loaded_bytes": 16000,
            "pss_slot_bytes": 160,
        },
    ]
    assert other["pool"] == "threads:8", "what stands behind the colon is not its slots"


@pytest.mark.parametrize("plan", [None, {}, {"sweep": None}])
def test_what_is_no_sweep_has_no_curves(plan: dict[str, Any] | None) -> None:
    assert sweep(plan, {"a": _swept(2, 1.0)}) is None


# --- a counter that every task adds to ------------------------------------------------------------


def _counted(first: int, count: int, task: str = COUNTER) -> Any:
    return SimpleNamespace(first=first, count=count, parameters={"task": task, "turns": "10"})


def test_what_processes_counted_falls_short_by_what_they_overwrote() -> None:
    ledger: Any = {
        "result": np.array([99, 10, 8, 9, 99, 10]),
        "last_source": np.array([5, 7, 2, 7, 5, 2]),
    }

    assert counted(ledger, [_counted(1, 3), _counted(5, 1)]) == {
        "added": 40,
        "counted": 37,
        "lost": 3,
        "processes": [18, 19],
    }
    assert counted(ledger, []) is None
    assert counted(ledger, [_counted(1, 3, "poolproof.square")]) is None
