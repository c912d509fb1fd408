"""Which seeds to play, as a person writes them."""

from __future__ import annotations


def parse(text: str) -> list[int]:
    """Read numbers and ranges: `1-20,31`. Raises ValueError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers:
            raise ValueError(f"{part!r} has no seed in it")
        found += numbers
    return found
