"""Temporary folders that a later process removes if their owner was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_PREFIX: Final = "poolproof-scratch-"


class Scratch:
    """A temporary folder, mode 0700, that this process holds by a lock on the folder itself.

    The kernel drops the lock when the owner dies, so a folder that can be locked has no owner.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def make(cls, parent: Path | None = None) -> Self:
        """Make a folder in `parent`, by default where temporary files go.

        Raises OSError if `parent` cannot be written.
        """
        while True:
            scratch = cls._lock(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
            # A sweep may lock and remove the folder between its making and our lock.
            if scratch is not None:
                return scratch

    @classmethod
    def abandoned(cls, parent: Path | None = None) -> Iterator[Self]:
        """Yield every folder of this user whose owner is dead; the caller removes each."""
        for path in (parent or Path(tempfile.gettempdir())).glob(f"{_PREFIX}*"):
            scratch = cls._lock(path)
            if scratch is not None:
                yield scratch

    @classmethod
    def _lock(cls, path: Path) -> Self | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(fd).st_uid == os.getuid()
            if mine and os.path.samestat(os.fstat(fd), path.lstat()):
                return cls(path, fd)
        except OSError:
            pass
        os.close(fd)
        return None

    def remove(self) -> None:
        """Remove the folder with all in it. Safe to call more than once."""
        if self._fd < 0:
            return
        # Best effort: what cannot be removed now is found by the next sweep.
        shutil.rmtree(self.path, ignore_errors=True)
        fd, self._fd = self._fd, -1
        with suppress(OSError):
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()
