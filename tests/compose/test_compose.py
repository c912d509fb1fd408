from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.compose.stack import docker

if TYPE_CHECKING:
    from tests.compose.conftest import Running
    from tests.compose.stack import Stack
    from tests.conftest import Eventually

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

SERVICES = {"redis", "worker-a", "worker-b", "producer", "collector", "flower"}
PASSWORD = "only for this test"


def _flower(stack: Stack, path: str, password: str | None = PASSWORD) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{stack.flower_port}{path}")
    if password is not None:
        token = base64.b64encode(f"poolproof:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def _status(stack: Stack, password: str | None) -> int:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _flower(stack, "/api/workers", password)
    refused.value.close()
    return refused.value.code


def _tasks_in_flower(stack: Stack) -> set[str | None]:
    # Of a task whose first event it missed Flower knows no name.
    return {task["name"] for task in _flower(stack, "/api/tasks").values()}


def test_the_comparison_is_played_printed_saved_and_leaves_nothing_else(
    running: Running, eventually: Eventually
) -> None:
    with running(TASKS="16", WORKLOAD="square sleep:50ms", FLOWER_PASSWORD=PASSWORD) as stack:
        _check_that_all_is_healthy_and_hardened(stack)

        summary = eventually(stack.summary, 240.0)
        _check_the_comparison(summary)
        _check_what_is_printed(stack, eventually)
        _check_who_owns_the_run(stack)

        assert [_status(stack, password) for password in (None, "wrong")] == [401, 401]
        workers = _flower(stack, "/api/workers?refresh=1")
        assert set(workers) == {"prefork-4@worker-a", "threads-4@worker-b"}
        # Task events are off while it is measured, and on afterwards.
        assert "events" not in {warning["code"] for warning in summary["warnings"]}
        eventually(lambda: "poolproof.square" in _tasks_in_flower(stack), 60.0)

    assert stack.left() == []


def _check_that_all_is_healthy_and_hardened(stack: Stack) -> None:
    containers = stack.containers()
    assert set(containers) == SERVICES
    for service, container in containers.items():
        assert container["State"]["Health"]["Status"] == "healthy", service
        assert container["HostConfig"]["ReadonlyRootfs"], service
        for bindings in container["HostConfig"]["PortBindings"].values():
            assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}, service
        processes = docker("top", container["Id"], "-o", "pid,uid").splitlines()[1:]
        assert processes, service
        assert "0" not in {process.split()[1] for process in processes}, service


def _check_the_comparison(summary: dict[str, Any]) -> None:
    assert set(summary["pools"]) == {"prefork:4", "threads:4"}
    for pool in summary["pools"].values():
        assert set(pool["workloads"]) == {"square", "sleep:50ms"}
        assert pool["memory"]["pss_idle_bytes"] > 0
    books = summary["books"]
    assert books["balanced"]
    assert sum(books["verdicts"].values()) == books["enqueued"]
    crashes = {crash["pool"]: crash for crash in summary["crashes"]}
    assert crashes["prefork:4"]["interrupted"] == 0
    assert crashes["threads:4"]["interrupted"] == crashes["threads:4"]["running"] > 0
    assert crashes["threads:4"]["stranded"] > 0


def _check_what_is_printed(stack: Stack, eventually: Eventually) -> None:
    def printed() -> str:
        return stack.compose("logs", "--no-color", "--no-log-prefix", "collector")

    text = eventually(lambda: (text := printed()) and "In short" in text and text, 30.0)
    assert "Throughput" in text
    assert "the books balance" in text


def _check_who_owns_the_run(stack: Stack) -> None:
    (run,) = (path for path in stack.runs.iterdir() if path.is_dir())
    # Whoever has the folder; a folder of root's goes to the image's own user.
    assert run.stat().st_uid == (os.getuid() or 10001)


def test_the_pools_are_switched_by_the_environment(
    running: Running, eventually: Eventually
) -> None:
    choices = {"POOL_A": "solo", "CONCURRENCY_A": "1", "POOL_B": "threads", "CONCURRENCY_B": "2"}
    with running(
        **choices, TASKS="8", WORKLOAD="square", CRASH="0", EVENTS="1", LINGER="0"
    ) as stack:
        summary = eventually(stack.summary, 180.0)

        assert {name.partition(":")[0] for name in summary["pools"]} == {"solo", "threads"}
        assert set(summary["pools"]["threads:2"]["workloads"]) == {"square"}
        assert summary["crashes"] == []
        assert set(summary["books"]["verdicts"]) - {"completed"} == {
            verdict for verdict, count in summary["books"]["verdicts"].items() if not count
        }
        assert any("event" in warning["code"] for warning in summary["warnings"])
        # The producer has nothing more to do; the others wait for the next run.
        eventually(lambda: not stack.containers()["producer"]["State"]["Running"], 30.0)
        assert stack.containers()["producer"]["State"]["ExitCode"] == 0


def test_a_worker_container_that_is_killed_loses_tasks_but_no_record_of_them(
    running: Running, eventually: Eventually
) -> None:
    with running(
        CONCURRENCY_A="2",
        CONCURRENCY_B="2",
        WORKLOAD="sleep:500ms",
        TASKS="8",
        CRASH="0",
        LINGER="0",
    ) as stack:
        # In a measured block: the warm-up before it has no result to spoil.
        measuring = "sleep:500ms on prefork:2: 8 tasks"
        eventually(lambda: measuring in stack.compose("logs", "producer"), 60.0)
        eventually(lambda: stack.progress()["running"] >= 2, 10.0)

        worker = stack.containers()["worker-a"]
        docker("kill", worker["Id"])
        stack.compose("up", "--detach", "--wait", "--no-deps", "worker-a")
        summary = eventually(stack.summary, 300.0)

        books = summary["books"]
        assert books["balanced"]
        # The rings lie in the IPC namespace of another container: what was running is known.
        assert books["verdicts"].get("unknown", 0) == 0
        assert books["verdicts"].get("completed", 0) < books["enqueued"]
        assert set(books["by_pool"]["threads:2"]) == {"completed"}
        assert not summary["valid"]
        assert stack.containers()["worker-b"]["RestartCount"] == 0
