"""What the figures of benches must be, and how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Figure -> what it must be. A figure that misses is printed as such, and fails with --strict.
BOUNDS: Final = {
    "ratio_to_apply_async": ("at least", 50.0),
    "ratio_to_bare_lpush": ("at least", 0.7),
    "cpu_ratio_to_bare": ("at most", 1.02),
    "records_per_s": ("at least", 500_000.0),
    "bytes_per_task": ("at most", 128.0),
    "ten_million_s": ("at most", 10.0),
    "ten_million_peak_bytes": ("at most", 1e9),
    "growth_from_one_million": ("at most", 1.25),
    "summary_bytes": ("at most", 100_000.0),
    "equal_called_different_share": ("at most", 0.05),
    "planted_found_share": ("at least", 0.9),
    "outside_deviation": ("at most", 0.01),
    "twenty_turns_to_one": ("at most", 1.0),
    "frames_per_s": ("at least", 50.0),
    "lag_p99_s": ("at most", 0.25),
    "worker_lag_p99_s": ("at most", 0.25),
    "server_bytes_per_task": ("at most", 2.0),
    "stuck_growth_bytes": ("at most", 16e6),
    "stuck_ratio_to_watched": ("at least", 0.95),
}


def missed(figures: Mapping[str, float]) -> list[str]:
    """Return the figures that miss their bounds."""
    return [name for name, value in figures.items() if name in BOUNDS and not _holds(name, value)]


def bound_of(name: str, value: float) -> tuple[str, str] | None:
    """Return a figure's bound, and whether it holds, in words; None if it has none."""
    if name not in BOUNDS:
        return None
    word, bound = BOUNDS[name]
    return f"{word} {bound:,g}", "holds" if _holds(name, value) else "MISSED"


def written(value: float) -> str:
    """Return a figure as people read it."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"


def _holds(name: str, value: float) -> bool:
    word, bound = BOUNDS[name]
    return value >= bound if word == "at least" else value <= bound
