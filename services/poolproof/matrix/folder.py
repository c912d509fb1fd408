"""The folder of a matrix: its plan and its runs. Whoever asks for the same plan goes on with it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from poolproof.judge.faults.matrix import assemble
from poolproof.judge.save import SUMMARY_NAME, summaries, write_whole
from poolproof.judge.summary import summarise
from poolproof_workers.errors import DiskError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

PLAN_NAME: Final = "plan.json"
MATRIX_PREFIX: Final = "matrix-"


class MatrixFolder:
    """Held by one process at a time. A context manager: lets go of the folder."""

    def __init__(self, path: Path) -> None:
        """Hold a folder that has a plan. Raises UsageError if another process does."""
        self.path = path
        self.plan: dict[str, Any] = json.loads((path / PLAN_NAME).read_bytes())
        self._known: set[Path] = set()
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise UsageError(
                f"The matrix in {path} is being played: wait for it, or ask for another one."
            ) from error

    @classmethod
    def open(cls, out: Path, plan: Mapping[str, Any], *, anew: bool = False) -> Self:
        """Return the newest unfinished matrix of this plan in `out`, or a new one.

        Raises DiskError if `out` cannot be written, UsageError if another process plays it.
        """
        mark = _mark(plan)
        for path in sorted(out.glob(f"{MATRIX_PREFIX}*-{mark}"), reverse=True):
            if not anew and (path / PLAN_NAME).is_file() and not matrix_of(path)["complete"]:
                return cls(path)
        name = f"{MATRIX_PREFIX}{datetime.now(UTC):%Y%m%d-%H%M%S}-{mark}"
        try:
            (out / name).mkdir(parents=True)
            write_whole(out / name / PLAN_NAME, json.dumps({"matrix": name, **plan}, indent=2))
        except OSError as error:
            raise DiskError(
                f"cannot write to {out}: {error.strerror}. Name another folder with --out."
            ) from error
        return cls(out / name)

    def finished(self) -> list[dict[str, Any]]:
        """Return the summaries of the runs that were finished since this was last called."""
        paths = set(self.path.glob(f"*/{SUMMARY_NAME}")) - self._known
        self._known |= paths
        return [json.loads(path.read_bytes()) for path in paths]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def matrix_of(path: Path, *, again: bool = False) -> dict[str, Any]:
    """Return the matrix of a folder, as far as it is finished; judge its runs `again` or not."""
    plan = json.loads((path / PLAN_NAME).read_bytes())
    if again:
        judged = [summarise(file.parent) for file in path.glob(f"*/{SUMMARY_NAME}")]
        return assemble(plan, judged)
    return assemble(plan, summaries(path))


def _mark(plan: Mapping[str, Any]) -> str:
    text = json.dumps(plan, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
