"""What can go wrong, and the exit code that says so."""

from __future__ import annotations

import re
from typing import ClassVar, Final

_TWO_STOPS: Final = re.compile(r"(?<=[\w\"')])\.\.(?=\s|$)")

OK: Final = 0
FAILED_CHECK: Final = 1  #: the books do not balance, or a benchmark is invalid
USAGE: Final = 2  #: an option or a variable has a value that is not allowed
REDIS: Final = 3  #: Redis cannot be reached, refuses us, or went away
WORKER: Final = 4  #: a Celery worker does not start, or does not go on
DISK: Final = 5  #: a folder is missing, full or not ours to write
INTERRUPTED: Final = 130  #: Ctrl-C


class PoolproofError(Exception):
    """One sentence that says what to do next. Only `main` prints it and exits with `exit_code`."""

    exit_code: ClassVar[int] = FAILED_CHECK

    def __str__(self) -> str:
        """Return it; where what it quotes ends a sentence too, one full stop is enough."""
        return _TWO_STOPS.sub(".", super().__str__())


class UsageError(PoolproofError):
    """A value that a person gave is not allowed."""

    exit_code = USAGE


class BrokerError(PoolproofError):
    """Redis does not do what is asked of it."""

    exit_code = REDIS


class RedisUnreachable(BrokerError):  # noqa: N818  says what it is
    """No connection to Redis, or it refuses ours."""


class WorkerError(PoolproofError):
    """A Celery worker cannot do its work."""

    exit_code = WORKER


class DiskError(PoolproofError):
    """A folder or a file cannot be used."""

    exit_code = DISK
