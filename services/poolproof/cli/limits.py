"""Numbers that people give: what they may be at most, and how one is read."""

from __future__ import annotations

import math
from typing import Any, Final

import click

MOST_SEED: Final = (1 << 63) - 1
#: What somebody may ask for and have some use of.
MOST_TASKS: Final = 10_000_000
MOST_PER_S: Final = 1_000_000
LEAST_PER_S: Final = 0.001
DAY_S: Final = 86_400


class Real(click.FloatRange):
    """A number from `min` to `max`; `nan` is in no range, though it is less and more than none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return it."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number
