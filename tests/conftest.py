"""What every test may use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Eventually(Protocol):
    def __call__(self, predicate: Callable[[], Any], deadline_s: float = 10.0) -> Any: ...


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """`eventually(predicate, deadline_s)` polls until the predicate is true; returns its value."""

    def poll(predicate: Callable[[], Any], deadline_s: float = 10.0) -> Any:
        deadline = time.monotonic() + deadline_s
        while not (value := predicate()):
            assert time.monotonic() < deadline, f"not within {deadline_s} s; at last: {value!r}"
            time.sleep(0.01)
        return value

    return poll
