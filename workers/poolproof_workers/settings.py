"""The environment of a worker, read once into frozen settings."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys
from poolproof_workers.errors import UsageError
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_T = TypeVar("_T")

DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"
_NEVER: Final = "never"


class Policy(StrEnum):
    """When a task's message is acknowledged, and what becomes of it if its slot is lost."""

    EARLY = "early"  #: acknowledged before it runs (Celery's default)
    LATE = "late"  #: acknowledged after it ran, or when its slot was lost
    LATE_REJECT = "late-reject"  #: put back at once when its slot was lost, without end
    LATE_RETRY = "late-retry"  #: sent again, a bounded number of times (Celery 5.7)


class Results(StrEnum):
    """Where the results of tasks go."""

    NONE = "none"  #: nowhere: tasks ignore them
    REDIS = "redis"  #: into the broker's Redis, under our namespace, until the run ends


class Serializer(StrEnum):
    """How a message holds its arguments. A worker accepts its own and JSON, and never pickle."""

    JSON = "json"
    YAML = "yaml"  #: needs PyYAML


class Optimization(StrEnum):
    """Celery's `-O`."""

    DEFAULT = "default"
    FAIR = "fair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that a worker and its supervisor are told."""

    pool: PoolSpec
    side: str  #: label of this side of a comparison, and its queue
    name: str  #: of the worker, and Celery's node name: `SIDE@HOST`
    redis_url: str = field(repr=False)  # it may hold a password
    namespace: str
    policy: Policy
    prefetch: int  #: messages reserved a slot (Celery's multiplier); 0 is no limit
    visibility_timeout_s: float
    restore_interval_s: float
    restore_throttle: int
    events: bool  #: Celery's own task events (`-E`)
    allow_faults: bool
    rings: Path  #: folder of all workers' rings
    restart_delay_s: float | None  #: None: a worker that died is not restarted
    retry_delay_s: float
    soft_time_limit_s: float | None = None  #: Celery's limits; None: no limit
    time_limit_s: float | None = None
    max_memory_per_child_kb: int | None = None
    include: tuple[str, ...] = ()  #: further modules that Celery imports (`--include`)
    results: Results = Results.NONE
    serializer: Serializer = Serializer.JSON
    optimization: Optimization = Optimization.DEFAULT
    broker_url: str = field(default="", repr=False)  #: where Celery finds it; empty: `redis_url`

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the `POOLPROOF_*` variables. An empty one counts as unset.

        Raises UsageError, which names the variable, its value and what is allowed.
        """
        take = _Variables(environ).take
        pool = take("POOL", "prefork:4", PoolSpec.parse, "")
        side = take("SIDE", pool.label, _word, _WORD_RULE)
        return cls(
            pool=pool,
            side=side,
            name=take("NAME", side.replace(":", "-"), _node_name, _WORD_RULE),
            redis_url=take(
                "REDIS_URL", environ.get("REDIS_URL") or DEFAULT_REDIS_URL, redis_url, _URL_RULE
            ),
            namespace=take("NAMESPACE", DEFAULT_NAMESPACE, _plain_word, _PLAIN_RULE),
            policy=take("POLICY", "early", Policy, _one_of(Policy)),
            prefetch=take(
                "PREFETCH", "4", _whole(0), f"a whole number from 0 (no limit) to {_MOST}"
            ),
            visibility_timeout_s=take("VISIBILITY_TIMEOUT_S", "3600", _seconds, _SECONDS_RULE),
            restore_interval_s=take("RESTORE_INTERVAL_S", "10", _seconds, _SECONDS_RULE),
            restore_throttle=take("RESTORE_THROTTLE", "10", _whole(1), _FROM_1),
            events=take("EVENTS", "0", _flag, _FLAG_RULE),
            allow_faults=take("ALLOW_FAULTS", "0", _flag, _FLAG_RULE),
            rings=take("RINGS", "", _rings, "an absolute path"),
            restart_delay_s=_restart_delay(environ),
            retry_delay_s=take("RETRY_DELAY_S", "180", _seconds_or_none, _SECONDS_RULE),
            soft_time_limit_s=take("SOFT_TIME_LIMIT_S", "", _limit(_seconds), _SECONDS_RULE),
            time_limit_s=take("TIME_LIMIT_S", "", _limit(_seconds), _SECONDS_RULE),
            max_memory_per_child_kb=take("MAX_MEMORY_PER_CHILD_KB", "", _limit(_whole(1)), _FROM_1),
            include=take("INCLUDE", "", _modules, "a list of modules, with commas between them"),
            results=take("RESULTS", "none", Results, _one_of(Results)),
            serializer=take("SERIALIZER", "json", Serializer, _one_of(Serializer)),
            optimization=take("OPTIMIZATION", "default", Optimization, _one_of(Optimization)),
            broker_url=take("BROKER_URL", "", _redis_url_or_none, _URL_RULE),
        )

    def to_env(self) -> dict[str, str]:
        """Return the variables from which `from_env` makes equal settings."""
        values: dict[str, object] = {
            "POOL": self.pool.text,
            "SIDE": self.side,
            "NAME": self.name,
            "REDIS_URL": self.redis_url,
            "NAMESPACE": self.namespace,
            "POLICY": self.policy.value,
            "PREFETCH": self.prefetch,
            "VISIBILITY_TIMEOUT_S": self.visibility_timeout_s,
            "RESTORE_INTERVAL_S": self.restore_interval_s,
            "RESTORE_THROTTLE": self.restore_throttle,
            "EVENTS": int(self.events),
            "ALLOW_FAULTS": int(self.allow_faults),
            "RINGS": self.rings,
            "RESTART_DELAY_S": _NEVER if self.restart_delay_s is None else self.restart_delay_s,
            "RETRY_DELAY_S": self.retry_delay_s,
            "SOFT_TIME_LIMIT_S": _or_empty(self.soft_time_limit_s),
            "TIME_LIMIT_S": _or_empty(self.time_limit_s),
            "MAX_MEMORY_PER_CHILD_KB": _or_empty(self.max_memory_per_child_kb),
            "INCLUDE": ",".join(self.include),
            "RESULTS": self.results.value,
            "SERIALIZER": self.serializer.value,
            "OPTIMIZATION": self.optimization.value,
            "BROKER_URL": self.broker_url,
        }
        ours = {f"POOLPROOF_{name}": str(value) for name, value in values.items()}
        return ours | self.pool.environ

    @property
    def keys(self) -> Keys:
        """The names of what poolproof keeps in this Redis."""
        return Keys(self.namespace)

    @property
    def ring_folder(self) -> Path:
        """Folder of this worker's rings."""
        return self.rings / self.name


@dataclass(frozen=True, slots=True)
class _Variables:
    environ: Mapping[str, str]

    def take(self, name: str, default: str, parse: Callable[[str], _T], rule: str) -> _T:
        variable = f"POOLPROOF_{name}"
        text = self.environ.get(variable) or default
        shown = _host(text) if name.endswith("URL") else text
        try:
            return parse(text)
        except UsageError as error:
            raise UsageError(f"{variable}={shown}: {error}") from error
        except ValueError as error:
            raise UsageError(f"{variable}={shown} is not {rule}.") from error


def _host(url: str) -> str:
    """Return what may be shown of a text that is not a URL of ours, and may hold a password."""
    _, at, rest = url.rpartition("@")
    return f"***@{re.split('[/?#]', rest)[0]}" if at else url.partition("?")[0]


_WORD_RULE: Final = "made of letters, digits and : . _ - (and for a name one @)"
_PLAIN_RULE: Final = "made of letters, digits and . _ -"
URL_SHAPE: Final = "redis://[[USER]:PASSWORD@]HOST:PORT/DATABASE"
_URL_RULE: Final = f"a URL like {URL_SHAPE}"
_MOST_SECONDS: Final = 365 * 86_400.0
_SECONDS_RULE: Final = "a number of seconds above 0 and up to a year"
#: Of messages, intervals or kilobytes: more than any worker has.
_MOST: Final = 1_000_000_000
_FROM_1: Final = f"a whole number from 1 to {_MOST}"
_FLAG_RULE: Final = "0 or 1"


def _one_of(values: Iterable[str]) -> str:
    return f"one of {', '.join(values)}"


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(text)
    return text


def _word(text: str) -> str:
    return _matching(r"[\w.-][\w:.-]*", text)


def _plain_word(text: str) -> str:
    # Not `*`, `?` or `[`: the namespace begins the pattern by which keys are deleted.
    return _matching(r"[\w.-]+", text)


def _node_name(text: str) -> str:
    name, _, host = text.partition("@")
    # Not `%`, which Celery expands, and no name of only dots: it is also a folder's.
    return _matching(r"\w[\w.-]*@[\w.-]+", f"{name}@{host or socket.gethostname()}")


def _modules(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError
    return names


def redis_url(text: str) -> str:
    """Return a URL that we, Celery and a proxy can use. Raises ValueError for another."""
    parts = urlsplit(text)
    _ = parts.port  # raises ValueError for a port that is none
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError
    return text


def _redis_url_or_none(text: str) -> str:
    return redis_url(text) if text else ""


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not least <= (number := int(text)) <= _MOST:
            raise ValueError
        return number

    return parse


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= _MOST_SECONDS:
        raise ValueError
    return number


def _seconds_or_none(text: str) -> float:
    return 0.0 if float(text) == 0 else _seconds(text)


def _limit(parse: Callable[[str], _T]) -> Callable[[str], _T | None]:
    return lambda text: parse(text) if text else None


def _or_empty(limit: float | None) -> str:
    return "" if limit is None else str(limit)


def _flag(text: str) -> bool:
    return {"0": False, "1": True, "false": False, "true": True}[_matching("0|1|true|false", text)]


def _restart_delay(environ: Mapping[str, str]) -> float | None:
    # Here an empty variable says something: do not restart.
    text = environ.get("POOLPROOF_RESTART_DELAY_S", "1.0").strip()
    if text in {"", _NEVER}:
        return None
    take = _Variables(environ).take
    return take("RESTART_DELAY_S", text, _seconds_or_none, f"{_NEVER} or a number of seconds")


def _rings(text: str) -> Path:
    path = Path(text) if text else _default_rings()
    if not path.is_absolute():
        raise ValueError
    return path


def _default_rings() -> Path:
    shared = Path("/dev/shm")  # noqa: S108  a tmpfs: its pages outlive a process and never wait for a disk
    is_tmpfs = shared.is_mount() and os.access(shared, os.W_OK)
    folder = shared if is_tmpfs else Path(tempfile.gettempdir())
    return folder / f"poolproof-{os.getuid()}"
