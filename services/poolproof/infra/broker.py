"""The Redis of a run and the ways to it: what can be done to them, and the doing of it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from redis import Redis

    from poolproof.infra.proxy import Proxy
    from poolproof.infra.redis_server import RedisServer
    from poolproof_workers.faults.fault import BrokerFault

#: An address of a TCP connection's end: IP and port.
Place = tuple[str, int]


class OutOfReach(UsageError):  # noqa: N818  says what is wrong
    """The trouble cannot be made here; the text says why."""


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A trouble that has begun."""

    began_ns: int  #: monotonic
    over_s: float  #: monotonic seconds at which it is due to end
    end: Callable[[], int]  #: ends it, or waits for its end; returns when that was (monotonic ns)
    workers: tuple[str, ...]  #: whom it reaches
    pid: int | None = None  #: of the process that it was done to
    connections: int | None = None  #: how many were closed


@dataclass(frozen=True, slots=True)
class Broker:
    """The Redis of a run, as far as whoever plays the run can lay hands on it."""

    redis: Redis
    server: RedisServer | None = None  #: None: somebody else's, which others may be using
    proxies: Mapping[str, Proxy] = field(default_factory=dict)  #: worker -> the proxy before it

    def why_not(self, trouble: BrokerFault, worker: str) -> str | None:
        """Return why a trouble cannot be made for a worker; None if nothing is known against it."""
        if trouble.on_the_way and worker not in self.proxies:
            return "no proxy of ours stands between this worker and Redis"
        if trouble.kind in {"restart", "pause"} and self.server is None:
            return "this Redis was not started by us, and others may be using it"
        return None

    def prepare(self, trouble: BrokerFault) -> None:
        """Do what has to be done before it, when no work is under way. Raises BrokerError."""
        if trouble.kind == "restart" and self.server:
            self.server.keep()

    def befall(
        self, trouble: BrokerFault, worker: str, main: int | None, all_: Sequence[str]
    ) -> InjectedFault:
        """Make trouble for a worker, whose main process is `main`; `all_` are all workers.

        While Redis is gone or silent this may block. Raises OutOfReach or BrokerError.
        """
        if reason := self.why_not(trouble, worker):
            raise OutOfReach(reason)
        match trouble.kind:
            case "restart":
                return self._restart(trouble, tuple(all_))
            case "pause":
                return self._pause(trouble, tuple(all_))
            case "kill":
                return self._kill(worker, main)
            case "cut" | "slow":
                return self._on_the_way(trouble, worker)

    def _restart(self, trouble: BrokerFault, workers: tuple[str, ...]) -> InjectedFault:
        assert self.server  # noqa: S101  `why_not` saw to it
        pid = self.server.pid
        gone_ns = self.server.restart(trouble.lasts_s)
        back_ns = time.monotonic_ns()
        return InjectedFault(gone_ns, back_ns / 1e9, lambda: back_ns, workers, pid)

    def _pause(self, trouble: BrokerFault, workers: tuple[str, ...]) -> InjectedFault:
        began_ns = time.monotonic_ns()
        self.redis.client_pause(round(trouble.lasts_s * 1000), all=True)

        def end() -> int:
            self.redis.ping()
            return time.monotonic_ns()

        pid = self.server.pid if self.server else None
        return InjectedFault(began_ns, began_ns / 1e9 + trouble.lasts_s, end, workers, pid)

    def _kill(self, worker: str, main: int | None) -> InjectedFault:
        processes = _tree(main, worker)
        if processes and worker in self.proxies:
            # Redis knows the worker's connections as those of the proxy before it.
            processes.append(psutil.Process(self.proxies[worker].pid))
        here = set(_connections(processes))
        clients: list[dict[str, Any]] = self.redis.client_list()
        mine = [c["id"] for c in clients if (_place(c["addr"]), _place(c["laddr"])) in here]
        if not mine:
            raise OutOfReach("no connection of this worker to Redis can be seen from here")
        pipe = self.redis.pipeline(transaction=True)
        for identifier in mine:
            pipe.client_kill_filter(_id=identifier)
        closed = sum(pipe.execute())
        began_ns = time.monotonic_ns()
        return InjectedFault(
            began_ns, began_ns / 1e9, lambda: began_ns, (worker,), main, connections=closed
        )

    def _on_the_way(self, trouble: BrokerFault, worker: str) -> InjectedFault:
        proxy = self.proxies[worker]
        began_ns = proxy.cut() if trouble.kind == "cut" else proxy.slow(trouble.delay_s)
        over_s = began_ns / 1e9 + trouble.lasts_s
        return InjectedFault(began_ns, over_s, proxy.mend, (worker,), proxy.pid)


def _tree(main: int | None, worker: str) -> list[psutil.Process]:
    """Return a worker's processes; none if `main` is not its main process on this machine."""
    with suppress(psutil.Error):
        process = psutil.Process(main)
        # In a container, or on another host, the pid is somebody else's.
        if main is not None and worker in process.cmdline():
            return [process, *process.children(recursive=True)]
    return []


def _connections(processes: Iterable[psutil.Process]) -> Iterator[tuple[Place, Place]]:
    for process in processes:
        with suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.raddr:
                    yield (each.laddr.ip, each.laddr.port), (each.raddr.ip, each.raddr.port)


def _place(text: str) -> Place:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
