"""What a supervisor reads of its host."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import psutil
import pytest

from poolproof_workers.supervisor.effort import effort
from poolproof_workers.supervisor.host_load import surroundings
from poolproof_workers.supervisor.sampler import Sampler

if TYPE_CHECKING:
    from pathlib import Path


def _proc(folder: Path) -> Path:
    (folder / "stat").write_text("cpu  100 20 30 400 50 6 7 80 9 1\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    (folder / "vmstat").write_text("pgpgin 5\npswpin 30\npswpout 12\n")
    return folder


def test_the_counters_of_the_kernel_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nnr_periods 9\nnr_throttled 3\n")
    second = os.sysconf("SC_CLK_TCK")

    found = surroundings(_proc(tmp_path), tmp_path)

    assert found["cpu_s"] == pytest.approx(693 / second, abs=0.01)
    assert found["idle_s"] == pytest.approx(450 / second)
    assert found["steal_s"] == pytest.approx(80 / second)
    assert found["swapped_pages"] == 42
    assert (found["periods"], found["throttled"]) == (9, 3)


def test_throttling_is_read_of_cgroups_of_version_1_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.stat").write_text("nr_periods 9\nnr_throttled 3\n")

    assert surroundings(_proc(tmp_path), tmp_path)["periods"] == 9


def test_what_a_host_does_not_tell_is_unknown_and_not_0(tmp_path: Path) -> None:
    found = surroundings(tmp_path / "none", tmp_path / "none")

    names = ("cpu_s", "idle_s", "steal_s", "swapped_pages", "periods", "throttled")
    assert [found[name] for name in names] == [None] * len(names)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere CPU time has coarse steps")
def test_cpu_time_is_told_in_finer_steps_than_a_tick_of_the_kernel() -> None:
    me = psutil.Process()
    readings = []
    while len(readings) < 50:
        readings.append(effort([me]).cpu_s)

    steps = {later - earlier for earlier, later in pairwise(readings)}
    assert 0 < min(step for step in steps if step > 1e-9) < 1 / os.sysconf("SC_CLK_TCK")


def test_an_effort_is_told_without_waiting_for_a_sample_to_be_due() -> None:
    sampler = Sampler()

    told = [sampler.effort(os.getpid()) for _ in range(2)]

    assert all(each is not None and each["cpu_s"] > 0 for each in told)
    assert "pss_bytes" not in (told[0] or {})
    assert Sampler().effort(None) is None


def test_a_sample_that_is_asked_for_does_not_put_off_the_next_that_is_due() -> None:
    sampler = Sampler()

    asked = sampler.take(os.getpid(), [], now=True)

    assert asked is not None
    assert asked["pss_bytes"] is None or asked["pss_bytes"] > 0
    assert sampler.take(os.getpid(), []) is not None
    assert sampler.take(os.getpid(), []) is None
    assert sampler.take(os.getpid(), [], now=True) is not None
