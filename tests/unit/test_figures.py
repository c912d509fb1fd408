"""How numbers are written."""

from __future__ import annotations

import pytest

from poolproof.report.figures import seconds, size


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0 MB"), (265_000, "0.27 MB"), (5_300_000, "5.3 MB"), (1.516e8, "152 MB")],
)
def test_a_small_size_is_not_written_as_none(number: float | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 ms"), (0.0421, "42.1 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (123.4, "123 s")],
)
def test_a_time_has_no_exponent(number: float, text: str) -> None:
    assert seconds(number) == text
