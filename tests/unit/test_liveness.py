"""The end of processes that are not our children to wait for."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from poolproof_workers.supervisor.liveness import Liveness

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["pidfd", "polling"])
def liveness(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liveness]:
    if request.param == "polling":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    with selectors.DefaultSelector() as selector:
        watched = Liveness(selector)
        watched.selector = selector  # type: ignore[attr-defined]
        yield watched
        watched.close()


def ended(liveness: Any) -> set[int]:
    for key, _ in liveness.selector.select(0):
        key.data()
    return liveness.ended()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def test_the_end_of_a_process_is_told_once_even_if_nobody_reaps_it(
    liveness: Liveness, process: subprocess.Popen[bytes], eventually: Any
) -> None:
    liveness.watch(process.pid)
    assert ended(liveness) == set()

    process.kill()

    assert eventually(lambda: ended(liveness)) == {process.pid}
    assert ended(liveness) == set()


def test_a_process_that_had_ended_before_counts_as_ended(
    liveness: Liveness, process: subprocess.Popen[bytes]
) -> None:
    process.kill()
    process.wait()

    liveness.watch(process.pid)

    assert ended(liveness) == {process.pid}
