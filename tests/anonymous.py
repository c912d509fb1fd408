"""A copy of a history that does not say where on a machine it was made."""

from __future__ import annotations

import getpass
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from poolproof.history.file import HistoryWriter, read

#: Folder -> what stands for it: of our project, of Python, and of tests.
_PATHS: Final = {
    str(Path(__file__).parents[1]).encode(): b".",
    sys.base_prefix.encode(): b"python",
    f"{tempfile.gettempdir()}/pytest-of-{getpass.getuser()}".encode(): b"tests",
}


def copy_history(source: Path, target: Path) -> None:
    """Copy a history without names of folders. One that has none is copied as it is, damage too.

    Raises DiskError for damage in one that has some.
    """
    content = source.read_bytes()
    if not any(path in content for path in _PATHS):
        target.write_bytes(content)
        return
    target.unlink(missing_ok=True)
    with HistoryWriter(target) as writer:
        for identifier, entry in read(source):
            data = entry.data
            if entry.kind == "op":
                for path, stand_in in _PATHS.items():
                    data = data.replace(path, stand_in)
            writer.append([(identifier, replace(entry, data=data))])
