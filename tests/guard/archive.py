"""One kept case: run folders, and all that poolproof makes of them, in a file NAME.tar.xz.

It judges by the command line only, so that nothing inside has to stay where it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from poolproof import __main__ as program
from poolproof.history.file import FILE_NAME
from tests.anonymous import copy_history

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEPT: Final = Path(__file__).parent / "kept"
_RUNS: Final = "runs"
_EXPECTED: Final = "expected"
#: What a folder of a run or a matrix is judged from; all else is made of it.
_SOURCES: Final = (FILE_NAME, "plan.json")


def names() -> list[str]:
    """Return the names of the kept cases."""
    return sorted(path.name.removesuffix(".tar.xz") for path in KEPT.glob("*.tar.xz"))


@contextmanager
def opened(name: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folder of a case's runs, which is removed afterwards, and what was made of them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with tarfile.open(_path(name)) as archive:
            archive.extractall(folder, filter="data")
        expected = folder / _EXPECTED
        texts = {
            str(path.relative_to(expected)): path.read_text("utf-8") for path in _files(expected)
        }
        yield folder / _RUNS, texts


def keep(name: str, folders: list[Path]) -> None:
    """Keep runs or matrices, and what is made of them now, as a case."""
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(temporary) / _RUNS
        for folder in folders:
            for source in _files(folder):
                if source.name in _SOURCES:
                    target = runs / folder.name / source.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copy = copy_history if source.name == FILE_NAME else shutil.copy
                    copy(source, target)
        _write(name, runs)


def renew(name: str) -> None:
    """Keep what is made of a case's runs now."""
    with opened(name) as (runs, _):
        _write(name, runs)


def made(runs: Path) -> dict[str, str]:
    """Return all that poolproof makes of the runs in a folder: file or command -> its text.

    Of a table the text is a digest, of a page what a reader sees. Files are written into `runs`.
    """
    texts = {}
    targets = sorted(path for path in runs.iterdir() if path.is_dir())
    for target in targets:
        of = target.name
        texts[f"{of}/terminal.txt"] = _said("report", str(target), "--save")
        if not (target / "plan.json").exists():
            texts[f"{of}/timeline.txt"] = _said("report", str(target), "--timeline")
            texts[f"{of}/timeline.json"] = _said(
                "report", str(target), "--timeline", "--format", "json"
            )
        for path in _files(target):
            # A matrix judges its runs itself, and keeps their summaries beside them.
            if path.parent == target and path.name not in _SOURCES:
                texts[f"{of}/{path.name}"] = _text(path)
    if len(targets) == 2:
        base, new = map(str, targets)
        texts["diff.txt"] = _said("diff", base, new, "--anyway")
        texts["diff.json"] = _said("diff", base, new, "--anyway", "--json")
    return {name: text.replace(str(runs), "RUNS") for name, text in texts.items()}


def _write(name: str, runs: Path) -> None:
    sources = {f"{_RUNS}/{path.relative_to(runs)}": path.read_bytes() for path in _files(runs)}
    expected = {f"{_EXPECTED}/{key}": text.encode() for key, text in made(runs).items()}
    KEPT.mkdir(exist_ok=True)
    with tarfile.open(_path(name), "w:xz", preset=9) as archive:
        _add(archive, sources)
        _add(archive, expected)


def _add(archive: tarfile.TarFile, files: Mapping[str, bytes]) -> None:
    for name, content in sorted(files.items()):
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def _said(*words: str) -> str:
    """Return what `poolproof WORDS` prints, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    # It runs within the tests, whose signals are theirs.
    with (
        patch.dict(os.environ, COLUMNS="100"),
        patch.object(program, "obey_signals"),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = program.main(words)
    return f"{out.getvalue()}{err.getvalue()}(exit code {code})\n"


def _text(path: Path) -> str:
    content = path.read_bytes()
    match path.suffix:
        case ".parquet":
            return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"
        case ".html":
            return _Visible.of(content.decode())
        case _:
            return content.decode()


class _Visible(HTMLParser):
    """The text of a page, a line an element; not its scripts and styles."""

    _HIDDEN: Final = frozenset({"script", "style"})

    def __init__(self) -> None:
        super().__init__()
        self._hidden = 0
        self._lines: list[str] = []

    @classmethod
    def of(cls, page: str) -> str:
        parser = cls()
        parser.feed(page)
        return "".join(f"{line}\n" for line in parser._lines)

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in self._HIDDEN

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in self._HIDDEN

    def handle_data(self, data: str) -> None:
        if not self._hidden and (words := re.sub(r"\s+", " ", data).strip()):
            self._lines.append(words)


def _path(name: str) -> Path:
    return KEPT / f"{name}.tar.xz"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
