"""The `poolproof` command: finds the verb, and turns every error into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from poolproof.infra.interruption import obey_signals
from poolproof_workers import __version__
from poolproof_workers.errors import DISK, INTERRUPTED, OK, REDIS, USAGE, PoolproofError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Verb -> what it does, in the order of the help. Its module is `poolproof.cli.VERB`, and is
#: imported only when it is used: a worker's environment need not have what a report needs.
VERBS: Final = {
    "compare": "Measure two or more pools against each other, then crash them.",
    "crash": "Do one fault to one or more pools and account for every task.",
    "claims": "Try what is said of pools, processes and threads, on the real thing.",
    "enqueue": "Put square jobs into a pool's queue, or see the squares of a few numbers.",
    "worker": "Run one Celery worker under a supervisor that records what it does.",
    "collect": "Keep the history of runs: Redis stream to run folder.",
    "play": "Play the comparison on the workers that are registered in a Redis.",
    "report": "Judge a saved run again and print it.",
    "diff": "Say what changed between two runs, and whether it is more than noise.",
    "runs": "List the saved runs.",
    "serve": "Show a run on a live page, or play a saved one again.",
    "doctor": "Say what on this machine would spoil a measurement.",
}

_DISK_TROUBLE: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT),
}


class _Verbs(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"poolproof.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="poolproof")
def cli() -> None:
    """Prove, by measurement, what processes and threads each do to a Celery workload."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code (see `poolproof_workers.errors` for their meaning)."""
    obey_signals()
    try:
        result = cli.main(args=argv, prog_name="poolproof", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE
    except BaseException as error:
        explained = _explain(error)
        if explained is None:
            raise
        text, exit_code = explained
        if text:
            with suppress(OSError):  # the terminal may be gone
                print(f"poolproof: {' '.join(text.split())}", file=sys.stderr)
        return exit_code
    return result if isinstance(result, int) else OK


def _explain(error: BaseException) -> tuple[str, int] | None:  # noqa: PLR0911  a table of cases
    """Return one line and an exit code for what is not a bug of ours."""
    match error:
        case PoolproofError():
            return str(error), error.exit_code
        case KeyboardInterrupt() | click.exceptions.Abort():
            # One that struck in an `exec` of text, as dataclasses have it, is remembered by Python,
            # which would end `python -m poolproof` by SIGINT. The next such `exec` forgets it.
            exec("")  # noqa: S102
            return "interrupted", INTERRUPTED
        case ModuleNotFoundError():
            advice = "pip install 'poolproof[lab]'"
            return f"this verb needs {error.name}, which is not installed: {advice}", USAGE
        case BrokenPipeError():
            # Whoever read us has enough; Python would complain when it flushes stdout at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return "", OK
        case OSError() if error.errno in _DISK_TROUBLE:
            return f"cannot use {error.filename or 'a file'}: {error.strerror}", DISK
        case Exception() if type(error).__module__.startswith("redis."):
            return _of_redis(error), REDIS
        case _:
            return None


def _of_redis(error: Exception) -> str:
    # Only when it is needed: verbs that ask no Redis start without it.
    from redis.exceptions import RedisError  # noqa: PLC0415

    from poolproof_workers.connection import trouble  # noqa: PLC0415

    return trouble(error) if isinstance(error, RedisError) else f"Redis went away: {error}"


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
