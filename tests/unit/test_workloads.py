"""How workloads are written, and what they ask of a task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.judge.performance import answers as results
from poolproof.produce import workloads
from poolproof.produce.host_resources import AssumedResources, MeasuredResources
from poolproof.produce.works import fastest_per_s
from poolproof_workers.contract import result_detail
from poolproof_workers.errors import UsageError
from poolproof_workers.settings import Settings
from poolproof_workers.workloads import answers, draws
from poolproof_workers.workloads.tasks import functions

if TYPE_CHECKING:
    from poolproof_workers.workloads.calibration import Turn

ROOT = Path(__file__).parents[2]
MIX = "mix:square=5,sleep:1ms=3,counter:10=1,payload:10B/1B=1"


class Nothing:
    """A machine that nobody may ask."""

    def turns_per_ms(self, turn: Turn) -> float:
        pytest.fail(f"{turn} need not be calibrated")

    def http_url(self) -> str:
        pytest.fail("no server is needed")


class Machine:
    """A machine that was calibrated before."""

    def turns_per_ms(self, turn: Turn) -> float:
        return {"spin": 1_000.0, "hash": 20.0, "compress": 3.0}[turn]

    def http_url(self) -> str:
        return "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("square", "square", (7, 0.0, 0)),
        ("sleep", "sleep:50ms", (7, 0.05, 0)),
        ("sleep:0.25s", "sleep:250ms", (7, 0.25, 0)),
        ("sleep:1.5s", "sleep:1.5s", (7, 1.5, 0)),
        ("redis", "redis:5", (7, 5)),
        ("redis:12", "redis:12", (7, 12)),
        ("payload:3B", "payload:3B", (7, "abc", 3)),
        ("payload:3B/2KB", "payload:3B/2KB", (7, "abc", 2_000)),
        ("payload:2B/2B", "payload:2B", (7, "ab", 2)),
        ("memory", "memory:50MB/200ms", (7, 50_000_000, 0.2)),
        ("memory:1MB", "memory:1MB/200ms", (7, 1_000_000, 0.2)),
        ("memory:2000KB/2s", "memory:2MB/2s", (7, 2_000_000, 2.0)),
        ("counter", "counter:100000", (7, 100_000)),
    ],
)
def test_a_workload_is_read_and_named(text: str, name: str, arguments: tuple[object, ...]) -> None:
    workload = workloads.parse(text, Nothing())

    assert workload.text == name
    assert [work.arguments(7) for work in workload.works] == [arguments]


@pytest.mark.parametrize(
    ("text", "arguments", "facts"),
    [
        ("cpu:2ms", (7, 0.0, 2_000), {"sleep_s": 0.0, "spins": 2_000, "cpu_s": 0.002}),
        ("hash:2ms", (7, 40), {"rounds": 40, "cpu_s": 0.002, "rounds_per_ms": 20.0}),
        ("compress:2ms", (7, 6), {"rounds": 6, "cpu_s": 0.002, "rounds_per_ms": 3.0}),
        (
            "http:20ms",
            (7, "http://127.0.0.1:8080", 0.02),
            {"url": "http://127.0.0.1:8080", "latency_s": 0.02},
        ),
    ],
)
def test_work_for_a_machine_is_an_amount_that_every_side_gets(
    text: str, arguments: tuple[object, ...], facts: dict[str, Any]
) -> None:
    workload = workloads.parse(text, Machine())

    assert workload.works[0].arguments(7) == arguments
    assert workload.parameters() == {"task": workload.works[0].task, **facts}
    assert workload.seconds in {0.002, 0.02}


@pytest.mark.parametrize(
    "text", [*workloads.WORKLOADS, "sleep:3ms", "cpu:10ms", "sleep:2s", "square?seed=7", MIX]
)
def test_the_name_of_a_workload_reads_as_itself(text: str) -> None:
    workload = workloads.parse(text, Machine())

    assert workloads.parse(workload.text, Machine()) == workload


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cube",
        "sleep:",
        "sleep:50",
        "sleep:0ms",
        "sleep:-1s",
        "sleep:9h",
        "square:5ms",
        "hash:5",
        "compress:x",
        "http:",
        "redis:0",
        "redis:many",
        "redis:10001",
        "counter:0",
        "payload:",
        "payload:0B",
        "payload:10000001B",
        "payload:11MB",
        "payload:1KB/11MB",
        "payload:1TB",
        "payload:1KB/",
        "memory:2GB",
        "memory:5MB/",
        "memory:200ms",
        "mix:",
        "mix:square",
        "mix:square=0",
        "mix:cube=1",
        "mix:square=x",
        "mix:square=1001",
        "mix:square=1,",
        "mix:mix=1",
        "mix:square=600,sleep=600",
        "mix:payload:11MB=1",
        "square?",
        "square?seed=",
        "square?seed=-1",
        "square?speed=3",
        "square?seed=4294967296",
    ],
)
def test_what_is_no_workload_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        workloads.parse(text, Nothing())

    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


def test_the_message_names_the_part_that_is_wrong_and_its_limit() -> None:
    with pytest.raises(UsageError, match=r"'payload:1KB/11MB'.*1B to 10MB"):
        workloads.check("payload:1KB/11MB")
    with pytest.raises(UsageError, match=r"'mix:square=0' lacks a weight.*1 to 1000"):
        workloads.check("mix:square=0,cpu=3")
    with pytest.raises(UsageError, match=r"no workload 'cube'.*square, sleep:50ms"):
        workloads.check("mix:cube=1")


def test_more_than_redis_should_hold_at_once_is_refused() -> None:
    most = workloads.check("payload:10MB").most

    assert most is not None
    with pytest.raises(UsageError, match="too much"):
        workloads.check("payload:10MB", most=most + 1)
    assert workloads.check("square", most=10**9).most is None
    assert workloads.check("mix:square=3,payload:10MB=1").most == 4 * most


def test_http_is_refused_where_its_server_is_out_of_reach() -> None:
    for means in (MeasuredResources(), AssumedResources(local=False)):
        with pytest.raises(UsageError, match="on this machine"):
            workloads.parse("mix:http=1,square=1", means)


@pytest.mark.parametrize(
    ("text", "slots", "cores", "fastest"),
    [
        ("square", 4, 2, 1_000),
        ("sleep:50ms", 4, 2, 80),
        ("cpu:5ms", 4, 2, 400),
        ("hash:5ms", 1, 2, 200),
        ("http:20ms", 10, 2, 500),
        ("mix:sleep:100ms=1,cpu:100ms=1", 8, 2, 40),
    ],
)
def test_only_what_needs_a_core_is_bound_by_the_cores(
    text: str, slots: int, cores: int, fastest: float
) -> None:
    workload = workloads.parse(text, Machine())

    assert fastest_per_s(workload, slots, cores, 1_000.0) == pytest.approx(fastest)


# --- what a seed decides --------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_arguments_in_every_block() -> None:
    workload = workloads.parse("square?seed=7", Nothing())

    drawn = workload.values(range(1_000))

    assert drawn is not None
    assert drawn[200:300] == workload.values(range(200, 300))
    assert len(set(drawn)) == 1_000
    assert drawn != workloads.parse("square?seed=8", Nothing()).values(range(1_000))
    assert {len(str(each)) for each in drawn} == {10}
    assert max(drawn) ** 2 < 1 << 63


@pytest.mark.parametrize("seed", [0, 7, (1 << 32) - 1])
def test_an_array_is_drawn_as_its_places_one_by_one_are(seed: int) -> None:
    places = np.arange(5_000, dtype=np.uint64)

    assert draws.number(seed, places).tolist() == [draws.number(seed, at) for at in range(5_000)]


def test_neighbouring_seeds_do_not_draw_the_same_a_place_later() -> None:
    first = [draws.draw(1, at) for at in range(100)]

    assert not set(first) & {draws.draw(2, at) for at in range(100)}


def test_every_stretch_of_a_mix_has_its_weights_in_an_order_of_its_own() -> None:
    weights = (8, 1, 1)
    dealt = draws.deal(1, weights, range(1_000))

    stretches = [tuple(dealt[start : start + 10]) for start in range(0, 1_000, 10)]

    assert all(Counter(each) == {0: 8, 1: 1, 2: 1} for each in stretches)
    assert len(set(stretches)) > 50
    assert draws.deal(1, weights, range(333, 777)) == dealt[333:777]
    assert draws.deal(2, weights, range(1_000)) != dealt


def test_a_mix_says_of_each_part_what_a_judge_needs() -> None:
    parameters = workloads.parse("mix:square=8,cpu:5ms=2?seed=3", Machine()).parameters()

    assert parameters["deal_seed"] == 3
    assert [(part["workload"], part["weight"]) for part in parameters["mix"]] == [
        ("square", 8),
        ("cpu:5ms", 2),
    ]
    assert parameters["mix"][1]["spins"] == 5_000


# --- what must come back --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "square",
        "hash:1ms",
        "compress:1ms",
        "payload:1KB/1B",
        "memory:1MB/1ms",
        "square?seed=7",
        MIX,
    ],
)
def test_what_the_tasks_return_is_what_the_judge_expects_by_the_history(text: str) -> None:
    workload, first, count = workloads.parse(text, Machine()), 1_000, 40
    places = range(count)
    dealt = workload.deal(places) or [0] * count
    given = workload.values(places) or range(first, first + count)
    tasks = functions(Settings.from_env({}))

    expected = results.expected(workload.text, workload.parameters(), first, count)

    assert any(each is not None for each in expected)
    for place, right in zip(places, expected, strict=True):
        work = workload.works[dealt[place]]
        returned = result_detail(tasks[work.task](*work.arguments(given[place])))
        if work.task == answers.COUNTER:
            assert right is None
        else:
            assert right == returned


def test_given_values_go_before_drawn_ones() -> None:
    parameters = {"task": answers.SQUARE, "seed": 7, "values": [3, -7, 1 << 40]}

    assert results.expected("square", parameters, 0, 3) == [9, 49, (1 << 80) & ((1 << 63) - 1)]


def test_an_old_history_that_names_no_task_is_judged_by_its_workload() -> None:
    assert results.expected("sleep:50ms", {}, 5, 2) == [25, 36]
    assert results.expected("observe:chdir", {}, 5, 2) == [None, None]


def test_the_documented_table_is_the_one_in_use() -> None:
    documented = (ROOT / "docs" / "workloads.md").read_text().splitlines()

    for kind in workloads.WORKLOADS.values():
        row = f"| `{kind.shape}` | {kind.what} | {kind.stands_for} | {kind.checked} |"
        assert row in documented


def test_the_table_says_of_every_workload_what_it_is() -> None:
    lines = workloads.table().splitlines()

    assert [line.split(":")[0].split()[0] for line in lines] == list(workloads.WORKLOADS)
    assert all(kind.stands_for and kind.checked for kind in workloads.WORKLOADS.values())
