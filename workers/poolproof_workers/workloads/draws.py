"""Numbers drawn by a seed: the same seed gives the same work, on every side and machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolproof_workers.contract import Numbers

_64_BITS: Final = (1 << 64) - 1
_STEP: Final = 0x9E37_79B9_7F4A_7C15
_LEAST: Final = 1_000_000_000
_SPREAD: Final = 1_000_000_000


def draw(seed: int, place: Numbers) -> Numbers:
    """Return 64 bits for a place of a seed's sequence (splitmix64, by Sebastiano Vigna).

    `place` is an int or an array of uint64; so is what comes back.
    """
    z = (place * _STEP + _start(seed)) & _64_BITS
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & _64_BITS
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & _64_BITS
    return z ^ (z >> 31)


def number(seed: int, place: Numbers) -> Numbers:
    """Return a number of ten digits whose square fits into a record."""
    return draw(seed, place) % _SPREAD + _LEAST


def deal(seed: int, weights: Sequence[int], places: range) -> list[int]:
    """Return for each place which of the weights it falls to.

    Every stretch of sum(weights) places that begins at a multiple of it holds each index as often
    as its weight says, in an order of its own: a short block is as mixed as a long one.
    """
    total = sum(weights)
    first = places.start - places.start % total
    dealt = [
        index
        for start in range(first, places.stop, total)
        for index in _shuffled(seed, _deck(weights), start)
    ]
    return dealt[places.start - first : places.stop - first]


def _deck(weights: Iterable[int]) -> list[int]:
    return [index for index, weight in enumerate(weights) for _ in range(weight)]


def _shuffled(seed: int, deck: list[int], start: int) -> list[int]:
    order = sorted(range(len(deck)), key=lambda at: draw(seed, start + at))
    return [deck[at] for at in order]


def _start(seed: int) -> int:
    # Neighbouring seeds must not give the same sequence, shifted.
    return ((seed + 1) * 0xD1B5_4A32_D192_ED03) & _64_BITS
