from __future__ import annotations

import json
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from poolproof.infra.machine import command, commit
from poolproof_workers.supervisor.host import cpu_model, machine

if TYPE_CHECKING:
    from pathlib import Path


def test_the_machine_says_all_that_a_result_must_carry_as_json() -> None:
    found = machine()

    assert json.loads(json.dumps(found)) == found
    assert found["cpu"]
    assert 1 <= found["usable_cores"] <= found["cores"]
    assert found["memory_bytes"] > 1 << 20
    assert platform.python_version() in found["python"]
    assert isinstance(found["gil"], bool)


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC: 9B14\n\n", "AMD EPYC: 9B14"),
        ("Processor : x\nHardware\t: BCM2835\n", "BCM2835"),
        ("processor : 0\nCPU part : 0xd0c\n", platform.machine()),
    ],
)
def test_a_cpu_is_named_as_well_as_the_kernel_can(tmp_path: Path, cpuinfo: str, model: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)

    assert cpu_model(path) == model


def test_a_command_line_is_kept_without_the_folder_of_the_programme() -> None:
    words = ["/home/someone/.venv/bin/poolproof", "compare", "--pool", "a=threads:4@celery==5.6.3"]

    assert command(words) == ["poolproof", *words[1:]]
    assert command(["/somewhere/poolproof/__main__.py", "doctor"]) == ["poolproof", "doctor"]
    assert command()[1:] == sys.argv[1:]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("redis://:secret@example.org:6379/1", "redis://***@example.org:6379/1"),
        ("rediss://me:se@c/r?et@example.org", "rediss://***@example.org"),
        ("unix://me:secret@/run/redis.sock?db=1", "unix://***@/run/redis.sock?db=1"),
        ("redis://host/0?password=secret&db=1", "redis://host/0?password=***&db=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
@pytest.mark.parametrize("option", ["", "--redis-url="])
def test_no_password_is_kept_of_a_command_line(url: str, kept: str, option: str) -> None:
    assert command(["poolproof", "play", option + url]) == ["poolproof", "play", option + kept]


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None


def test_a_checkout_gives_its_commit_and_says_if_it_was_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first", "--no-verify")
    git("tag", "v1")
    head = git("rev-parse", "HEAD")[:12]

    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{head}-dirty"


def test_a_checkout_without_a_commit_gives_none(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    assert commit(tmp_path) is None
