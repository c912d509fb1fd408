"""The live page of a run that is played here: a process of its own, which no run waits for."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.infra.child import Child
from poolproof.infra.connection import connect
from poolproof.infra.interruption import uninterrupted
from poolproof_workers.contract import Keys
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST: Final = "127.0.0.1"
PORT: Final = 8000
_END_S: Final = 5.0
#: Tells a page where its orders go. In the environment: a URL may hold a password.
_CONTROL: Final = "POOLPROOF_CONTROL"


#: The environment variable of the option `--flower`.
FLOWER: Final = "POOLPROOF_FLOWER"

Page: TypeAlias = Child


@contextmanager
def shown(
    runs: Path, port: int, redis_url: str = "", keys: Keys | None = None, flower: str = ""
) -> Iterator[Page]:
    """Show what is played, for as long as it is; with `keys` people may order things there.

    `flower` is the URL of a Flower beside it.
    """
    env = {FLOWER: flower} if flower else {}
    if keys is not None:
        told = json.dumps({"namespace": keys.namespace, "redis": redis_url})
        env |= {_CONTROL: told, "POOLPROOF_ALLOW_FAULTS": "1"}
    words = ["serve", "--watch", "--port", str(port), "--out", str(runs)]
    with ExitStack() as stack:
        with uninterrupted():
            child = Child("the page", words, env)
            stack.callback(child.end, _END_S)
            stack.callback(child.ask_to_stop)
        yield child


def orders() -> Callable[[dict[str, Any]], None] | None:
    """Return how a page gives orders; None where nobody takes them or faults are not allowed."""
    told = os.environ.get(_CONTROL)
    if not told or os.environ.get("POOLPROOF_ALLOW_FAULTS") != "1":
        return None
    try:
        where = json.loads(told)
        url, key = where["redis"], Keys(where["namespace"]).controls
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{_CONTROL} is set by poolproof itself: leave it alone.") from error

    def order(what: dict[str, Any]) -> None:
        with connect(url) as redis:
            redis.rpush(key, json.dumps(what))

    return order
