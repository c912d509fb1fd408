"""Environments of their own for sides: what goes into them, and where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import poolproof_workers
from poolproof.infra import environments
from poolproof.infra.environments import Environments
from poolproof_workers.errors import DiskError
from poolproof_workers.pools import POOLS
from poolproof_workers.supervisor import host

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_side_does_not_name_is_as_here() -> None:
    same = dict(environments._same(["celery==5.6.3", "Kombu>=5.6,<5.7"]))

    assert {"celery", "kombu"}.isdisjoint(same)
    assert same["redis"] == host.versions()["redis"]
    assert same["billiard"] == host.versions()["billiard"]


def test_they_are_kept_with_the_users_caches(tmp_path: Path) -> None:
    assert Environments.of_user({"XDG_CACHE_HOME": str(tmp_path)}).folder == (
        tmp_path / "poolproof" / "environments"
    )
    assert Environments.of_user({}).folder.parts[-3:] == (".cache", "poolproof", "environments")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DiskError, match=r"cannot be kept in .*XDG_CACHE_HOME"):
        Environments(tmp_path / "file" / "below").python(["celery==5.6.3"], POOLS["threads"])


def test_our_packages_are_links_which_follow_us_when_we_move(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    (site / "poolproof_workers").symlink_to(tmp_path / "where we were")

    environments._link_ours(tmp_path)

    assert (site / "poolproof_workers" / "__init__.py").samefile(poolproof_workers.__file__)
    assert (site / "poolproof" / "__main__.py").exists()


def test_an_environment_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert not environments._is_whole(tmp_path)

    (tmp_path / environments._MARK).touch()
    assert environments._is_whole(tmp_path)
