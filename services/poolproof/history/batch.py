"""Records of one or several rings, as columns, in the order in which they came."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from poolproof.history.file import RECORD_DTYPE
from poolproof_workers.contract import RECORD_BYTES

if TYPE_CHECKING:
    from poolproof.history.participants import Source
    from poolproof_workers.contract import Entry

#: Records that are worked on at once when a whole history is read: they fit a processor's cache.
AT_ONCE: Final = 1 << 16
#: Where a record has its time.
_T_NS: Final = struct.Struct("<8xq")


class Piece(NamedTuple):
    """The records of one entry. A tuple, since a long history has some hundred thousand."""

    source: Source
    shift_ns: int  #: to add to its times
    data: bytes


def first_ns(entry: Entry) -> int:
    """Return the time of an entry's first record, on its worker's clock."""
    t_ns: int = _T_NS.unpack_from(entry.data)[0]
    return t_ns


def last_ns(entry: Entry) -> int:
    """Return the time of an entry's last record, on its worker's clock."""
    t_ns: int = _T_NS.unpack_from(entry.data, len(entry.data) - RECORD_BYTES)[0]
    return t_ns


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns of equal length; the records of one ring are in their order."""

    number: np.ndarray
    event: np.ndarray
    t_ns: np.ndarray
    tid: np.ndarray
    detail: np.ndarray
    source: np.ndarray  #: index of the ring

    def __len__(self) -> int:
        return len(self.number)

    def where(self, mask: np.ndarray) -> Self:
        """Return those of a mask."""
        rows = np.flatnonzero(mask)
        names = self.__dataclass_fields__
        return type(self)(*[getattr(self, name).take(rows) for name in names])

    @classmethod
    def of(cls, pieces: list[Piece], tag: int | None, size: int) -> tuple[Self, np.ndarray]:
        """Return the records about tasks 0 to size-1 of the run `tag`, and all as they were."""
        raw = np.frombuffer(b"".join([piece.data for piece in pieces]), RECORD_DTYPE)
        counts = [len(piece.data) // RECORD_DTYPE.itemsize for piece in pieces]
        indexes = np.array([piece.source.index for piece in pieces], np.int32)
        source = np.repeat(indexes, counts)
        t_ns = raw["t_ns"].copy()
        if any(piece.shift_ns for piece in pieces):
            t_ns += np.repeat(np.array([piece.shift_ns for piece in pieces]), counts)
        inside = (raw["tag"] == (-1 if tag is None else tag)) & (raw["number"] < size)
        columns = (raw["number"], raw["event"], t_ns, raw["tid"], raw["detail"], source)
        number, event, t_ns, tid, detail, source = (
            column if inside.all() else column[inside] for column in columns
        )
        return cls(number.astype(np.int64), event.copy(), t_ns, tid.copy(), detail, source), raw
