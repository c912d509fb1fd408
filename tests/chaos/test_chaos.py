"""Random sequences of faults: whatever is done, the books balance and an independent log agrees.

`CHAOS_SEEDS=1-100` plays others than the few below; `scripts/chaos` does so several at a time.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from .seeds import parse
from .trial import play

#: Three of each pool; among them each kind of death, lost recordings and trouble with the broker.
_FEW: Final = "7-12,25,29,36"
_OUT: Final = Path(__file__).parents[2] / "runs" / "chaos"


@pytest.mark.parametrize("seed", parse(os.environ.get("CHAOS_SEEDS") or _FEW))
def test_whatever_is_done_the_books_balance_and_an_independent_log_agrees(seed: int) -> None:
    result = play(seed, _OUT)

    assert result.complaints == (), result.advice()
    shutil.rmtree(result.folder)
