"""What the live page shows one after another: demonstrations, and comparisons that people ask."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.demo import Demonstration
from poolproof.infra.flower import LocalFlower
from poolproof.infra.interruption import uninterrupted
from poolproof.infra.sides import resized
from poolproof.runner.local_environment import LocalEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from poolproof.experiments.compare import Comparison
    from poolproof.infra.flower import FlowerPlace
    from poolproof.infra.page import Page
    from poolproof.infra.redis_server import RedisServer
    from poolproof.infra.sides import SideSpec
    from poolproof.runner.listener import Listener
    from poolproof.runner.live_orders import Orders
    from poolproof.runner.local_environment import Playable
    from poolproof.runner.session import Session

_TICK_S: Final = 0.1
#: For a Flower that starts beside everything else; without it the page says what it missed.
_FLOWER_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class LiveSession:
    """Plays run after run, each into a folder of its own, until somebody at the page stops it."""

    sides: Mapping[str, SideSpec]
    out: Path
    redis_url: str | None
    server: RedisServer | None
    page: Page
    orders: Orders
    flower: FlowerPlace | None = None  #: beside the demonstrations; their task events are on

    def play(self, listener: Listener) -> Iterator[Path]:
        """Play, and yield the folder of each run that is over.

        Raises as `LocalEnvironment.play` does.
        """
        sides: Mapping[str, SideSpec] = self.sides
        act: Demonstration | Comparison | None = self._demonstration()
        while act is not None:
            # What was pressed while nobody listened is not obeyed later.
            self.orders.take()
            settings = act.settings() if isinstance(act, Demonstration) else {}
            local = LocalEnvironment(
                sides,
                self.out,
                self.redis_url,
                events=act.events,
                server=self.server,
                settings=settings,
            )
            flower = self.flower if isinstance(act, Demonstration) else None
            yield local.play(_Watched(act, self.page.check, flower, self._url), listener)
            if isinstance(act, Demonstration):
                sides, act = resized(sides, act.pools), act.asked
            else:
                listener.phase("the page asks what comes next")
                act = self._next(act)

    def _demonstration(self) -> Demonstration:
        return Demonstration(self.orders, events=self.flower is not None)

    @property
    def _url(self) -> str:
        return self.server.url if self.server else str(self.redis_url)

    def _next(self, last: Comparison) -> Demonstration | Comparison | None:
        """Wait until somebody says what comes next; None: nothing."""
        while True:
            for order in self.orders.take():
                match order:
                    case {"do": "demonstrate"}:
                        return self._demonstration()
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
    """An experiment that also ends when its page, or the Flower beside it, cannot go on."""

    experiment: Playable
    check: Callable[[], None]
    flower: FlowerPlace | None
    redis_url: str

    def play(self, session: Session) -> None:
        """Play it."""
        if self.flower is None:
            self._play(session, self.check)
            return
        with ExitStack() as stack:
            with uninterrupted():
                flower = stack.enter_context(LocalFlower(self.flower, self.redis_url, session.keys))
            session.listener.phase("waiting for Flower; its task events cost throughput")
            flower.wait((name for side in session.sides for name in side.workers), _FLOWER_S)

            def check() -> None:
                self.check()
                flower.check()

            self._play(session, check)

    def _play(self, session: Session, check: Callable[[], None]) -> None:
        def health() -> None:
            session.health()
            check()

        self.experiment.play(replace(session, health=health))

    def to_json(self) -> dict[str, Any]:
        """Return the experiment as the history keeps it."""
        return self.experiment.to_json()
