"""What becomes of the tasks when a whole container ends, or the kernel ends a process in it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.history.file import FILE_NAME
from tests.compose.stack import docker

if TYPE_CHECKING:
    from tests.compose.conftest import Running
    from tests.compose.stack import Stack
    from tests.conftest import Eventually

pytestmark = [
    pytest.mark.compose,
    pytest.mark.long,
    pytest.mark.timeout(1800),
]

#: Blocks of twelve seconds, so that a slow `docker` still strikes while one is measured.
QUIET = {"TASKS": "12", "CRASH": "0", "LINGER": "0", "WORKLOAD": "sleep:2s"}
#: What a spoilt block is waited for, and the rounds after it.
_PLAYED_S = 700.0


def _until_measured(stack: Stack, side: str, eventually: Eventually) -> None:
    """Wait for a measured block of a side, with tasks running: one before has nothing to spoil."""

    def is_on() -> bool:
        if not list(stack.runs.glob(f"*/{FILE_NAME}")):
            return False
        begun, ended = stack.ops("block-begin"), stack.ops("block-end")
        last = begun[-1] if begun else {"round": None}
        return (
            last["round"] is not None
            and last["side"] == side
            and last["block"] not in {op["block"] for op in ended}
        )

    eventually(lambda: is_on() and stack.progress().get("running", 0) >= 2 and is_on(), 400.0)


def _oomed(stack: Stack, since: float) -> set[str]:
    """Return the services in whose containers the kernel killed for want of memory."""
    containers = {one["Id"]: service for service, one in stack.containers().items()}
    asked = ("events", "--since", str(int(since)), "--until", str(int(time.time()) + 1))
    told = docker(*asked, "--filter", "event=oom", "--format", "{{json .}}").splitlines()
    events = [json.loads(line) for line in told]
    return {containers[event["id"]] for event in events if event["id"] in containers}


def _check_the_books(summary: dict[str, Any]) -> None:
    books = summary["books"]
    assert books["balanced"]
    assert sum(books["verdicts"].values()) == books["enqueued"]
    # The rings lie in the IPC namespace of another container: what was running is known.
    assert books["verdicts"]["unknown"] == 0


@pytest.mark.parametrize(("pool_a", "pool_b"), [("prefork", "threads"), ("threads", "prefork")])
def test_a_container_that_is_killed_loses_tasks_and_one_that_is_restarted_none(
    pool_a: str, pool_b: str, running: Running, eventually: Eventually
) -> None:
    sides = {"worker-a": f"{pool_a}:2", "worker-b": f"{pool_b}:2"}
    slots = {"CONCURRENCY_A": "2", "CONCURRENCY_B": "2"}
    with running(POOL_A=pool_a, POOL_B=pool_b, **slots, **QUIET) as stack:
        _until_measured(stack, sides["worker-b"], eventually)
        stack.compose("restart", "worker-b")
        worker_a = stack.containers()["worker-a"]["Id"]
        _until_measured(stack, sides["worker-a"], eventually)
        _kill_all_in(worker_a)
        summary = eventually(stack.summary, _PLAYED_S)

        _check_the_books(summary)
        assert set(summary["books"]["by_pool"][sides["worker-b"]]) == {"completed"}
        killed = summary["books"]["by_pool"][sides["worker-a"]]
        # Those that ran, at most one a slot, were acknowledged before they ran.
        assert 1 <= killed["lost"] <= 2
        assert not summary["valid"]
        ends = _ends(stack)
        # Of one nobody was left to see how it ended; the others were for a new round.
        assert ends[sides["worker-a"]].count([None, False]) == 1
        # What was asked for is Docker's restart, and SIGKILL for idle workers between two rounds.
        asked = [end for of in ends.values() for end in of if end[1]]
        assert all(end in ([0, True], [None, True]) for end in asked)
        assert [0, True] in ends[sides["worker-b"]]
        assert all(asked for _, asked in ends[sides["worker-b"]])
        containers = stack.containers()
        # Docker brings back what was killed; a restart that was asked for is not counted.
        assert containers["worker-a"]["RestartCount"] == 1
        assert containers["worker-b"]["RestartCount"] == 0
        assert {containers[name]["State"]["Running"] for name in sides} == {True}


def _kill_all_in(container: str) -> None:
    # The shell that sends it is the only one in there to live on, but for PID 1, which then ends.
    command = ["docker", "exec", container, "sh", "-c", "kill -KILL -1"]
    subprocess.run(command, check=False, timeout=60)


def _ends(stack: Stack) -> dict[str, list[list[Any]]]:
    """Return side -> of each life of its worker the exit code, and whether it was asked to end."""
    sides = {op["worker"]: op["side"] for op in stack.ops("hello")}
    found: dict[str, list[list[Any]]] = {}
    for op in stack.ops("worker-exit"):
        found.setdefault(sides[op["worker"]], []).append([op["code"], op["asked"]])
    return found


def test_a_container_that_the_user_kills_stays_down_until_it_is_started(
    running: Running, eventually: Eventually
) -> None:
    with running(CONCURRENCY_A="2", CONCURRENCY_B="2", **QUIET) as stack:
        worker_a = stack.containers()["worker-a"]["Id"]
        _until_measured(stack, "prefork:2", eventually)
        docker("kill", worker_a)

        assert not stack.containers()["worker-a"]["State"]["Running"]
        stack.compose("up", "--detach", "--wait", "--no-deps", "worker-a")
        summary = eventually(stack.summary, _PLAYED_S)

        _check_the_books(summary)
        assert 1 <= summary["books"]["by_pool"]["prefork:2"]["lost"] <= 2
        assert set(summary["books"]["by_pool"]["threads:2"]) == {"completed"}
        assert not summary["valid"]
        assert stack.containers()["worker-b"]["RestartCount"] == 0


def test_an_oom_kill_costs_prefork_a_slot_and_threads_the_container(
    running: Running, eventually: Eventually
) -> None:
    since = time.time()
    with running(
        FAULT="oom-kill",
        MEM_LIMIT="400m",
        RESTART_DELAY_S="never",
        WORKLOAD="square",
        TASKS="16",
        LINGER="0",
    ) as stack:
        summary = eventually(stack.summary, 300.0)

        _check_the_books(summary)
        prefork, threads = summary["crashes"]
        assert (prefork["pool"], threads["pool"]) == ("prefork:4", "threads:4")
        assert {crash["fault"] for crash in summary["crashes"]} == {"oom-kill"}
        # The limit is the container's own, and it is the kernel that killed.
        assert {crash["way"] for crash in summary["crashes"]} == {"container"}
        assert _oomed(stack, since) == {"worker-a", "worker-b"}

        assert (prefork["interrupted"], prefork["worker_died"]) == (0, False)
        assert (prefork["slots_gone"], prefork["restarted_by"]) == (1, "pool")
        assert threads["interrupted"] == threads["running"] > 0
        assert (threads["slots_gone"], threads["worker_died"]) == (4, True)
        assert threads["restarted_by"] == "its service"
        assert threads["stranded"] == threads["recovered"] > 0
        containers = stack.containers()
        assert containers["worker-a"]["RestartCount"] == 0
        assert containers["worker-b"]["RestartCount"] == 1
        (died,) = [op for op in stack.ops("worker-exit") if not op["asked"]]
        assert (died["worker"], died["signal"]) == ("threads-4@worker-b", 9)
        # The next container goes on with the short visibility timeout that the run had ordered.
        hello = [op for op in stack.ops("hello") if op["worker"] == died["worker"]][-1]
        assert hello["visibility_timeout_s"] == summary["plan"]["crash"]["visibility_timeout_s"]
        eventually(
            lambda: "restarted by its service" in stack.printed("collector").replace("\n    ", " "),
            180.0,
        )
