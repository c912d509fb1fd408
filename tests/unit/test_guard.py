"""What is said of histories of every kind is what was said of them when they were kept.

One that differs on purpose is kept anew with `python -m tests.guard NAME`, in a commit that says
why.
"""

from __future__ import annotations

from difflib import unified_diff

import pytest

from tests.guard.archive import made, names, opened


@pytest.mark.parametrize("name", names())
def test_what_is_said_of_a_kept_run_does_not_change(name: str) -> None:
    with opened(name) as (runs, expected):
        found = made(runs)

    assert found.keys() == expected.keys()
    changes = {key for key, text in expected.items() if found[key] != text}
    for key in sorted(changes):
        before, after = expected[key].splitlines(), found[key].splitlines()
        print("\n".join(list(unified_diff(before, after, key, "now", lineterm="", n=1))[:40]))
    assert not changes


def test_there_are_runs_of_every_kind() -> None:
    assert len(names()) >= 20
