"""The history on disk: one append-only file of frames, checked by a CRC each."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Final, Self, TypeAlias

import numpy as np

from poolproof.history.form import is_text, well_formed
from poolproof_workers.contract import RECORD_BYTES, Entry
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

#: Version of the file.
#: 1: first.
FORMAT: Final = 1
FILE_NAME: Final = "history.log"

#: The records of an entry, as an array.
RECORD_DTYPE: Final = np.dtype(
    [
        ("number", "<u8"),
        ("t_ns", "<i8"),
        ("detail", "<i8"),
        ("tag", "<u4"),
        ("pid", "<u4"),
        ("tid", "<u4"),
        ("event", "<u2"),
        ("unused", "<u2"),
        ("sequence", "<u8"),
    ]
)
assert RECORD_DTYPE.itemsize == RECORD_BYTES  # noqa: S101

_FRAME: Final = struct.Struct("<II")
#: How the body of each frame begins, as `frame` writes it.
_BEGINNING: Final = b'{"id":'
_NOTHING: Final = ("", None)
#: Without what `json.loads` asks first: a long history has some hundred thousand frames.
_decode: Final = json.JSONDecoder().raw_decode
_AT_ONCE: Final = 1 << 20
#: More than any entry: a length above it is a torn or foreign file, not a reason to fill memory.
_MAX_BODY_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes `begin` to `end` of a history that say nothing, though what follows them does."""

    path: Path
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.path} is damaged at byte {self.begin:,}: {self.end - self.begin:,} bytes"


#: Is told of each damage; may raise.
Note: TypeAlias = "Callable[[Damage], None]"


def refuse(damage: Damage) -> None:
    """Raise DiskError: whoever asks cannot do without what stood there."""
    raise DiskError(f"{damage} of it say nothing. Take it from a copy, or run it again.")


def records(entry: Entry) -> np.ndarray:
    """Return the records of an entry as an array of `RECORD_DTYPE`, without a copy."""
    return np.frombuffer(entry.data, RECORD_DTYPE)


def read(path: Path, note: Note = refuse) -> Iterator[tuple[str, Entry]]:
    """Yield (stream id, entry) of a history file, in order, up to its end or a torn last frame.

    Torn is what no frame follows. Other bytes that are no frame, or one that says what no history
    says, are damage: `note` is told, and reading goes on with the next frame.

    Raises DiskError if the file cannot be read or is of another version.
    """
    for identifier, entry, _ in read_from(path, note=note):
        yield identifier, entry


def read_from(path: Path, begin: int = 0, note: Note = refuse) -> Iterator[tuple[str, Entry, int]]:
    """Yield (stream id, entry, offset of its end) as `read` does, from an entry's end on."""
    try:
        with path.open("rb", buffering=0) as file:
            for identifier, entry, end in _frames(path, file, begin, note):
                if entry is not None:
                    yield identifier, entry, end
    except OSError as error:
        raise DiskError(f"Cannot read {path}: {error.strerror}.") from error


def tail(path: Path, note: Note = refuse) -> Iterator[Entry | None]:
    """Yield each entry of a history that may still grow; None whenever there is no more of it yet.

    Raises what `read` raises, and tells `note` as it does.
    """
    begin = 0
    try:
        while True:
            with path.open("rb", buffering=0) as file:
                for _, entry, end in _frames(path, file, begin, note):
                    begin = end
                    if entry is not None:
                        yield entry
            yield None
    except OSError as error:
        raise DiskError(f"Cannot read {path}: {error.strerror}.") from error


def _frames(
    path: Path, file: IO[bytes], begin: int, note: Note
) -> Iterator[tuple[str, Entry | None, int]]:
    """Yield each whole frame's (stream id, entry, offset of its end), from offset `begin` on.

    The entry is None for what is no frame, or says what no history says.
    """
    unpack, head_bytes, checksum_of = _FRAME.unpack_from, _FRAME.size, zlib.crc32
    file.seek(begin)
    held, at, before = b"", 0, begin  # what is read, where we are in it, where it begins
    view = memoryview(held)
    while True:
        body = at + head_bytes
        length, checksum = unpack(held, at) if body <= len(held) else (1, 0)
        end = body + length
        if end > len(held) and before + end <= os.fstat(file.fileno()).st_size:
            held, at, before = held[at:] + file.read(max(_AT_ONCE, end - at)), 0, before + at
            view = memoryview(held)
            continue
        if not _fits(length) or end > len(held) or checksum_of(view[body:end]) != checksum:
            following = _following(file, before + at)
            if following is None:
                return  # torn
            if following > before + at:
                note(Damage(path, before + at, following))
                yield "", None, following
            file.seek(following)
            held, at, before = b"", 0, following
            continue
        # Cut out of what was read, not of a copy of the frame: there are a million of them.
        cut = held.find(b"\n", body, end)
        identifier, entry = _parse(held[body:cut], held[cut + 1 : end]) if cut >= 0 else _NOTHING
        if entry is None:
            note(Damage(path, before + at, before + end))
        elif before + at == 0:
            _check_format(entry)
        at = end
        yield identifier, entry, before + at


def _parse(head: bytes, data: bytes) -> tuple[str, Entry | None]:
    """Return a frame's stream id and entry; the latter is None if no history says such."""
    try:
        fields = _decode(head.decode())[0]
        entry = Entry(fields["k"], fields["w"], fields["s"], fields["n"], data)
        identifier = fields["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return _NOTHING
    return (identifier, entry) if is_text(identifier) and well_formed(entry) else _NOTHING


def _fits(length: int) -> bool:
    return 0 < length <= _MAX_BODY_BYTES


def _following(file: IO[bytes], bad: int) -> int | None:
    """Return where a frame begins after a bad one; None if none does.

    Returns `bad` itself if that has become whole: it was being written as it was read.
    """
    handle, at = file.fileno(), bad + 1
    while piece := os.pread(handle, _AT_ONCE, at):
        found = piece.find(_BEGINNING)
        while found >= 0:
            if at + found - _FRAME.size > bad and _is_whole(handle, at + found - _FRAME.size):
                return bad if _is_whole(handle, bad) else at + found - _FRAME.size
            found = piece.find(_BEGINNING, found + 1)
        at += max(len(piece) - len(_BEGINNING) + 1, 1)
    return None


def _is_whole(handle: int, at: int) -> bool:
    head = os.pread(handle, _FRAME.size, at)
    length, checksum = _FRAME.unpack(head) if len(head) == _FRAME.size else (0, 0)
    if not _fits(length) or at + _FRAME.size + length > os.fstat(handle).st_size:
        return False
    return zlib.crc32(os.pread(handle, length, at + _FRAME.size)) == int(checksum)


def _check_format(first: Entry) -> None:
    op = first.op if first.kind == "op" else {}
    if op.get("op") != "format" or op.get("version") != FORMAT:
        raise DiskError(
            f"This history is of format {op.get('version')}, not {FORMAT}: "
            "judge it with the version of poolproof that wrote it."
        )


def frame(identifier: str, entry: Entry) -> list[bytes]:
    """Return the pieces of the frame of an entry; their sum is what the file holds."""
    names = {"id": identifier, "k": entry.kind, "w": entry.worker, "s": entry.source}
    head = json.dumps({**names, "n": entry.sequence}, separators=(",", ":")).encode() + b"\n"
    checksum = zlib.crc32(entry.data, zlib.crc32(head))
    return [_FRAME.pack(len(head) + len(entry.data), checksum) + head, entry.data]


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequences `first` to `last` of a source that were lost."""

    source: str
    first: int
    last: int


@dataclass(slots=True)
class Sequences:
    """What has been taken of each source: drops what comes twice and notices what is missing."""

    #: source -> highest sequence taken. May be given what was taken before.
    highest: dict[str, int] = field(default_factory=dict)
    #: Whether anything came that had been noticed as missing: it was dropped.
    late: bool = False
    #: source -> what was missing, in its order
    _gaps: dict[str, list[Gap]] = field(default_factory=dict)

    def fresh(self, entry: Entry) -> tuple[Entry | None, Gap | None]:
        """Return the part of an entry that is new (None if nothing is), and the gap before it."""
        taken = self.highest.get(entry.source, 0)
        last = entry.sequence + entry.count - 1
        if entry.sequence <= taken:
            self.late = self.late or self._was_missing(entry.source, entry.sequence, last)
        if last <= taken:
            return None, None
        self.highest[entry.source] = last
        if entry.sequence > taken:
            lost = entry.sequence - taken - 1
            return entry, self._gap(entry.source, taken + 1, taken + lost) if lost else None
        skip = (taken + 1 - entry.sequence) * RECORD_BYTES
        return replace(entry, sequence=taken + 1, data=entry.data[skip:]), None

    def _gap(self, source: str, first: int, last: int) -> Gap:
        gap = Gap(source, first, last)
        self._gaps.setdefault(source, []).append(gap)
        return gap

    def _was_missing(self, source: str, first: int, last: int) -> bool:
        gaps = self._gaps.get(source, [])
        at = bisect_left(gaps, first, key=lambda gap: gap.last)
        return at < len(gaps) and gaps[at].first <= last


class HistoryWriter:
    """Appends entries to a history file; only one at a time can hold it.

    Opening a file that another left cuts off a torn last frame. What `append` has returned from is
    with the kernel: it survives the death of this process.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, made if it is not there. Raises DiskError."""
        self.path = path
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: PTH123, SIM115  held until close
        except OSError as error:
            raise DiskError(f"Cannot write {path}: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise DiskError(f"Another collector writes {path}: stop one of the two.") from error

    def resume(self) -> Iterator[tuple[str, Entry]]:
        """Yield what the file holds, and then cut off what is torn. Exhaust it before `append`.

        Damage before that is left as it is: whoever judges the history will find it.
        """
        whole = 0
        with self.path.open("rb", buffering=0) as file:
            for identifier, entry, end in _frames(self.path, file, 0, lambda _: None):
                whole = end
                if entry is not None:
                    yield identifier, entry
        os.ftruncate(self._file.fileno(), whole)

    def append(self, entries: list[tuple[str, Entry]]) -> None:
        """Append entries in order. Raises DiskError if the disk does not take them."""
        pieces: list[bytes] = []
        for identifier, entry in entries:
            pieces += frame(identifier, entry)
        self._write(b"".join(pieces))

    def _write(self, data: bytes) -> None:
        left, begin = memoryview(data), os.fstat(self._file.fileno()).st_size
        try:
            while left:
                left = left[os.write(self._file.fileno(), left) :]
        except OSError as error:
            # Half a frame with others after it would be damage.
            os.ftruncate(self._file.fileno(), begin)
            raise DiskError(f"Cannot write {self.path}: {error.strerror}.") from error

    def close(self) -> None:
        """Close the file and let go of it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
