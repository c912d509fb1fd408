"""Random sequences of faults: whatever is done, the books balance and an independent log agrees.

`CHAOS_SEEDS=1-100` plays others than those below; `scripts/chaos` does so with a table.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from .seeds import parse
from .trial import play

#: Three of each pool; among them each kind of death, lost recordings and trouble with the broker.
_FEW: Final = parse("7-12")
_MANY: Final = parse("1-40")
_OUT: Final = Path(__file__).parents[2] / "runs" / "chaos"


def _seeds() -> list[Any]:
    if chosen := os.environ.get("CHAOS_SEEDS"):
        return parse(chosen)
    more = [pytest.param(seed, marks=pytest.mark.long) for seed in _MANY if seed not in _FEW]
    return [*_FEW, *more]


@pytest.mark.parametrize("seed", _seeds())
def test_whatever_is_done_the_books_balance_and_an_independent_log_agrees(seed: int) -> None:
    result = play(seed, _OUT)

    assert result.complaints == (), result.advice()
    shutil.rmtree(result.folder)
