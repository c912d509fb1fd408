from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from poolproof_workers.faults.memory_limit import MIB, limit_bytes

if TYPE_CHECKING:
    from pathlib import Path

THERE = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("268435456\n", 268_435_456),
        ("max\n", None),  # version 2
        ("9223372036854771712\n", None),  # version 1
        (f"{THERE}\n", None),
        (f"{THERE - 1}\n", THERE - 1),
    ],
)
def test_a_limit_counts_if_it_can_be_reached(text: str, limit: int | None, tmp_path: Path) -> None:
    file = tmp_path / "memory.max"
    file.write_text(text)

    assert limit_bytes(file) == limit


def test_no_file_is_no_limit(tmp_path: Path) -> None:
    assert limit_bytes(tmp_path / "memory.max") is None


SCRIPT = """
import sys
from pathlib import Path
from poolproof_workers.faults import memory_limit
groups, limit = Path(sys.argv[1]), sys.argv[2]
memory_limit._GROUPS = groups
# As in a container: the path is one that only the host has.
memory_limit._parents = lambda: iter([(groups / "docker" / "its-id", limit)])
print(memory_limit.own_limit_bytes(), memory_limit.room_bytes())
"""

#: By version: the folder below the root, the file of the limit, that of what is used.
VERSIONS = {
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: (".", "memory.max", "memory.current"),
}


def _asked(groups: Path, version: int, pids: list[int]) -> list[str]:
    """What a process of ours finds in a container's cgroup that holds `pids`, and itself."""
    folder, limit, usage = VERSIONS[version]
    group = groups / folder
    group.mkdir(exist_ok=True)
    (group / limit).write_text(f"{300 * MIB}\n")
    (group / usage).write_text(f"{100 * MIB}\n")
    (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    command = [sys.executable, "-c", SCRIPT, str(groups), limit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="cgroups and /proc are Linux's")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_container_s_limit_is_the_worker_s_own_if_nobody_else_is_in_it(
    version: int, tmp_path: Path
) -> None:
    # We have started it, and our parent us.
    assert _asked(tmp_path, version, [os.getpid(), os.getppid()]) == [
        str(300 * MIB),
        str(200 * MIB),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="cgroups and /proc are Linux's")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_limit_that_others_share_is_not_filled_up(version: int, tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, start_new_session=True)
    try:
        assert _asked(tmp_path, version, [os.getpid(), stranger.pid]) == ["None", "None"]
        # Version 2 says 0 of what is outside of our PID namespace.
        assert _asked(tmp_path, version, [os.getpid(), 0]) == ["None", "None"]
    finally:
        stranger.communicate(b"\n")
