from __future__ import annotations

import sys
from pathlib import Path

import pytest

from poolproof.infra.doctor import (
    Check,
    Level,
    Noise,
    cores_checks,
    governor_check,
    load_check,
    measure_noise,
    memory_check,
    noise_check,
    python_check,
    rings_check,
    swap_check,
)

GIB = 1 << 30


@pytest.mark.parametrize(
    ("check", "level"),
    [
        (swap_check(0), Level.OK),
        (swap_check(4096), Level.WARN),
        (load_check(0.1, 2), Level.OK),
        (load_check(1.9, 2), Level.WARN),
        (memory_check(8 * GIB, None), Level.OK),
        (memory_check(8 * GIB, 4 * GIB), Level.OK),
        (memory_check(8 * GIB, GIB // 4), Level.WARN),
        (memory_check(GIB // 4, None), Level.WARN),
        (noise_check(Noise(0.02, 0.0)), Level.OK),
        (noise_check(Noise(0.5, 0.0)), Level.WARN),
        (noise_check(Noise(0.02, 0.1)), Level.WARN),
        (governor_check(None), Level.OK),
        (governor_check("performance"), Level.OK),
        (governor_check("powersave"), Level.WARN),
        (python_check(debug=False), Level.OK),
        (python_check(debug=True), Level.WARN),
    ],
)
def test_what_would_spoil_a_figure_is_a_warning(check: Check, level: Level) -> None:
    assert check.level is level
    assert bool(check.advice) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("usable", "quota", "levels"),
    [
        (2, None, [Level.OK, Level.OK]),
        (1, None, [Level.WARN, Level.OK]),
        (8, 0.5, [Level.OK, Level.WARN]),
        (2, 2.0, [Level.OK, Level.OK]),
    ],
)
def test_one_core_and_a_quota_are_warned_of(
    usable: int, quota: float | None, levels: list[Level]
) -> None:
    assert [check.level for check in cores_checks(usable, quota)] == levels


def test_a_ring_folder_that_is_a_file_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    check = rings_check(tmp_path / "file" / "rings")

    assert check.level is Level.BAD
    assert "POOLPROOF_RINGS" in check.advice


def test_a_ring_folder_that_is_not_there_yet_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    check = rings_check(tmp_path / "not" / "yet")

    assert check.level in {Level.OK, Level.WARN}
    assert "free" in check.found
    assert not (tmp_path / "not").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and its read-only files are Linux's")
def test_a_ring_folder_that_cannot_be_written_is_bad() -> None:
    assert rings_check(Path("/proc/rings")).level is Level.BAD


def test_noise_is_measured_as_shares() -> None:
    noise = measure_noise()

    assert noise.spread >= 0
    assert 0 <= noise.steal <= 1
