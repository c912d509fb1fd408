"""What a process tree costs."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from poolproof_workers.supervisor.sampler import Sampler
from poolproof_workers.supervisor.samples import NOTHING, sample, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAMILY = """
import os, sys, threading, time
if os.fork() == 0:
    time.sleep(600)
held = bytearray(32 << 20)
def nap():
    for _ in range(50):
        time.sleep(0.0001)
naps = [threading.Thread(target=nap) for _ in range(3)]
[each.start() for each in naps]
time.sleep(0.1)
print("up", flush=True)
input()
"""


@pytest.fixture
def family() -> Iterator[psutil.Process]:
    with subprocess.Popen(
        [sys.executable, "-c", _FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield psutil.Process(process.pid)
        for each in tree(process.pid):
            each.kill()


def test_it_adds_up_the_whole_tree(family: psutil.Process) -> None:
    processes = tree(family.pid)

    found = sample(processes)

    assert processes[0] == family
    assert found.processes == 2
    assert found.pss_bytes is not None
    assert 32 << 20 < found.uss_bytes <= found.pss_bytes <= found.rss_bytes
    assert found.cpu_s > 0
    assert found.ctx_voluntary > 0


@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell it of each thread")
def test_context_switches_are_those_of_all_threads(family: psutil.Process) -> None:
    first_thread_only = family.num_ctx_switches().voluntary

    assert sample([family]).ctx_voluntary >= first_thread_only


def test_a_process_that_is_gone_costs_nothing(family: psutil.Process) -> None:
    processes = tree(family.pid)
    for process in processes:
        process.kill()
    family.wait()

    assert tree(family.pid) == []
    assert sample([family]) == NOTHING


def test_a_sampler_samples_at_its_own_pace(family: psutil.Process) -> None:
    sampler = Sampler()

    first = sampler.take(family.pid, [])

    assert first is not None
    assert first["processes"] == 2
    assert first["ring_bytes"] == 0
    assert sampler.take(family.pid, []) is None
    assert Sampler().take(None, []) is None


def test_a_process_without_a_ring_is_found_once(
    family: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler()
    (child,) = family.children()
    told: list[list[int]] = []

    for second in range(5):
        monkeypatch.setattr(time, "monotonic", lambda second=second: 1e9 + 10 * second)
        sampler.take(family.pid, [])
        told.append(sampler.blind(family.pid, children_record=True))

    assert [sorted(pids) for pids in told] == [[], [], sorted([family.pid, child.pid]), [], []]
    assert sampler.blind(family.pid, children_record=False) == []


def test_only_the_main_process_needs_a_ring_where_slots_are_threads(
    family: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler()

    for second in range(3):
        monkeypatch.setattr(time, "monotonic", lambda second=second: 1e9 + 10 * second)
        sampler.take(family.pid, [])

    assert sampler.blind(family.pid, children_record=False) == [family.pid]
