"""Hosts on one machine: each a network, a clock, a name and processes of its own.

A host is a network namespace behind a bridge, which is in one too: nothing outside of them changes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_SUBNET = "10.99.0"
_PORT = 6379
#: Gives a host its name and, if there is one, its boot id; then it becomes the command.
_INSIDE = 'hostname "$1"; if [ -n "$2" ]; then mount --bind "$2" "$3"; fi; shift 3; exec "$@"'
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def why_not() -> str:
    """Return why no hosts can be made here; empty if they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces are made by root on Linux"
    probe = f"pp-{uuid.uuid4().hex[:6]}-probe"
    words = (
        ("ip", "netns", "add", probe),
        ("ip", "-n", probe, "link", "add", "name", "br", "type", "bridge"),
        ("ip", "-n", probe, "link", "add", "v", "type", "veth", "peer", "name", "w"),
        ("unshare", "--time", "--uts", "--mount", "--monotonic", "60", "--fork", "true"),
    )
    try:
        for each in words:
            subprocess.run(each, check=True, capture_output=True, timeout=30)
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd[:3])}: {error.stderr.decode().strip()}"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    finally:
        with suppress(OSError):
            subprocess.run(("ip", "netns", "del", probe), check=False, capture_output=True)
    return ""


@dataclass(frozen=True)
class Host:
    """One host; `ahead_s` is how far its monotonic clock is ahead of this machine's."""

    name: str
    netns: str
    address: str
    folder: Path
    ahead_s: int = 0
    boot: str = ""  #: file with a boot id of its own; empty: this machine's

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, **popen: Any
    ) -> subprocess.Popen[str]:
        """Start a command on it."""
        offset = ("--monotonic", str(self.ahead_s)) if self.ahead_s else ()
        unshare = ("unshare", "--time", *offset, "--uts", "--mount", "--fork", "--kill-child")
        inside = ("sh", "-c", _INSIDE, "sh", self.name, self.boot, _BOOT_ID)
        return subprocess.Popen(
            ("ip", "netns", "exec", self.netns, *unshare, *inside, *words),
            env={**os.environ, "POOLPROOF_RINGS": str(self.folder), **(env or {})},
            text=True,
            **{"stdin": subprocess.DEVNULL, **popen},
        )


class Network:
    """A few hosts behind one bridge; a context manager that leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        self._prefix = f"pp-{uuid.uuid4().hex[:6]}"
        self._folder = folder
        self._switch = f"{self._prefix}-switch"
        self._names: list[str] = []

    def host(self, name: str, *, ahead_s: int = 0, has_boot: bool = False) -> Host:
        """Add a host, connected to all others."""
        number = len(self._names)
        netns, address = f"{self._prefix}-{name}", f"{_SUBNET}.{number}"
        self._add(netns)
        self._ip(self._switch, "link", "add", name, "type", "veth", "peer", "eth", "netns", netns)
        self._ip(self._switch, "link", "set", "dev", name, "master", "br", "up")
        self._ip(netns, "addr", "add", f"{address}/24", "dev", "eth")
        self._ip(netns, "link", "set", "dev", "eth", "up")
        folder = self._folder / name
        folder.mkdir()
        boot = folder / "boot_id"
        boot.write_text(f"{uuid.uuid4()}\n")
        return Host(name, netns, address, folder, ahead_s, str(boot) if has_boot else "")

    def link(self, host: Host, state: str) -> tuple[str, ...]:
        """Return the command that takes a host's way to all others `up` or `down`."""
        return ("ip", "-n", self._switch, "link", "set", "dev", host.name, state)

    def __enter__(self) -> Self:
        try:
            self._add(self._switch)
            self._ip(self._switch, "link", "add", "name", "br", "type", "bridge")
            self._ip(self._switch, "link", "set", "dev", "br", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End whatever still runs on a host, and take the hosts away."""
        for netns in self._names:
            for pid in self.pids(netns):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for netns in self._names:
            subprocess.run(("ip", "netns", "del", netns), check=False, timeout=30)
        self._names.clear()

    def pids(self, netns: str) -> list[int]:
        """Return what runs on a host."""
        listed = subprocess.run(
            ("ip", "netns", "pids", netns), check=False, capture_output=True, text=True, timeout=30
        )
        return [int(pid) for pid in listed.stdout.split()]

    def _add(self, netns: str) -> None:
        subprocess.run(("ip", "netns", "add", netns), check=True, timeout=30)
        self._names.append(netns)
        self._ip(netns, "link", "set", "dev", "lo", "up")

    @staticmethod
    def _ip(netns: str, *words: str) -> None:
        subprocess.run(("ip", "-n", netns, *words), check=True, timeout=30)


def redis_on(host: Host, binary: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a Redis that the other hosts reach; return it and its URL."""
    words = ("--bind", host.address, "--port", str(_PORT), "--protected-mode", "no", "--save", "")
    log = (host.folder / "redis.log").open("w")
    with log:
        process = host.start(str(binary), *words, cwd=host.folder, stdout=log, stderr=log)
    return process, f"redis://{host.address}:{_PORT}"


def far_away(host: Host, other: Host, delay_s: float) -> tuple[subprocess.Popen[str], str]:
    """Start a proxy on a host that delays each way to a Redis; return it and the Redis's URL."""
    words = (sys.executable, "-m", "poolproof.infra.proxy", other.address, str(_PORT))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = host.start(*words, **pipes)
    assert process.stdin
    assert process.stdout
    port = json.loads(process.stdout.readline())["port"]
    process.stdin.write(json.dumps({"order": "slow", "delay_s": delay_s}) + "\n")
    process.stdin.flush()
    process.stdout.readline()
    return process, f"redis://127.0.0.1:{port}"


def stop(processes: Sequence[subprocess.Popen[str]], patience_s: float = 40.0) -> None:
    """Ask the commands themselves to stop, not what they were started by; end what does not."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                child.terminate()
    for process in processes:
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
