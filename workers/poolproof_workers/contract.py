"""What both sides agree on: task ids, records, rings, key names, the wire form of the history.

Everything here is data. A change of `RING_RECORD` or of an event's number is a new `LAYOUT`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    import numpy as np

    # An int, or an array of unsigned 64-bit ones.
    Numbers = TypeVar("Numbers", int, "np.ndarray")

# --- task ids ---------------------------------------------------------------------------------

#: A UUID of version 8 ("custom"): the first 32 bits name the run, the last 48 the task.
_TASK_ID: Final = "{run:08x}-0000-8000-8000-{number:012x}"
MAX_NUMBER: Final = (1 << 48) - 1


def task_id(run: int, number: int) -> str:
    """Return the Celery id of task `number` (0 to 2^48 - 1) of the run with the tag `run`."""
    return _TASK_ID.format(run=run, number=number)


def parse_task_id(text: str) -> tuple[int, int]:
    """Return (run tag, number). Any UUID parses: a foreign one gives a tag that no run of ours has.

    Raises ValueError for a text that is not a UUID in the usual form.
    """
    return int(text[:8], 16), int(text[24:], 16)


# --- the record ---------------------------------------------------------------------------------

#: As a history has it: number u64, monotonic ns i64, detail i64, run tag u32, pid u32, slot u32,
#: event u16, unused u16, sequence u64. The slot is the native thread id, or the place (1, 2, ...)
#: in a pool of greenlets. The sequence is 1, 2, 3, ... in one ring.
RECORD: Final = struct.Struct("<QqqIIIHHQ")
RECORD_BYTES: Final = RECORD.size
assert RECORD_BYTES == 48  # noqa: S101
#: The bits of a result that a record keeps.
KEPT: Final = (1 << 63) - 1


class Event(IntEnum):
    """What a record says happened to a task."""

    RECEIVED = 1  #: the main process took it from the broker
    STARTED = 2  #: a slot began to run it
    SUCCEEDED = 3  #: it ran to its end; detail is its result (see `result_detail`)
    FAILED = 4  #: it ended in an exception that Celery handled
    RETRIED = 5  #: it ended by asking for another attempt
    ABANDONED = 6  #: the slot left it with no state that Celery keeps (SystemExit, Reject, Ignore)
    REVOKED = 7  #: Celery revoked it
    REPORTED = 8  #: the main process says that its slot failed it; detail is a `Report`
    FAULT = 9  #: it is about to do its fault; detail is a `fault_detail`


class Report(IntEnum):
    """Why the main process reported a failure for a slot."""

    OTHER = 0
    WORKER_LOST = 1
    TIME_LIMIT = 2
    TERMINATED = 3


class Stamped(str):
    """Text as a task's result, with the bits that a record keeps of it."""

    __slots__ = ("stamp",)
    stamp: int

    @classmethod
    def of(cls, content: str, stamp: int) -> Self:
        """Return the text with its stamp."""
        made = cls(content)
        made.stamp = stamp
        return made


def result_detail(value: object) -> int:
    """Return the 63 bits of a task's result that a record keeps.

    An int's lowest, or those that a text is stamped with; otherwise 0.
    """
    if isinstance(value, int):
        return value & KEPT
    return value.stamp & KEPT if isinstance(value, Stamped) else 0


def fold(number: Numbers, fact: int) -> Numbers:
    """Return 63 bits that tell a task's number and a fact about its work.

    `number` is an int or an array of uint64; so is what comes back.
    """
    return (number * 0x9E37_79B9_7F4A_7C15 + (fact & KEPT)) & KEPT


def fault_detail(index: int, way: int) -> int:
    """Return the detail of a fault's record: its index in `FAULTS`, and how (`Way`) it is done."""
    return way << 16 | index


def parse_fault_detail(detail: int) -> tuple[int, int]:
    """Return (index, way)."""
    return detail & 0xFFFF, detail >> 16


# --- the ring file ------------------------------------------------------------------------------

#: Version of the header and of what follows it.
#: 1: first. 2: a record has the task's id as text, and a line of a processor's cache for itself.
LAYOUT: Final = 2

#: magic, layout, bytes a record, capacity in records, pid, monotonic ns of its opening; 64 bytes.
RING_HEADER: Final = struct.Struct("<8sIIIIq32x")
RING_HEADER_BYTES: Final = RING_HEADER.size
RING_MAGIC: Final = b"poolring"
#: A record as a ring has it: the task's id (36 characters), slot u32, monotonic ns i64, detail i64,
#: and last, as it commits: sequence << 8 | event, u64. To read numbers out of the id is left to
#: whoever reads the ring: the process under measurement has better things to do.
RING_RECORD: Final = struct.Struct("<36sIqqQ")
RING_RECORD_BYTES: Final = RING_RECORD.size
assert RING_RECORD_BYTES == 64  # noqa: S101
RING_EVENT_BITS: Final = 8
#: Records a ring holds: 14 s of the fastest worker known (1,150 tasks/s), in 1 MiB.
RING_CAPACITY: Final = 16_384
RING_SUFFIX: Final = ".ring"


# --- keys ---------------------------------------------------------------------------------------

DEFAULT_NAMESPACE: Final = "poolproof"
#: Of the highest sequence that may be: it fits 64 bits.
_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all that poolproof keeps in a Redis: each starts with the namespace."""

    namespace: str = DEFAULT_NAMESPACE

    @property
    def pattern(self) -> str:
        """Matches every key that poolproof, or Celery on its behalf, makes (for SCAN)."""
        return f"{self.namespace}:*"

    @property
    def celery_prefix(self) -> str:
        """Celery's `global_keyprefix`: its queues, `unacked` and bindings lie under it."""
        return f"{self.namespace}:celery:"

    @property
    def results_prefix(self) -> str:
        """Celery's results lie under it."""
        return f"{self.namespace}:results:"

    def queue(self, side: str) -> str:
        """List of messages that wait for the workers of `side`; the newest on the left."""
        return f"{self.celery_prefix}{side}"

    def unacked(self, side: str) -> str:
        """Hash delivery tag -> message, of those that workers of `side` took and did not ack."""
        return f"{self.celery_prefix}{unacked_names(side)['unacked_key']}"

    def unacked_index(self, side: str) -> str:
        """Sorted set delivery tag -> Unix time in seconds at which it was taken."""
        return f"{self.celery_prefix}{unacked_names(side)['unacked_index_key']}"

    @property
    def history(self) -> str:
        """Stream of `Entry`: everything that happens."""
        return f"{self.namespace}:history"

    @property
    def saved(self) -> str:
        """Hash source -> highest sequence of it that the collector has on disk."""
        return f"{self.namespace}:saved"

    @property
    def run(self) -> str:
        """String: id of the run in progress. A supervisor that sees a new one says `hello`."""
        return f"{self.namespace}:run"

    @property
    def flush(self) -> str:
        """String: a token. A supervisor that sees a new one ships all it has and says `flushed`."""
        return f"{self.namespace}:flush"

    @property
    def progress(self) -> str:
        """String, JSON: what the collector knows of the run in progress (collect/progress.py)."""
        return f"{self.namespace}:progress"

    @property
    def judged(self) -> str:
        """String, JSON {run, code, error}: the run that a collector judged last; its exit code."""
        return f"{self.namespace}:judged"

    @property
    def collector(self) -> str:
        """String, JSON, expiring: the one collector that may take from the history."""
        return f"{self.namespace}:collector"

    def worker(self, name: str) -> str:
        """String, JSON, expiring: the registration of a worker, renewed by its supervisor."""
        return f"{self.namespace}:worker:{name}"

    def orders(self, name: str) -> str:
        """List of JSON orders for the supervisor of the worker `name` (RPUSH by us, LPOP by it)."""
        return f"{self.namespace}:orders:{name}"

    def work(self, number: int) -> str:
        """String, expiring: what task `number` writes and reads, if its work is round trips."""
        return f"{self.namespace}:work:{number}"

    @property
    def controls(self) -> str:
        """List of JSON: what people at the live page ask of a demonstration (RPUSH by the page)."""
        return f"{self.namespace}:controls"

    @property
    def ordered(self) -> str:
        """Hash worker -> JSON {run, settings}: what a run ordered, for a supervisor that comes."""
        return f"{self.namespace}:ordered"


def unacked_names(side: str) -> dict[str, str]:
    """Return the transport options that give each side an `unacked` of its own.

    Celery's default is one for all queues of a database; then a side's worker would restore the
    other side's messages, and the shortest visibility timeout would hold for all.
    """
    return {
        "unacked_key": f"unacked:{side}",
        "unacked_index_key": f"unacked_index:{side}",
        "unacked_mutex_key": f"unacked_mutex:{side}",
    }


def parsed(text: bytes | str | None) -> dict[str, Any]:
    """Read a JSON object that a key holds; empty if there is none, or none of ours."""
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def saved_sequence(text: bytes | None) -> int:
    """Read what `saved` holds of a source; 0 if that is nothing, or none of ours."""
    return int(text) if text and len(text) <= _DIGITS and text.isdigit() else 0


# --- the wire form of the history -----------------------------------------------------------------


@dataclass(slots=True)  # frozen, it would take four times as long to make: there are millions
class Entry:
    """One entry of the history: a batch of records of one ring, or one op. Nobody changes it.

    A source (a ring, or one process that writes ops) numbers what it writes 1, 2, 3, ...; an entry
    may be sent more than once, and whoever reads drops what it has.
    """

    kind: str  #: "records" or "op"
    worker: str  #: name of the worker, or of the service ("producer", "collector")
    source: str
    sequence: int  #: of the first record, or of the op
    data: bytes  #: records back to back, or the op as JSON

    @property
    def count(self) -> int:
        """Number of sequences that this entry takes."""
        return len(self.data) // RECORD_BYTES if self.kind == "records" else 1

    @property
    def op(self) -> dict[str, Any]:
        """The op of an entry of that kind."""
        op: dict[str, Any] = json.loads(self.data)
        return op

    def fields(self) -> dict[str | bytes, str | int | bytes]:
        """Return the fields of the stream entry."""
        return {
            "k": self.kind,
            "w": self.worker,
            "s": self.source,
            "n": self.sequence,
            "d": self.data,
        }

    @classmethod
    def from_fields(cls, fields: dict[bytes, bytes]) -> Entry:
        """Read the fields of a stream entry. Raises KeyError or ValueError if they are not ours."""
        return cls(
            kind=fields[b"k"].decode(),
            worker=fields[b"w"].decode(),
            source=fields[b"s"].decode(),
            sequence=int(fields[b"n"]),
            data=fields[b"d"],
        )

    @classmethod
    def if_ours(cls, fields: dict[bytes, bytes]) -> Entry | None:
        """Read the fields of a stream entry; None if somebody else wrote it."""
        try:
            entry = cls.from_fields(fields)
            if entry.kind == "records":
                is_ours = entry.count > 0 and len(entry.data) == entry.count * RECORD_BYTES
            else:
                is_ours = entry.kind == "op" and _is_op(entry.op)
        except (KeyError, ValueError, RecursionError):
            return None
        return entry if is_ours and entry.sequence > 0 else None

    @classmethod
    def of_op(cls, worker: str, source: str, sequence: int, op: dict[str, Any]) -> Entry:
        """Make the entry of an op. Every op has `op` (its name), `t_ns` (monotonic) and `boot`."""
        data = json.dumps(op, separators=(",", ":")).encode()
        if rb"\ud" in data:
            # Half a pair is no character, though a path or a command line may hold one.
            text = json.dumps(op, separators=(",", ":"), ensure_ascii=False)
            data = text.encode(errors="replace")
        return cls("op", worker, source, sequence, data)


def _is_op(op: object) -> bool:
    """Tell whether it has what every op has."""
    return (
        isinstance(op, dict) and isinstance(op.get("op"), str) and isinstance(op.get("t_ns"), int)
    )
