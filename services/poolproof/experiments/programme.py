"""What the live page shows one after another: demonstrations, and comparisons that people ask."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.demonstration import Demonstration
from poolproof.experiments.local import Local
from poolproof.fleet.sides import resized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from poolproof.experiments.compare import Comparison
    from poolproof.experiments.local import Playable
    from poolproof.experiments.orders import Orders
    from poolproof.experiments.session import Listener, Session
    from poolproof.fleet.page import Page
    from poolproof.fleet.redis_server import RedisServer
    from poolproof.fleet.sides import SideSpec

_TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Programme:
    """Plays run after run, each into a folder of its own, until somebody at the page stops it."""

    sides: Mapping[str, SideSpec]
    out: Path
    redis_url: str | None
    server: RedisServer | None
    page: Page
    orders: Orders

    def play(self, listener: Listener) -> Iterator[Path]:
        """Play, and yield the folder of each run that is over. Raises as `Local.play` does."""
        sides: Mapping[str, SideSpec] = self.sides
        act: Demonstration | Comparison | None = Demonstration(self.orders)
        while act is not None:
            # What was pressed while nobody listened is not obeyed later.
            self.orders.take()
            settings = act.settings() if isinstance(act, Demonstration) else {}
            local = Local(sides, self.out, self.redis_url, server=self.server, settings=settings)
            yield local.play(_Watched(act, self.page.check), listener)
            if isinstance(act, Demonstration):
                sides, act = resized(sides, act.pools), act.asked
            else:
                listener.phase("the page asks what comes next")
                act = self._next(act)

    def _next(self, last: Comparison) -> Demonstration | Comparison | None:
        """Wait until somebody says what comes next; None: nothing."""
        while True:
            for order in self.orders.take():
                match order:
                    case {"do": "demonstrate"}:
                        return Demonstration(self.orders)
                    case {"do": "compare"}:
                        return last
                    case {"do": "stop"}:
                        return None
            if self.server:
                self.server.check()
            self.page.check()
            time.sleep(_TICK_S)


@dataclass(frozen=True, slots=True)
class _Watched:
    """An experiment that also ends when its page cannot go on."""

    experiment: Playable
    check: Callable[[], None]

    def play(self, session: Session) -> None:
        """Play it."""

        def health() -> None:
            session.health()
            self.check()

        self.experiment.play(replace(session, health=health))

    def to_json(self) -> dict[str, Any]:
        """Return the experiment as the history keeps it."""
        return self.experiment.to_json()
