"""What a failed test leaves to look at: what its processes printed, and the end of each history."""

from __future__ import annotations

import json
import re
import shutil
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from poolproof.history.file import FILE_NAME, read, records
from poolproof_workers.contract import Event
from poolproof_workers.errors import PoolproofError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolproof_workers.contract import Entry

_LINES: Final = 60
_NAME_CHARACTERS: Final = 120
_TAIL_BYTES: Final = 64 << 10


def of(fixtures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (title, text) of all that lies in the folders of a test's fixtures."""
    files = _files(fixtures)
    return [*_histories(files), *_logs(files)]


def keep(name: str, fixtures: Mapping[str, Any], into: Path) -> None:
    """Copy the histories of a test's fixtures to `into`/NAME: pytest removes its folders soon."""
    target = into / re.sub(r"[^\w.-]+", "-", name)[-_NAME_CHARACTERS:]
    shutil.rmtree(target, ignore_errors=True)
    for path in _files(fixtures):
        if path.name == FILE_NAME:
            (target / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / path.parent.name)


def _files(fixtures: Mapping[str, Any]) -> list[Path]:
    folders = {
        found
        for value in fixtures.values()
        if isinstance(found := getattr(value, "folder", value), Path) and found.is_dir()
    }
    return sorted({path for folder in folders for path in folder.rglob("*") if path.is_file()})


def _histories(files: list[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        if path.name == FILE_NAME:
            lines: deque[str] = deque(maxlen=_LINES)
            try:
                for _, entry in read(path, lambda _: None):
                    lines.extend(_told(entry))
            except (PoolproofError, ValueError, KeyError) as error:
                lines.append(f"cannot be read: {error!r}")
            yield f"the end of {path}", "\n".join(lines)


def _told(entry: Entry) -> Iterator[str]:
    if entry.kind == "op":
        yield f"{entry.source} {entry.sequence}: {json.dumps(entry.op)}"
        return
    for record in records(entry):
        event = Event(record["event"]).name.lower()
        yield f"{entry.source} {record['t_ns']}: {record['number']} {event} pid {record['pid']}"


def _logs(files: list[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        if path.name != FILE_NAME and (path.name == "log" or path.suffix in {".log", ".txt"}):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
            if lines:
                yield f"the end of {path}", "\n".join(lines[-_LINES:])
