"""The clocks of a run."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from poolproof_workers.supervisor.clock import boot_id, offset_to_redis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Clocks:
    """A host whose clock is `offset_ns` behind Redis's, with round trips of these lengths."""

    def __init__(self, offset_ns: int, trips_ns: list[int]) -> None:
        self._offset_ns = offset_ns
        self._now_ns = 1_000_000_000
        self._trips = itertools.cycle(trips_ns)

    def time(self) -> tuple[int, int]:
        half = next(self._trips) // 2
        self._now_ns += half
        answer = (self._now_ns + self._offset_ns) // 1000
        self._now_ns += half
        return divmod(answer, 1_000_000)

    @property
    def monotonic_ns(self) -> Callable[[], int]:
        return lambda: self._now_ns


def test_the_offset_is_that_of_the_shortest_round_trip() -> None:
    clocks = Clocks(5_000_000_000, [400_000, 60_000, 900_000])

    found = offset_to_redis(clocks, rounds=3, monotonic_ns=clocks.monotonic_ns)

    assert found.error_ns == 30_000 + 1_000
    assert abs(found.offset_ns - 5_000_000_000) <= found.error_ns


def test_a_boot_has_a_name_that_does_not_change() -> None:
    assert boot_id()
    assert boot_id() == boot_id()


@pytest.mark.parametrize(
    ("offsets", "name"),
    [
        (None, "a-boot"),
        ("monotonic           0         0\nboottime            0         0\n", "a-boot"),
        ("monotonic      864000       250\nboottime            0         0\n", "a-boot+864000.250"),
        ("monotonic           0         0\nboottime          60         0\n", "a-boot"),
    ],
)
def test_a_time_namespace_has_a_clock_and_so_a_boot_of_its_own(
    tmp_path: Path, offsets: str | None, name: str
) -> None:
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("a-boot\n")
    if offsets is not None:
        (tmp_path / "self").mkdir()
        (tmp_path / "self/timens_offsets").write_text(offsets)

    assert boot_id(tmp_path) == name
