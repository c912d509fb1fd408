"""What every test may use."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from tests import evidence
from tests.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

#: Where the histories of failed tests stay.
_FAILED: Final = Path(__file__).parents[1] / "runs" / "failed"

# A shell starts what it runs in the background with SIGINT and SIGQUIT ignored, and children
# inherit that: without this, tests that send them would depend on who started them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
# And nohup leaves SIGHUP ignored, which our processes respect.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Sharing:
    """Hand out tests to several processes."""
    return Sharing(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print with a failed test what its workers printed and recorded."""
    report = yield
    if report.failed and call.when == "call":
        report.sections += evidence.of(item.funcargs)
        with suppress(OSError):  # a full disk is not what the test failed of
            evidence.keep(item.nodeid, item.funcargs, _FAILED)
    return report


class Eventually(Protocol):
    def __call__(self, predicate: Callable[[], Any], deadline_s: float = 30.0) -> Any: ...


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """`eventually(predicate, deadline_s)` polls until the predicate is true; returns its value."""

    def poll(predicate: Callable[[], Any], deadline_s: float = 30.0) -> Any:
        deadline = time.monotonic() + deadline_s
        while not (value := predicate()):
            assert time.monotonic() < deadline, f"not within {deadline_s} s; at last: {value!r}"
            time.sleep(0.01)
        return value

    return poll
