"""How workloads are written, and what they ask of a task."""

from __future__ import annotations

import pytest

from poolproof.produce import workloads
from poolproof_workers.errors import UsageError
from poolproof_workers.tasks import TASKS


def never() -> float:
    pytest.fail("this workload needs no calibration")


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("square", "square", (7, 0.0, 0)),
        ("sleep", "sleep:50ms", (7, 0.05, 0)),
        ("sleep:0.25s", "sleep:250ms", (7, 0.25, 0)),
        ("sleep:1.5s", "sleep:1.5s", (7, 1.5, 0)),
    ],
)
def test_a_workload_is_read_and_named(text: str, name: str, arguments: tuple[object, ...]) -> None:
    workload = workloads.parse(text, never)

    assert workload.text == name
    assert workload.arguments(7) == arguments


def test_cpu_work_is_a_number_of_spins_that_every_side_gets() -> None:
    workload = workloads.parse("cpu:2ms", lambda: 1_000.0)

    assert workload.arguments(7) == (7, 0.0, 2_000)
    assert workload.parameters() == {"sleep_s": 0.0, "spins": 2_000, "cpu_s": 0.002}
    assert workload.seconds == 0.002


@pytest.mark.parametrize("text", [*workloads.WORKLOADS, "sleep:3ms", "cpu:10ms", "sleep:2s"])
def test_the_name_of_a_workload_reads_as_itself(text: str) -> None:
    workload = workloads.parse(text, lambda: 10.0)

    assert workloads.parse(workload.text, lambda: 10.0) == workload


@pytest.mark.parametrize("number", [0, 12, (1 << 48) - 1])
def test_the_expected_detail_is_what_the_task_returns(number: int) -> None:
    workload = workloads.parse("square", never)

    returned = TASKS[workload.task](*workload.arguments(number))

    assert isinstance(returned, int)
    assert workload.expected(number) == returned & ((1 << 63) - 1)


@pytest.mark.parametrize(
    "text", ["", "cube", "sleep:", "sleep:50", "sleep:0ms", "sleep:-1s", "sleep:9h", "square:5ms"]
)
def test_what_is_no_workload_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        workloads.parse(text, never)

    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
