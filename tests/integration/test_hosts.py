"""A run over three hosts: each has a clock of its own, and one of them is far from Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from poolproof.infra.redis_server import find_server
from poolproof.judge.run import consider
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof_workers.errors import FAILED_CHECK, OK

from .namespaces import Host, Network, far_away, redis_on, stop, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_DAY_S = 86_400
#: Each way, between the far host and Redis.
_DELAY_S = 0.015
#: For a run; most of it is for Celery to start, again and again.
_PATIENCE_S = 480
_POOLPROOF = (sys.executable, "-m", "poolproof")


@dataclass
class Lan:
    """The producer's host, with Redis and the collector, and two for workers."""

    network: Network
    home: Host
    near: Host  #: its clock is ten days ahead; a boot id of its own, as another machine has
    far: Host  #: its clock is three days ahead, in a time namespace; it is 30 ms from Redis
    redis_url: str
    far_url: str
    runs: Path
    stack: ExitStack
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def worker(self, host: Host, side: str, pool: str = "threads:2") -> None:
        """Start a worker as its help says."""
        url = self.far_url if host is self.far else self.redis_url
        words = ("worker", "--pool", pool, "--side", side, "--redis-url", url, "--grace-s", "1")
        self._start(host, f"worker-{side}", *_POOLPROOF, *words)

    def collector(self) -> tuple[subprocess.Popen[str], Path]:
        """Start it; return it and where it prints."""
        words = ("collect", "--once", "--print", "--runs", str(self.runs))
        name = "collector"
        process = self._start(self.home, name, *_POOLPROOF, *words, "--redis-url", self.redis_url)
        return process, self.home.folder / f"{name}.out"

    def play(self, *words: str) -> tuple[int, str]:
        """Run a command on the producer's host to its end; return its exit code and stderr."""
        process = self._start(self.home, "player", *words)
        try:
            code = process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = -1
        return code, (self.home.folder / "player.err").read_text()

    def folder(self) -> Path:
        """Return the folder of the one run."""
        (folder,) = (each for each in self.runs.iterdir() if each.is_dir())
        return folder

    def _start(self, host: Host, name: str, *words: str) -> subprocess.Popen[str]:
        out, err = (
            self.stack.enter_context((host.folder / f"{name}.{end}").open("w"))
            for end in ("out", "err")
        )
        process = host.start(*words, stdout=out, stderr=err)
        self.started.append(process)
        return process


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    if reason := why_not():
        pytest.skip(f"no hosts can be made here: {reason}")
    runs = tmp_path / "runs"
    with ExitStack() as stack:
        network = stack.enter_context(Network(tmp_path))
        home = network.host("home")
        near = network.host("near", ahead_s=10 * _DAY_S, has_boot=True)
        far = network.host("far", ahead_s=3 * _DAY_S)
        server, url = redis_on(home, find_server())
        proxy, far_url = far_away(far, home, _DELAY_S)
        stack.callback(stop, [proxy, server])
        lan = Lan(network, home, near, far, url, far_url, runs, stack)
        stack.callback(lambda: stop(lan.started))
        yield lan


def test_a_comparison_over_hosts_of_other_clocks_is_on_one_and_says_where_it_ran(lan: Lan) -> None:
    lan.worker(lan.near, "both")
    lan.worker(lan.far, "both")
    lan.worker(lan.far, "away")
    collector, printed = lan.collector()

    code, said = lan.play(
        *(*_POOLPROOF, "play", "--redis-url", lan.redis_url, "--workers", "3", "--no-crash"),
        *("--workload", "sleep:20ms", "--budget-s", "8"),
    )

    assert code == OK, said
    assert collector.wait(60) == OK
    summary: dict[str, Any] = json.loads((lan.folder() / "summary.json").read_text())
    assert summary["books"]["balanced"]
    assert summary["books"]["verdicts"]["completed"] == summary["books"]["enqueued"] > 0
    assert not {"clock_unknown", "incomplete"} & {each["code"] for each in summary["warnings"]}
    _clocks_are_right(summary, lan)
    _each_host_is_told(summary, printed.read_text())


def _clocks_are_right(summary: dict[str, Any], lan: Lan) -> None:
    """Nothing that compares hosts is off by more than the clocks are said to be."""
    assert summary["seconds"] < _PATIENCE_S
    off_s = max(host["clock_error_s"] for host in summary["hosts"])
    assert off_s < 1.0
    for side, slots in (("both", 4), ("away", 2)):
        figures = summary["pools"][side]["workloads"]["sleep:20ms"]
        # So many slots that sleep 20 ms end at most so many a second, but for the clocks' error.
        most = slots / 0.02
        assert 0 < max(figures["throughput_per_s"]["blocks"]) < most * (1 + off_s / 0.15)
        assert 1 < figures["open_loop"]["offered_per_s"] < most
    ledger = consider(lan.folder()).evidence.ledger
    sent, received, begun, ended = (
        ledger[name] / 1e9 for name in ("enqueued_ns", "first_received", "first_start", "last_end")
    )
    for sooner, later in ((sent, received), (received, begun), (begun, ended)):
        assert (later - sooner).min() > -off_s
    assert ended.max() - sent.min() < summary["seconds"]


def _each_host_is_told(summary: dict[str, Any], printed: str) -> None:
    home, *others = summary["hosts"]
    near, far = (next(of for of in others if of["name"] == name) for name in ("near", "far"))
    assert (home["name"], home["parts"]) == ("home", ["producer", "collector"])
    assert (near["sides"], sorted(far["sides"])) == (["both"], ["away", "both"])
    assert len({host["boot"] for host in summary["hosts"]}) == 3
    assert far["round_trip_s"] > 2 * _DELAY_S
    assert 0 < near["round_trip_s"] < far["round_trip_s"]
    for host in summary["hosts"]:
        assert host["machine"]["cpu"]
        assert host["machine"]["host"] == host["name"]
    for name in ("home", "near", "far"):
        assert f"  {name} " in printed
    assert "3 machines" in printed
    assert summary["comparisons"][0]["different_hosts"]
    compare = [each for each in summary["sentences"] if not each.startswith("Of ")]
    assert compare
    assert all("on different hosts" in each for each in compare)
    assert [each for each in summary["warnings"] if each["code"] == "different_hosts"]


def test_a_link_that_is_down_while_the_books_close_makes_no_wrong_verdict(lan: Lan) -> None:
    lan.worker(lan.near, "cut")
    lan.worker(lan.far, "kept")
    collector, _ = lan.collector()

    code, said = lan.play(
        *(sys.executable, "-m", "tests.integration.link_down", lan.redis_url, "cut"),
        *lan.network.link(lan.near, "down"),
    )
    assert code == OK, said
    # Of a run without a fault each task that did not end is one too many.
    assert collector.wait(60) == FAILED_CHECK
    subprocess.run(lan.network.link(lan.near, "up"), check=True, timeout=30)
    case = consider(lan.folder())
    ledger, ending = case.evidence.ledger, case.ending
    cut = ledger["side"] == ledger.sides.index("cut")

    def verdicts(of: np.ndarray) -> set[Verdict]:
        return {Verdict(value) for value in case.verdicts[of].tolist()}

    assert verdicts(~cut) == {Verdict.COMPLETED}
    assert verdicts(cut & ending.queued) == {Verdict.QUEUED}
    # What had ended before had ended; what had begun may have ended since.
    assert verdicts(cut & ~ending.queued & ~ending.unacked) == {Verdict.COMPLETED, Verdict.UNKNOWN}
    # What is in `unacked` the worker behind the link has, and may have begun: nobody knows.
    assert np.count_nonzero(cut & ending.unacked)
    assert verdicts(cut & ending.unacked) == {Verdict.UNKNOWN}
    # It is back with its link.
    assert lan.play(sys.executable, "-c", _IS_BACK, lan.redis_url, "cut@near") == (OK, "")


#: Waits until a worker that was away, longer than its registration is kept, has registered again.
_IS_BACK = """
import sys, time
from poolproof.infra.connection import connect
from poolproof.infra.workers import registered
from poolproof_workers.contract import Keys
deadline = time.monotonic() + 60
with connect(sys.argv[1]) as redis:
    while sys.argv[2] not in registered(redis, Keys()):
        assert time.monotonic() < deadline, "the worker did not come back"
        time.sleep(0.1)
"""
