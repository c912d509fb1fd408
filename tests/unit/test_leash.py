from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from poolproof_workers.supervisor.leash import leashed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal is Linux's")


def test_a_leashed_command_keeps_its_pid_arguments_and_exit_code() -> None:
    show = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    with subprocess.Popen(
        leashed([sys.executable, "-c", show, "a b", "-x"]), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()

    assert output == f"{process.pid} ['a b', '-x']\n"
    assert process.returncode == 7


def test_a_leashed_command_is_killed_when_its_owner_is() -> None:
    command = ["sh", "-c", "echo on; exec sleep 60"]
    owner = (
        "import subprocess, sys; from poolproof_workers.supervisor.leash import leashed;"
        f"subprocess.Popen(leashed({command})).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.kill()

        # The end of the output: nobody is left who could write to it.
        assert process.stdout.read() == b""

    assert process.returncode == -signal.SIGKILL


def test_a_command_whose_owner_is_gone_already_does_not_start() -> None:
    wrapped = leashed(["echo", "started"])
    wrapped[wrapped.index(str(os.getpid()))] = "1234567"

    done = subprocess.run(wrapped, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "has ended" in done.stderr


def test_a_command_that_is_not_there_is_said_so() -> None:
    done = subprocess.run(leashed(["/nowhere"]), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "cannot run /nowhere: No such file or directory\n"
