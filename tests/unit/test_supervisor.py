"""Which signals a supervisor takes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test does to them, they are as they were."""
    before = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize(
    ("signum", "before", "is_taken"),
    [
        (signal.SIGHUP, signal.SIG_IGN, False),  # as nohup has it
        (signal.SIGHUP, signal.SIG_DFL, True),
        (signal.SIGINT, signal.SIG_IGN, True),  # as a shell has it for what runs in the background
    ],
)
def test_it_leaves_alone_a_hang_up_that_is_ignored_and_takes_the_rest(
    signum: signal.Signals, before: signal.Handlers, is_taken: bool
) -> None:
    supervisor = Supervisor(Settings.from_env({}))
    signal.signal(signum, before)

    with supervisor._signals_taken():
        assert (signal.getsignal(signum) == supervisor._note_signal) == is_taken
        assert signal.getsignal(signal.SIGTERM) == supervisor._note_signal

    assert signal.getsignal(signum) == before
