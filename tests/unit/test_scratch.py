from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from poolproof.infra.scratch import Scratch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_goes_with_all_in_it() -> None:
    with Scratch.make() as scratch:
        (scratch.path / "deep").mkdir()
        (scratch.path / "deep" / "file").write_text("x")
        assert scratch.path.stat().st_mode & 0o777 == 0o700

    assert not scratch.path.exists()


def test_a_folder_in_use_is_not_abandoned() -> None:
    with Scratch.make():
        assert list(Scratch.abandoned()) == []


def test_a_folder_without_an_owner_is_abandoned(temporary: Path) -> None:
    left = temporary / "poolproof-scratch-left"
    left.mkdir()

    found = list(Scratch.abandoned())

    assert [scratch.path for scratch in found] == [left]
    found[0].remove()
    assert not left.exists()


def test_other_folders_and_links_are_never_touched(temporary: Path) -> None:
    theirs = temporary / "theirs"
    theirs.mkdir()
    (temporary / "poolproof-1000").mkdir()
    (temporary / "poolproof-scratch-link").symlink_to(theirs)

    assert list(Scratch.abandoned()) == []
    assert theirs.exists()


def test_two_sweeps_at_once_do_not_get_the_same_folder(temporary: Path) -> None:
    (temporary / "poolproof-scratch-left").mkdir()

    first = list(Scratch.abandoned())

    assert list(Scratch.abandoned()) == []
    first[0].remove()
