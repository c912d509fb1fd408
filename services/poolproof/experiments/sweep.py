"""A sweep: each side once with every number of slots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolproof.infra.sides import SideSpec

_SHAPE = "concurrency=1,2,4"
_MOST_DIGITS = 9


def parse(text: str) -> tuple[int, ...]:
    """Read `concurrency=1,2,4`. Raises UsageError."""
    name, _, values = text.partition("=")
    words = values.split(",")
    if name != "concurrency" or not all(map(_is_number, words)):
        raise UsageError(f"{text!r} is no sweep. Write it as {_SHAPE}.")
    found = tuple(sorted({int(word) for word in words}))
    if found[0] < 1:
        raise UsageError(f"{text!r} has a side without a slot. Write it as {_SHAPE}.")
    return found


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS


def spread(sides: Mapping[str, SideSpec], concurrencies: tuple[int, ...]) -> dict[str, SideSpec]:
    """Return every side once a concurrency, labelled LABEL:N. Raises UsageError.

    All their workers are there at the same time, those that have no tasks waiting for some: so the
    blocks of all can be interleaved, and a drift of the machine does not look like a curve.
    """
    found: dict[str, SideSpec] = {}
    for label, side in sides.items():
        most = side.pool.max_concurrency
        if concurrencies[-1] > most:
            raise UsageError(f"{side.text}: this pool has at most {most} slots: leave it out.")
        name = side.spec.name if label == side.spec.label else label
        for number in concurrencies:
            swept = f"{name}:{number}"
            if swept in found:
                raise UsageError(f"Two sides are called {swept!r}: give each its own label.")
            found[swept] = replace(side, spec=replace(side.spec, concurrency=number))
    return found
