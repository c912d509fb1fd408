"""Runs `poolproof` as a person would, and finds whatever it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MARK = "POOLPROOF_TEST_MARK"


@dataclass
class Cli:
    """A running `poolproof WORDS`; all its descendants carry a mark in their environment."""

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)
    on_line: Callable[[Cli, str], None] | None = None

    @classmethod
    def start(
        cls,
        *words: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        on_line: Callable[[Cli, str], None] | None = None,
    ) -> Self:
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [sys.executable, "-m", "poolproof", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {}), _MARK: mark},
        )
        cli = cls(process, mark, on_line=on_line)
        cli._reader = threading.Thread(target=cli._read)  # type: ignore[attr-defined]
        cli._reader.start()  # type: ignore[attr-defined]
        return cli

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if self.on_line:
                self.on_line(self, line)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def finish(self, deadline_s: float = 120) -> tuple[int, str, list[str]]:
        """Return exit code, stdout and the lines of stderr."""
        assert self.process.stdout is not None
        killer = threading.Timer(deadline_s, self.process.kill)
        killer.start()
        try:
            out = self.process.stdout.read()
            code = self.process.wait()
            self._reader.join()  # type: ignore[attr-defined]
        finally:
            killer.cancel()
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, out, self.lines

    def left(self) -> list[str]:
        """Return what still runs of all that it started."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get(_MARK) == self.mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


def run(
    *words: str, env: dict[str, str] | None = None, cwd: Path | None = None, deadline_s: float = 120
) -> tuple[int, str, list[str], Cli]:
    cli = Cli.start(*words, env=env, cwd=cwd)
    return *cli.finish(deadline_s), cli
