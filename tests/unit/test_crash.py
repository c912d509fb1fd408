"""How long a crash waits for what may come back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from poolproof.experiments.crash import Crash
from poolproof.runner.side import Side

_SIDE = Side("old", "threads:2", 4, ("one", "two"))


@pytest.mark.parametrize(
    ("told_s", "sweep_s"),
    [(100.0, 100.0), (None, 1.0)],  # None: no worker is registered just now
)
def test_a_wait_lasts_as_long_as_the_kombu_of_the_side_takes_between_two_looks(
    told_s: float | None, sweep_s: float
) -> None:
    hangs = Crash(fault="endless-sleep", visibility_timeout_s=4.0)
    session: Any = SimpleNamespace(sweep_s=lambda _: told_s)

    found = hangs._sweep_s(session, _SIDE)

    assert found == sweep_s
    # Whatever hangs is only given up when all that was stranded had to be back.
    assert (hangs._still_s(found) or 0.0) > 4.0 + sweep_s
    assert Crash(fault="segfault")._still_s(found) is None
