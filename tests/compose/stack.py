"""The services of compose.yaml, under a project name of their own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolproof.history.file import FILE_NAME, read

ROOT = Path(__file__).parents[2]

#: Variables of the tester's that must not choose for the tests.
KNOBS = {
    line.partition("=")[0]
    for line in (ROOT / ".env.example").read_text().splitlines()
    if "=" in line and not line.startswith("#")
}


def docker(*words: str) -> str:
    """Run `docker` and return what it prints on stdout."""
    done = subprocess.run(
        ["docker", *words], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"docker {words}: {done.stderr}"
    return done.stdout


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Stack:
    """One project of `docker compose`; `choices` are the variables of `.env.example`."""

    runs: Path
    choices: dict[str, str] = field(default_factory=dict)
    flower_port: int = field(default_factory=free_port)
    page_port: int = field(default_factory=free_port)
    project: str = field(default_factory=lambda: f"poolproof-test-{secrets.token_hex(4)}")

    def compose(self, *words: str, check: bool = True) -> str:
        """Run `docker compose` and return what it prints on stdout."""
        command = ["docker", "compose", "--env-file", os.devnull, "--project-name", self.project]
        environ = {name: value for name, value in os.environ.items() if name not in KNOBS}
        environ |= {"RUNS": str(self.runs), "FLOWER_PORT": str(self.flower_port)}
        environ |= {"PAGE_PORT": str(self.page_port), **self.choices}
        done = subprocess.run(
            [*command, *words],
            check=False,
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0 or not check, f"{words}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """Build what has changed, start everything, and wait until all of it is healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "300")

    def down(self) -> None:
        """Stop and remove everything."""
        self.compose("down", "--timeout", "20")

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return service -> what `docker inspect` says of its container, also if it has ended."""
        names = self.compose("ps", "--all", "--quiet").split()
        inspected = json.loads(docker("inspect", *names)) if names else []
        label = "com.docker.compose.service"
        return {one["Config"]["Labels"][label]: one for one in inspected}

    def redis(self, *words: str) -> str:
        """Run a command of Redis."""
        return self.compose("exec", "-T", "redis", "redis-cli", *words).strip()

    def progress(self) -> dict[str, Any]:
        """Return what the collector says of the run in progress."""
        text = self.redis("GET", "poolproof:progress")
        progress: dict[str, Any] = json.loads(text) if text else {}
        return progress

    def printed(self, service: str) -> str:
        """Return what a service has printed."""
        return self.compose("logs", "--no-color", "--no-log-prefix", service)

    def summary(self) -> dict[str, Any] | None:
        """Return the summary of the one run there is, or None if it is not there yet."""
        found = list(self.runs.glob("*/summary.json"))
        assert len(found) < 2
        if not found or not (text := found[0].read_text()):
            return None
        summary: dict[str, Any] = json.loads(text)
        return summary

    def ops(self, name: str) -> list[dict[str, Any]]:
        """Return the ops of a name in the history of the one run there is, as they were written."""
        (path,) = self.runs.glob(f"*/{FILE_NAME}")
        found = [entry.op for _, entry in read(path) if entry.kind == "op"]
        return [op for op in found if op["op"] == name]

    def left(self) -> list[str]:
        """Return the containers, volumes and networks that the project has."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        return [line for kind in kinds for line in docker(*kind, "-q", "--filter", label).split()]
