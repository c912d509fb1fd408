"""How processes end that do a fault, and that what takes memory stays within its limit."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from poolproof_workers.faults import memory_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
import sys
from poolproof_workers.faults.catalogue import find
fault = find(sys.argv[1])[1]
way = fault.prepare() if fault.prepare else None
fault.do()
"""


@pytest.fixture(autouse=True)
def _no_cgroup_left() -> Iterator[None]:
    yield
    memory_limit.remove_left()


def _run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("segfault", -signal.SIGSEGV),
        ("stack-overflow", -signal.SIGSEGV),
        ("abort", -signal.SIGABRT),
        ("kill-self", -signal.SIGKILL),
        ("oom-kill", -signal.SIGKILL),
        ("os-exit", 3),
        ("system-exit", 3),
    ],
)
def test_a_process_ends_as_its_fault_says(fault: str, code: int) -> None:
    assert _run(SCRIPT, fault).returncode == code


def test_where_no_cgroup_can_be_made_a_limit_ends_the_process_all_the_same() -> None:
    no_groups = (
        "from poolproof_workers.faults import memory_limit\nmemory_limit._parents = lambda: ()\n"
    )
    told = SCRIPT.replace("fault.do()", "print(way.name, flush=True); fault.do()")

    done = _run(no_groups + told, "oom-kill")

    assert done.stdout.split() == ["RLIMIT"]
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not limit the address space")
def test_a_memory_error_comes_at_the_limit_which_is_lifted_again() -> None:
    script = """
import resource
before = resource.getrlimit(resource.RLIMIT_AS)
from poolproof_workers.faults.catalogue import find
try:
    find("memory-error")[1].do()
except MemoryError:
    print(resource.getrlimit(resource.RLIMIT_AS) == before, len(bytearray(300 << 20)))
"""
    done = _run(script)

    assert done.stdout.split() == ["True", str(300 << 20)]


def test_a_leak_and_a_flood_have_caps() -> None:
    script = """
import resource
from poolproof_workers.faults.catalogue import find
for _ in range(3):
    find("leak")[1].do()
find("output-flood")[1].do()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = _run(script)

    grown_mib = int(done.stdout) / (1024 if sys.platform == "linux" else 1 << 20)
    assert 256 < grown_mib < 512
    assert 3 << 20 < len(done.stderr) <= 4 << 20
