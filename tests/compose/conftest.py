"""Docker for the tests, or why there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.compose.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


class Running(Protocol):
    def __call__(self, *, up: bool = True, **choices: str) -> AbstractContextManager[Stack]: ...


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    reason = _why_not()
    if reason and os.environ.get("CI"):
        pytest.fail(f"compose tests must run in CI: {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """`with running(TASKS="16") as stack`: all is up and healthy, and removed afterwards.

    With `up=False` nothing is started yet.
    """

    @contextmanager
    def run(*, up: bool = True, **choices: str) -> Iterator[Stack]:
        stack = Stack(tmp_path / "runs", choices)
        stack.runs.mkdir()
        try:
            if up:
                stack.up()
            yield stack
        finally:
            _keep_logs(stack)
            stack.down()

    return run


def _keep_logs(stack: Stack) -> None:
    """Print what the services said: pytest shows it if the test fails."""
    if sys.exc_info()[0] is not None:
        print(stack.compose("ps", "--all", check=False))
        print(stack.compose("logs", "--no-color", "--tail", "80", check=False))


def _why_not() -> str:
    try:
        asked: Any = subprocess.run(
            ["docker", "compose", "ls"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no Docker engine: {error}"
    return f"no Docker engine: {asked.stderr.strip()}" if asked.returncode else ""
