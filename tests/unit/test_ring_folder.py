"""The folder of a worker's rings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from poolproof.runner import local_environment
from poolproof_workers.errors import DiskError, WorkerError
from poolproof_workers.pools import PoolSpec
from poolproof_workers.recorder.ring import Ring
from poolproof_workers.supervisor.ring_folder import RingFolder, State


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rings" / "worker@host"


def test_it_is_ours_alone_and_private(path: Path) -> None:
    folder = RingFolder(path, "worker@host")

    with pytest.raises(WorkerError, match="worker@host runs here already"):
        RingFolder(path, "worker@host")
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o700
    folder.close()
    RingFolder(path, "worker@host").close()


def _another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, 12_345, 12_345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


def test_a_folder_of_rings_that_others_could_exchange_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = path.parent
    elsewhere = parent.with_name("elsewhere")
    elsewhere.mkdir()
    parent.symlink_to(elsewhere)
    with pytest.raises(DiskError, match=f"rings {parent} is a link. Choose another"):
        RingFolder(path, "worker@host")
    parent.unlink()
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(DiskError, match="can be written by other users"):
        RingFolder(path, "worker@host")
    parent.chmod(0o1777)
    path.symlink_to(elsewhere)
    with pytest.raises(DiskError, match="cannot be used"):
        RingFolder(path, "worker@host")
    path.unlink()
    RingFolder(path, "worker@host").close()
    _another_user(parent, monkeypatch)
    with pytest.raises(DiskError, match="belongs to another user"):
        RingFolder(path, "worker@host")

    assert list(elsewhere.iterdir()) == []


def test_a_local_run_touches_nothing_where_others_could_exchange_its_rings(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = path.parent
    elsewhere = parent.with_name("elsewhere")
    left = elsewhere / "poolproof-scratch-left"
    left.mkdir(parents=True)
    parent.symlink_to(elsewhere)
    monkeypatch.setenv("POOLPROOF_RINGS", str(parent))

    with pytest.raises(DiskError, match=f"rings {parent} is a link. Choose another"):
        local_environment._ring_folder().__enter__()
    assert list(elsewhere.iterdir()) == [left]
    parent.unlink()
    elsewhere.rename(parent)
    with local_environment._ring_folder() as rings:
        assert list(parent.iterdir()) == [rings]


def test_rings_are_found_once_and_drafts_are_not(path: Path) -> None:
    folder = RingFolder(path, "worker@host")
    ring = Ring.create(path, 64)
    (path / "1-2.part").touch()

    assert [tape.name for tape in folder.scan()] == [f"worker@host/{ring.path.stem}"]
    assert folder.scan() == []
    Ring.create(path, 64)
    assert len(folder.scan()) == 1
    assert len(folder.tapes) == 2


def test_what_is_empty_is_removed_and_a_ring_is_kept(path: Path) -> None:
    folder = RingFolder(path, "worker@host")
    Ring.create(path, 64)
    folder.scan()
    folder.close()
    assert path.exists()

    folder = RingFolder(path, "worker@host")
    for tape in folder.scan():
        folder.discard(tape)
    folder.close()

    assert not path.parent.exists()


def test_a_successor_reads_the_state(path: Path) -> None:
    folder = RingFolder(path, "worker@host")
    assert folder.state == State()
    folder.state.run = "run"
    folder.state.bases = {"a": 3}
    folder.save_state()
    Ring.create(path, 64)
    folder.scan()
    folder.close()

    assert RingFolder(path, "worker@host").state == State(run="run", bases={"a": 3})


def test_a_damaged_state_counts_as_none(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "state.json").write_text('{"run": ')

    assert RingFolder(path, "worker@host").state == State()


def test_the_word_of_a_ready_worker_is_taken_once(path: Path) -> None:
    folder = RingFolder(path, "worker@host")
    assert not folder.take_ready(12)
    (path / "12.ready").touch()

    assert folder.take_ready(12)
    assert not folder.take_ready(12)


def test_room_is_needed_for_every_process_but_not_for_threads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RingFolder(path, "worker@host")
    usage = type("Usage", (), {"free": 6 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    folder.require_room(PoolSpec.parse("prefork:3"))
    folder.require_room(PoolSpec.parse("threads:10000"))
    with pytest.raises(DiskError, match="has 6 MiB free and needs 7 MiB"):
        folder.require_room(PoolSpec.parse("prefork:4"))


@pytest.mark.parametrize("place", ["/dev/null/rings/worker", "/proc/rings/worker"])
def test_a_folder_that_cannot_be_made_is_named(place: str) -> None:
    with pytest.raises(DiskError, match=f"The ring folder {place} cannot be used: "):
        RingFolder(Path(place), "worker")
