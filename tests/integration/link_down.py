"""Plays a run whose link to the workers of a side is cut while they hold tasks, and closes it.

    python -m tests.integration.link_down REDIS_URL SIDE COMMAND...

The command cuts the link. Nothing waits for what was sent: the books close over it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from poolproof.infra.connection import connect
from poolproof.produce.plan import BlockSpec
from poolproof.runner.listener import NullListener
from poolproof.runner.remote_environment import RemoteEnvironment
from poolproof_workers.contract import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

#: Longer than it takes to close the books.
_TASK = "sleep:60s"
#: More than a worker takes: two slots, and four more for each.
_COUNT = 20


class _Phases(NullListener):
    def phase(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class LinkDown:
    """What `RemoteEnvironment` plays."""

    side: str
    command: Sequence[str]
    crash: None = None
    events: bool = False

    def play(self, session: Session) -> None:
        for side in session.sides:
            session.warm_up(side)
        self._load(session, next(each for each in session.sides if each.label == self.side))
        subprocess.run(self.command, check=True, timeout=30)

    def _load(self, session: Session, side: Side) -> None:
        session.producer.enqueue(BlockSpec(side.label, _TASK, _COUNT), session.workload(_TASK))
        taken, keys = 5 * side.concurrency, session.keys
        session.wait(
            lambda now: (
                now.running == side.concurrency
                and session.redis.hlen(keys.unacked(side.label)) == taken - side.concurrency
            ),
            60.0,
            lambda now: f"{side.label} runs {now.running}",
        )

    def to_json(self) -> dict[str, Any]:
        return {"name": "link down"}


if __name__ == "__main__":
    url, label, *command = sys.argv[1:]
    with connect(url) as redis:
        played = cast("Any", LinkDown(label, command))
        print(RemoteEnvironment(redis, Keys(), url).play(played, _Phases(), 2))
