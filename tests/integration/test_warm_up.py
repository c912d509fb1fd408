"""Every slot is warm before anything is measured, however far away Redis is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from poolproof.infra.sides import parse
from poolproof.runner.listener import NullListener
from poolproof.runner.local_environment import LocalEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.runner.session import Session

#: Each way: a round trip takes 30 ms, as to another region.
_DELAY_S = 0.015


class FarAway:
    """Puts a long way between the worker and Redis, and warms it up."""

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}

    def play(self, session: Session) -> None:
        assert session.broker
        for proxy in session.broker.proxies.values():
            proxy.slow(_DELAY_S)
        for side in session.sides:
            session.warm_up(side)
        self.slots = dict(session.progress().slots)

    def to_json(self) -> dict[str, Any]:
        return {"name": "warm-up"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["threads:4", "prefork:4", "gevent:20"])
def test_all_slots_run_a_task_behind_a_long_way(pool: str, tmp_path: Path) -> None:
    if pool.startswith("gevent"):
        pytest.importorskip("gevent")
    experiment = FarAway()

    LocalEnvironment(parse((pool,)), tmp_path, proxied=True).play(experiment, NullListener())

    assert experiment.slots == {pool: int(pool.partition(":")[2])}
