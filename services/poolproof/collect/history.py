"""The history on disk: one append-only file of frames, checked by a CRC each."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, BinaryIO, Final, Self

import numpy as np

from poolproof_workers.contract import RECORD_BYTES, Entry
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
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
#: Without what `json.loads` asks first: a long history has some hundred thousand frames.
_decode: Final = json.JSONDecoder().raw_decode
_AT_ONCE: Final = 1 << 20
#: More than any entry: a length above it is a torn or foreign file, not a reason to fill memory.
_MAX_BODY_BYTES: Final = 1 << 30


def records(entry: Entry) -> np.ndarray:
    """Return the records of an entry as an array of `RECORD_DTYPE`, without a copy."""
    return np.frombuffer(entry.data, RECORD_DTYPE)


def read(path: Path) -> Iterator[tuple[str, Entry]]:
    """Yield (stream id, entry) of a history file, in order, up to its end or a torn last frame.

    Raises DiskError if the file cannot be read or is of another version.
    """
    for identifier, entry, _ in read_from(path):
        yield identifier, entry


def read_from(path: Path, begin: int = 0) -> Iterator[tuple[str, Entry, int]]:
    """Yield (stream id, entry, offset of its end) as `read` does, from an entry's end on."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(begin)
            yield from _frames(file, begin)
    except OSError as error:
        raise DiskError(f"Cannot read {path}: {error.strerror}.") from error


def tail(path: Path) -> Iterator[Entry | None]:
    """Yield each entry of a history that may still grow; None whenever there is no more of it yet.

    Raises DiskError if the file cannot be read or is of another version.
    """
    try:
        with path.open("rb") as file:
            while True:
                begin = file.tell()
                frame = _read_frame(file)
                if frame is None:
                    file.seek(begin)
                    yield None
                    continue
                _, entry = _parse(frame[0])
                if begin == 0:
                    _check_format(entry)
                yield entry
    except OSError as error:
        raise DiskError(f"Cannot read {path}: {error.strerror}.") from error


def _frames(file: IO[bytes], begin: int = 0) -> Iterator[tuple[str, Entry, int]]:
    """Yield each whole frame's (stream id, entry, offset of its end), from offset `begin` on."""
    unpack, head_bytes, checksum_of = _FRAME.unpack_from, _FRAME.size, zlib.crc32
    held, at, before = b"", 0, begin  # what is read, where we are in it, where it begins
    view = memoryview(held)
    while True:
        body = at + head_bytes
        length, checksum = unpack(held, at) if body <= len(held) else (1, 0)
        if length > _MAX_BODY_BYTES:
            return
        end = body + length
        if end > len(held):
            more = file.read(max(_AT_ONCE, end - at))
            if not more:
                return
            held, at, before = held[at:] + more, 0, before + at
            view = memoryview(held)
            continue
        if not length or checksum_of(view[body:end]) != checksum:
            return  # torn: nothing after it is of this history
        # Cut out of what was read, not of a copy of the frame: there are a million of them.
        cut = held.index(b"\n", body, end)
        fields = _decode(held[body:cut].decode())[0]
        data = held[cut + 1 : end]
        entry = Entry(fields["k"], fields["w"], fields["s"], fields["n"], data)
        if before + at == 0:
            _check_format(entry)
        at = end
        yield fields["id"], entry, before + at


def _parse(body: bytes) -> tuple[str, Entry]:
    head, _, data = body.partition(b"\n")
    fields = _decode(head.decode())[0]
    return fields["id"], Entry(fields["k"], fields["w"], fields["s"], fields["n"], data)


def _read_frame(file: BinaryIO) -> tuple[bytes, int] | None:
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(head)
    if not 0 < length <= _MAX_BODY_BYTES:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    return body, _FRAME.size + length


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
    _gaps: list[Gap] = field(default_factory=list)

    def fresh(self, entry: Entry) -> tuple[Entry | None, Gap | None]:
        """Return the part of an entry that is new (None if nothing is), and the gap before it."""
        taken = self.highest.get(entry.source, 0)
        last = entry.sequence + entry.count - 1
        if entry.sequence <= taken:
            self.late = self.late or any(
                gap.source == entry.source and gap.first <= last and entry.sequence <= gap.last
                for gap in self._gaps
            )
        if last <= taken:
            return None, None
        self.highest[entry.source] = last
        if entry.sequence > taken:
            lost = entry.sequence - taken - 1
            return entry, self._gap(entry.source, taken + 1, taken + lost) if lost else None
        skip = (taken + 1 - entry.sequence) * RECORD_BYTES
        return replace(entry, sequence=taken + 1, data=entry.data[skip:]), None

    def _gap(self, source: str, first: int, last: int) -> Gap:
        self._gaps.append(Gap(source, first, last))
        return self._gaps[-1]


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
        """Yield what the file holds, and then cut off what is torn. Exhaust it before `append`."""
        whole = 0
        with self.path.open("rb", buffering=0) as file:
            for identifier, entry, end in _frames(file):
                whole = end
                yield identifier, entry
        os.ftruncate(self._file.fileno(), whole)

    def append(self, entries: list[tuple[str, Entry]]) -> None:
        """Append entries in order. Raises DiskError if the disk does not take them."""
        pieces: list[bytes] = []
        for identifier, entry in entries:
            pieces += frame(identifier, entry)
        self._write(b"".join(pieces))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file.fileno(), left) :]
        except OSError as error:
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
