"""What a result carries with it: the versions that took part, and how it was called."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from poolproof.infra.connection import server_version
from poolproof_workers import __version__
from poolproof_workers.supervisor import host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

_CHECKOUT: Final = Path(__file__).parents[3]
#: Up to the last @: a password that should have been quoted may have any character.
_USER: Final = re.compile(r"(?<=://).*@")
_QUERY: Final = re.compile(r"(?<=[?&])(username|password)=[^&#]*")


def versions(redis: Redis) -> dict[str, Any]:
    """Return name -> version of all that took part; `commit` is null outside a git checkout.

    `server` names the real server. Raises redis.RedisError if it does not answer.
    """
    return {
        **host.versions(),
        "server": str(server_version(redis)),
        "poolproof": __version__,
        "commit": commit(),
    }


def command(words: Sequence[str] | None = None) -> list[str]:
    """Return the command line of this process, the programme without its folder.

    Of URLs user and password are left out: what a run says of itself is passed on.
    """
    name, *rest = sys.argv if words is None else words
    programme = "poolproof" if Path(name).name == "__main__.py" else Path(name).name
    return [programme, *(_QUERY.sub(r"\1=***", _USER.sub("***@", word)) for word in rest)]


def commit(checkout: Path = _CHECKOUT) -> str | None:
    """Return the commit of poolproof itself, with `-dirty` if its files were changed since."""
    if not (checkout / ".git").exists():
        return None
    describe = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return _said([*describe, "--exclude=*"])


def _said(command: list[str]) -> str | None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
