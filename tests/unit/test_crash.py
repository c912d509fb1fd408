"""How long a crash waits for what may come back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import poolproof.experiments.crash as crash_module
from poolproof.experiments.crash import Crash
from poolproof.experiments.session import Side

_SIDE = Side("old", "threads:2", 4, ("one", "two"))


@pytest.mark.parametrize(
    ("there", "sweep_s"),
    [
        ({"one": {"sweep_s": 1.0}, "two": {"sweep_s": 100.0}, "other": {"sweep_s": 900.0}}, 100.0),
        ({}, 1.0),  # none of them is registered just now: what the crash asked for
    ],
)
def test_a_wait_lasts_as_long_as_the_kombu_of_the_side_takes_between_two_looks(
    there: dict[str, Any], sweep_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_module, "registered", lambda *_: there)
    hangs = Crash(fault="endless-sleep", visibility_timeout_s=4.0)
    session: Any = SimpleNamespace(redis=None, keys=None)

    found = hangs._sweep_s(session, _SIDE)

    assert found == sweep_s
    # Whatever hangs is only given up when all that was stranded had to be back.
    assert (hangs._still_s(found) or 0.0) > 4.0 + sweep_s
    assert Crash(fault="segfault")._still_s(found) is None
