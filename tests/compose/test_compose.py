from __future__ import annotations

import base64
import json
import os
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from bokeh.client import pull_session
from bokeh.models import Div

from tests.compose.stack import docker

if TYPE_CHECKING:
    from tests.compose.conftest import Running
    from tests.compose.stack import Stack
    from tests.conftest import Eventually

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]

SERVICES = {"redis", "worker-a", "worker-b", "producer", "collector", "flower", "page"}
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

        summary = eventually(stack.summary, 600.0)
        _check_the_comparison(summary)
        _check_what_is_printed(stack, eventually)
        _check_who_owns_the_run(stack)

        _check_that_the_page_asks_for_its_token(stack)
        for side in ("prefork:4", "threads:4"):
            eventually(lambda s=side: _panel(stack).get((s, "succeeded", "completed")) == "", 60.0)
            # That is what was measured.
            unheard = (side, "never heard of", "completed")
            eventually(lambda row=unheard: "events were off" in _panel(stack).get(row, ""), 60.0)

        assert [_status(stack, password) for password in (None, "wrong")] == [401, 401]
        workers = _flower(stack, "/api/workers?refresh=1")
        assert set(workers) == {"prefork-4@worker-a", "threads-4@worker-b"}
        _check_that_flower_saw_some_of_it_and_nothing_that_was_measured(stack, summary)
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


def _check_that_the_page_asks_for_its_token(stack: Stack) -> None:
    page = f"http://127.0.0.1:{stack.page_port}/?token="
    with urllib.request.urlopen(page + _token(stack), timeout=30) as response:
        assert b"bokeh" in response.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(page + "wrong", timeout=30)
    refused.value.close()
    assert refused.value.code == 403


def _token(stack: Stack) -> str:
    told = re.search(r"/\?token=(\S+)", stack.printed("page"))
    assert told
    return told[1]


def _texts(stack: Stack) -> list[str]:
    # A session of its own each time: to look into one again would change it.
    session = pull_session(
        url=f"http://127.0.0.1:{stack.page_port}/", arguments={"token": _token(stack)}
    )
    texts = [div.text for div in session.document.select({"type": Div})]
    session.close()
    return texts


def _panel(stack: Stack) -> dict[tuple[str, ...], str]:
    """Return (side, Flower shows, the books say) -> whether they differ, as the page has it."""
    # On a thread of its own: where tests in a browser ran before, an event loop runs on this one.
    with ThreadPoolExecutor(1) as apart:
        texts = apart.submit(_texts, stack).result()
    (text,) = [text for text in texts if "Flower and the books" in text]
    rows = (re.sub("<[^>]+>", "\n", row) for row in text.split("<tr>")[2:])
    cells = ([cell for cell in row.split("\n") if cell] for row in rows)
    return {(side, shows, say): "".join(rest) for side, shows, say, _, *rest in cells}


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


def _check_that_flower_saw_some_of_it_and_nothing_that_was_measured(
    stack: Stack, summary: dict[str, Any]
) -> None:
    switches = stack.ops("events")
    workers = {"prefork-4@worker-a", "threads-4@worker-b"}
    assert all(set(switch["answers"]) == workers for switch in switches)
    blocks = stack.ops("block-begin")
    measured = [block for block in blocks if block["measured"]]
    shown = [block for block in blocks if block["events"]]
    assert len(measured) >= 20  # five of each workload on each side
    assert {(block["workload"], block["side"]) for block in shown} == {
        (block["workload"], block["side"]) for block in measured
    }
    for block in measured:
        before = [switch for switch in switches if switch["t_ns"] < block["t_ns"]][-1]
        after = next(switch for switch in switches if switch["t_ns"] > block["t_ns"])
        assert not before["on"]
        # That is Celery's answer where they were off until it was asked.
        assert {answer["ok"] for answer in after["answers"].values()} == {
            "task events already disabled"
        }
    assert not {warning["code"] for warning in summary["warnings"]} & {
        "events_on",
        "events_unknown",
    }
    counts = {each["hostname"]: each for each in _flower(stack, "/workers?json=1")["data"]}
    assert set(counts) == workers
    for count in counts.values():
        assert count["status"]
        assert count["task-succeeded"] >= 16  # two of each slot, of each workload


def _check_what_is_printed(stack: Stack, eventually: Eventually) -> None:
    text = eventually(
        lambda: (text := stack.printed("collector")) and "In short" in text and text, 180.0
    )
    assert "Throughput" in text
    assert "the books balance" in text


def _check_who_owns_the_run(stack: Stack) -> None:
    (run,) = (path for path in stack.runs.iterdir() if path.is_dir())
    # Whoever has the folder; a folder of root's goes to the image's own user.
    assert run.stat().st_uid == (os.getuid() or 10001)


@pytest.mark.long
def test_the_pools_are_switched_by_the_environment(
    running: Running, eventually: Eventually
) -> None:
    choices = {"POOL_A": "solo", "CONCURRENCY_A": "1", "POOL_B": "threads", "CONCURRENCY_B": "2"}
    with running(
        **choices, TASKS="8", WORKLOAD="square", CRASH="0", EVENTS="1", LINGER="0"
    ) as stack:
        summary = eventually(stack.summary, 600.0)

        assert {name.partition(":")[0] for name in summary["pools"]} == {"solo", "threads"}
        assert set(summary["pools"]["threads:2"]["workloads"]) == {"square"}
        assert summary["crashes"] == []
        assert set(summary["books"]["verdicts"]) - {"completed"} == {
            verdict for verdict, count in summary["books"]["verdicts"].items() if not count
        }
        codes = {warning["code"] for warning in summary["warnings"]}
        assert codes & {"events_on", "events_unknown"} == {"events_on"}
        # Flower made its password up, and left it for the page.
        for side in summary["pools"]:
            eventually(lambda s=side: _panel(stack).get((s, "succeeded", "completed")) == "", 60.0)
        # The producer has nothing more to do; the others wait for the next run.
        eventually(lambda: not stack.containers()["producer"]["State"]["Running"], 180.0)
        assert stack.containers()["producer"]["State"]["ExitCode"] == 0


def test_a_project_that_ends_with_its_producer_has_judged_and_saved_the_run(
    running: Running,
) -> None:
    with running(up=False, TASKS="8", WORKLOAD="square", CRASH="0", LINGER="0") as stack:
        # As CI runs a project: all is stopped as soon as the producer has ended.
        stack.compose("up", "--exit-code-from", "producer")

        summary = stack.summary()
        assert summary
        assert summary["books"]["balanced"]
        (folder,) = stack.runs.iterdir()
        assert (folder / "report.md").exists()
