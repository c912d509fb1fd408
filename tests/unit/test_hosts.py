"""Sides on different hosts: the report says what each host is, and marks whatever compares them."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from poolproof.judge.comparable import reasons
from poolproof.judge.hosts import apart
from poolproof.judge.outcome import NOISY
from poolproof.judge.performance.conditions import differences
from poolproof.judge.performance.warnings import of_hosts
from poolproof.judge.sentences import sentences
from poolproof.judge.summary import summarise
from poolproof.report import content, machine
from poolproof.report.html import html
from poolproof.report.markdown import markdown
from poolproof.report.terminal import show
from tests.unit.measured_run import MS, Run, S

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof_workers.contract import Entry

_UNIX_NS = 1_700_000_000 * S
_NEAR = {"host": "near", "cpu": "A", "cores": 2, "usable_cores": 2, "memory_bytes": 8e9}
_FAR = _NEAR | {"host": "far", "cpu": "B", "cgroup_memory_bytes": 512e6}
_MARK = "different hosts"


def _even(begin_ns: int, every_ns: int) -> list[tuple[int, int, int]]:
    starts = [begin_ns + MS + index * every_ns for index in range(100)]
    return [(start - MS, start, start + MS) for start in starts]


def _summary(folder: Path, boot_of_b: str = "far-boot", **of_b: Any) -> dict[str, Any]:
    """Two sides that differ in throughput, memory and waiting; b is 30 ms from Redis."""
    run = Run(("a", "b"))
    for turn in range(10):
        side, begin = "ab"[turn % 2], (10 + 4 * turn) * S
        run.block(side, begin, _even(begin, (10 + turn % 2 * 5) * MS), of_round=turn // 2)
        run.worker(side, "sample", begin + 500 * MS, pss_bytes=50_000_000 * (1 + turn % 2),
                   rss_bytes=0, uss_bytes=0, ring_bytes=0, cpu_s=turn, host={},
                   processes=1)  # fmt: skip
    for side, begin in (("a", 60 * S), ("b", 64 * S)):
        run.block(side, begin, _even(begin, 10 * MS), rate_per_s=100.0)
    run.op("producer", "clock", 2, offset_ns=_UNIX_NS, error_ns=51_000)
    for at in (3, 4, 5):
        run.worker("b", "clock", at, offset_ns=_UNIX_NS, error_ns=15 * MS + 1_000 * at)

    def change(entry: Entry) -> Entry:
        if entry.kind == "records":
            return entry
        op = entry.op
        if op["op"] == "run-begin":
            op |= {"machine": _NEAR}
        if op["op"] == "hello":
            said = _FAR | of_b if entry.worker == "b@host" else _NEAR
            op |= {"host": said["host"], "machine": said}
        if entry.worker == "b@host":
            op["boot"] = boot_of_b
        return replace(entry, data=json.dumps(op).encode())

    return summarise(run.write(folder, change))


@pytest.fixture
def summary(tmp_path: Path) -> dict[str, Any]:
    return _summary(tmp_path)


def test_every_host_has_its_machine_its_round_trip_and_the_error_of_its_clock(
    summary: dict[str, Any],
) -> None:
    near, far = summary["hosts"]

    assert (near["name"], near["parts"], near["sides"]) == ("near", ["producer"], ["a"])
    assert (near["machine"], near["clock_error_s"]) == (_NEAR, 0.0)
    assert near["round_trip_s"] == pytest.approx(0.0001)
    assert (far["name"], far["parts"], far["workers"]) == ("far", [], ["b@host"])
    assert far["machine"] == _FAR
    assert far["round_trip_s"] == pytest.approx(0.030006)
    # The best of its own, and the producer's.
    assert far["clock_error_s"] == pytest.approx(0.015003 + 0.000051)


def test_each_sentence_that_compares_sides_on_different_hosts_is_marked(
    summary: dict[str, Any],
) -> None:
    said = summary["sentences"]
    compare = [each for each in said if not each.startswith("Of ")]

    assert len(compare) == 4, said
    assert [_MARK in each for each in compare] == [True] * 4
    assert compare[0].startswith("For square, on different hosts, a did 1.50 times as many")
    assert summary["comparisons"][0]["different_hosts"] is True


def test_no_difference_between_sides_on_different_hosts_is_marked(tmp_path: Path) -> None:
    summary = _summary(tmp_path)
    summary["comparisons"][0] |= {"outcome": NOISY, "low": 0.9, "high": 1.1}

    assert sentences(summary)[0].startswith("For square, on different hosts, it is too noisy")


def test_nothing_is_said_to_be_the_same_on_different_hosts(summary: dict[str, Any]) -> None:
    table = content.differences(summary)

    assert "all else was the same" not in table.note
    assert ("host", "near", "far") in table.rows
    assert ("to Redis and back", "0.1 ms", "30 ms") in table.rows
    assert ("CPU", "A", "B") in table.rows
    assert ("memory limit, MB", "none", "512") in table.rows


def test_every_format_has_the_hosts_and_the_mark(summary: dict[str, Any]) -> None:
    console = Console(width=120, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as captured:
        show(summary, console)

    for text in (captured.get(), markdown(summary), html(summary)):
        assert "Hosts" in text
        assert "30 ms" in text
        assert _MARK in text
        assert "2 machines" in text


def test_the_tables_that_compare_sides_on_different_hosts_are_marked(
    summary: dict[str, Any],
) -> None:
    marked = {
        table.title for table in content.tables(summary) if "They ran on different" in table.note
    }

    assert marked == {
        *("Throughput", "a against b", "What a task took"),
        *("Time to the end of a task that comes in at a set rate", "Memory, start and stop"),
    }


def test_containers_of_one_machine_are_not_different_hosts_but_may_differ_in_limits(
    tmp_path: Path,
) -> None:
    summary = _summary(tmp_path, "boot", cpu="A")

    assert [each for each in summary["sentences"] if _MARK in each] == []
    assert summary["comparisons"][0]["different_hosts"] is False
    assert summary["differences"] == {"memory limit, MB": {"a": "none", "b": "512"}}
    assert "all else was the same" in content.differences(summary).note
    assert machine.facts(summary)[0].startswith("A · 2 cores")
    assert len(machine.hosts(summary).rows) == 2


def test_clones_of_one_machine_have_names_of_their_own(tmp_path: Path) -> None:
    summary = _summary(tmp_path, host="near")

    assert [host["name"] for host in summary["hosts"]] == ["near", "near (2)"]


def _without_machine_of(*sides: str, **summary: Any) -> dict[str, Any]:
    """Return a run whose workers of these sides are of a version that did not describe its host."""
    for host in summary["hosts"]:
        if set(sides) & set(host["sides"]):
            host["machine"] = {}
    return summary


def test_a_host_that_was_not_described_differs_from_none(tmp_path: Path) -> None:
    told, old = _summary(tmp_path / "new"), _summary(tmp_path / "old")
    old = _without_machine_of("b", **old)

    assert reasons(old, told) == []
    assert reasons(told, old) == []
    found = differences(told["pools"], old["hosts"])
    assert found == {name: told["differences"][name] for name in ("host", "to Redis and back")}
    versions = copy.deepcopy(told["pools"])
    versions["b"]["terms"]["versions"] = {}
    assert differences(versions, old["hosts"]) == found


def test_of_three_sides_the_hosts_that_were_described_are_told_apart(tmp_path: Path) -> None:
    summary = _summary(tmp_path)
    unknown = {"name": "c", "boot": "c", "parts": [], "sides": ["c"], "machine": {}}
    hosts = [*summary["hosts"], unknown | {"round_trip_s": None}]

    found = differences(summary["pools"] | {"c": summary["pools"]["a"]}, hosts)

    assert found["CPU"] == {"a": "A", "b": "B", "c": None}


def test_a_side_whose_host_is_not_known_is_not_on_a_different_one(tmp_path: Path) -> None:
    hosts = _summary(tmp_path)["hosts"]
    near, far = hosts

    assert apart(hosts, "ab")
    assert not apart([near], "ab")
    assert not apart([far], "abc")
    assert of_hosts([near], ["a", "b"]) == []
    (found,) = of_hosts(hosts, ["a", "b", "c"])
    assert found["advice"].startswith(
        "The sides ran on different hosts: a on near (to Redis and back: 0.1 ms); b on far (to "
        "Redis and back: 30 ms)."
    )


def test_a_run_whose_side_moved_to_another_machine_is_not_compared_with_it(tmp_path: Path) -> None:
    base, new = _summary(tmp_path / "base"), _summary(tmp_path / "new", cpu="C")

    assert [each.what for each in reasons(base, new)] == ["The CPU of b's host was B, and is C."]
    assert reasons(base, _summary(tmp_path / "again")) == []
