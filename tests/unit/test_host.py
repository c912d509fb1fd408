"""What a worker says of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof_workers.supervisor import host

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({}, None, None),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        ({"cpu.max": "50000 100000\n", "memory.max": "268435456\n"}, 0.5, 268435456),
        (
            {
                "cpu/cpu.cfs_quota_us": "200000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "1048576\n",
            },
            2.0,
            1048576,
        ),
        (
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
            None,
        ),
    ],
)
def test_limits_of_both_kinds_of_cgroups_are_read(
    tmp_path: Path, files: dict[str, str], cpus: float | None, memory: int | None
) -> None:
    assert host.cgroup_limits(write(tmp_path, files)) == {"cpus": cpus, "memory_bytes": memory}


def test_a_description_has_what_results_depend_on() -> None:
    described = host.describe()

    assert described["cores"] >= 1
    assert described["versions"].keys() >= {"celery", "kombu", "billiard", "redis", "python"}
    assert isinstance(described["gil"], bool)
