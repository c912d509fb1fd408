"""The folder of a worker's rings: one supervisor at a time, and nothing left behind unread."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from poolproof_workers.contract import (
    RING_CAPACITY,
    RING_HEADER_BYTES,
    RING_RECORD_BYTES,
    RING_SUFFIX,
)
from poolproof_workers.errors import DiskError, WorkerError
from poolproof_workers.recorder.recorder import READY_SUFFIX
from poolproof_workers.supervisor.ring_cursor import RingCursor

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof_workers.pools import PoolSpec

_STATE: Final = "state.json"
_RING_BYTES: Final = RING_HEADER_BYTES + RING_CAPACITY * RING_RECORD_BYTES


@dataclass(slots=True)
class State:
    """What a supervisor leaves for one that comes after it, also after a SIGKILL."""

    run: str | None = None  #: id of the run it is in
    life: int = 0  #: of the Celery worker: 1, 2, 3, ...
    pid: int | None = None  #: of Celery's main process in that life, while it runs
    bases: dict[str, int] = field(default_factory=dict)  #: ring -> last sequence before the run


class RingFolder:
    """Opens, locks and watches a worker's folder. `tapes` are its rings by name.

    Raises DiskError if the folder cannot be used, WorkerError if another supervisor has it.
    """

    def __init__(self, path: Path, worker: str) -> None:
        self.tapes: dict[str, RingCursor] = {}
        self._path = path
        self._worker = worker
        self._known: set[str] = set()
        try:
            self._lock = _lock(path, worker)
            self.state = self._load_state()
        except OSError as error:
            raise DiskError(
                f"The ring folder {path} cannot be used: {error.strerror}."
                " Choose another with POOLPROOF_RINGS."
            ) from error

    def require_room(self, pool: PoolSpec) -> None:
        """Check that every process of a worker gets its ring. Raises DiskError if not."""
        # The main process; where slots are processes all of them, and one that is being replaced.
        needed = _RING_BYTES * (pool.concurrency + 2 if pool.pool.may_have_children else 1)
        free = shutil.disk_usage(self._path).free
        if free < needed:
            raise DiskError(
                f"The ring folder {self._path} has {free >> 20} MiB free and needs"
                f" {-(-needed >> 20)} MiB. Make room or choose another with POOLPROOF_RINGS."
            )

    def scan(self) -> list[RingCursor]:
        """Take in the rings that have appeared and return them."""
        names = {entry.name for entry in os.scandir(self._path)}
        new = []
        for name in sorted(names - self._known):
            if name.endswith(RING_SUFFIX):
                tape = RingCursor(self._path / name, self._worker)
                self.tapes[tape.name] = tape
                new.append(tape)
        self._known = names
        return new

    def take_ready(self, pid: int) -> bool:
        """Tell, once, that the worker whose main process is `pid` has said that it is ready."""
        try:
            (self._path / f"{pid}{READY_SUFFIX}").unlink()
        except FileNotFoundError:
            return False
        return True

    def discard(self, tape: RingCursor) -> None:
        """Remove a ring that nobody needs any more."""
        del self.tapes[tape.name]
        tape.delete()

    def save_state(self) -> None:
        """Write `state` down for the next supervisor."""
        draft = self._path / (_STATE + ".part")
        draft.write_text(json.dumps(asdict(self.state)))
        draft.replace(self._path / _STATE)

    def close(self) -> None:
        """Let go of the folder, and remove it if no ring is left in it."""
        for tape in self.tapes.values():
            tape.close()
        with suppress(OSError):
            if not self.tapes:
                shutil.rmtree(self._path)
                self._path.parent.rmdir()  # fails, as it should, if another worker's is in it
        os.close(self._lock)

    def _load_state(self) -> State:
        try:
            return State(**json.loads((self._path / _STATE).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return State()


def _lock(path: Path, worker: str) -> int:
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_ours(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise WorkerError(
                f"A worker {worker} runs here already. Stop it, or choose another POOLPROOF_NAME."
            ) from error
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise DiskError(f"The ring folder {path} belongs to another user.")
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        # Whoever had the folder removed it between our two steps.
        os.close(descriptor)


def require_ours(folder: Path) -> None:
    """Check that nobody else can put another folder in the place of one in it.

    Raises DiskError if somebody can.
    """
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        why = "is a link"
    elif status.st_uid not in {0, os.geteuid()}:
        why = "belongs to another user"
    elif status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        why = "can be written by other users"
    else:
        return
    raise DiskError(f"The folder of rings {folder} {why}. Choose another with POOLPROOF_RINGS.")
