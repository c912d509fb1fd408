"""Environments of their own for sides that run on other versions than ours."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import poolproof
import poolproof_workers
from poolproof_workers.errors import DiskError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolproof_workers.pools import Pool

#: What a worker and its supervisor need, whatever the versions.
_BASE: Final = ("celery[redis]", "click", "hiredis", "psutil")
#: What lies between a task and Redis: as here, unless a side names it or its versions need another.
_SAME: Final = (
    *("celery", "kombu", "billiard", "vine", "amqp", "redis", "hiredis"),
    *("click", "psutil", "gevent", "greenlet"),
)
_OURS: Final = (poolproof, poolproof_workers)
_MARK: Final = "poolproof.json"
_LEAST: Final = ("--quiet",)
_PATIENCE: Final = ("--retries", "1", "--timeout", "15", "--disable-pip-version-check")


@dataclass(frozen=True, slots=True)
class Environments:
    """Makes environments in a folder, each once, and finds them there again.

    An environment has the interpreter that runs us, the requirements, and our own packages as
    links: what is measured in it runs the same poolproof on other versions of the rest.
    """

    folder: Path

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> Environments:
        """Keep them where a user's caches are."""
        caches = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(caches) / "poolproof" / "environments")

    def python(self, requirements: Sequence[str], pool: Pool) -> str:
        """Return the interpreter of an environment with these requirements; makes it if need be.

        Raises WorkerError if it cannot be had (the text has the installer's own reason), DiskError
        if the folder cannot be used.
        """
        wanted = sorted({*requirements, *([pool.needs] if pool.needs else [])})
        plan = {
            "python": sys.version,
            "machine": platform.machine(),
            "wanted": wanted,
            "same": dict(_same(wanted)),
        }
        key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):
                if not _is_whole(path):
                    _make(path, wanted)
                    (path / _MARK).write_text(json.dumps(plan, indent=2))
                _link_ours(path)
        except OSError as error:
            raise DiskError(
                f"The environment of a side cannot be kept in {self.folder}: {error.strerror}."
                " Name another folder with XDG_CACHE_HOME."
            ) from error
        return str(_python(path))


def _same(wanted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the packages that are to be as here, with their versions."""
    named = {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in wanted}
    for name in _SAME:
        if name not in named:
            try:
                yield name, metadata.version(name)
            except metadata.PackageNotFoundError:
                continue


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_whole(path: Path) -> bool:
    return (path / _MARK).exists() and _python(path).exists()


def _python(path: Path) -> Path:
    return path / "bin" / "python"


def _make(path: Path, wanted: Sequence[str]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", *_LEAST, "--python", sys.executable, str(path)], wanted)
        install = [uv, "pip", "install", *_LEAST, "--python", str(_python(path))]
    else:
        _run([sys.executable, "-m", "venv", str(path)], wanted)
        install = [str(_python(path)), "-m", "pip", "install", *_LEAST, *_PATIENCE]
    packages = [*wanted, *_BASE]
    try:
        # What a side does not name should differ from the other sides as little as can be.
        with _constraints(_same(wanted)) as file:
            _run([*install, "--constraint", file, *packages], wanted)
    except WorkerError:
        _run([*install, *packages], wanted)


@contextmanager
def _constraints(same: Iterable[tuple[str, str]]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in same)
        file.flush()
        yield file.name


def _run(words: list[str], wanted: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).strip().splitlines()
    errors = [line for line in said if line.startswith("ERROR")] or said
    why = errors[-1].strip() if errors else f"{words[0]} ended with {done.returncode}"
    raise WorkerError(
        f"An environment with {', '.join(wanted)} cannot be made (it takes a package index that can"
        f" be reached): {why}"
    )


def _link_ours(path: Path) -> None:
    """Have the environment import our packages from where we do, also after we have moved."""
    for site in path.glob("lib/python*/site-packages"):
        for package in _OURS:
            link, target = site / package.__name__, Path(str(package.__file__)).parent
            if not link.exists() or link.resolve() != target.resolve():
                link.unlink(missing_ok=True)
                link.symlink_to(target, target_is_directory=True)
