"""Starts a command that the kernel kills when the process that started it ends, however it ends."""

from __future__ import annotations

import os
import sys
import threading


def leashed(command: list[str]) -> list[str]:
    """Return `command` so wrapped that it dies with this process; on other systems, as it is.

    The kernel's signal is sent when the *thread* that started the command ends, so this must be
    used from the main thread. Python's `preexec_fn` would do, but may deadlock in a process that
    has threads; this file run as a script costs 15 ms and cannot. The pid stays the command's.

    Raises RuntimeError from another thread.
    """
    if sys.platform != "linux":
        return command
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a leashed process must be started from the main thread")
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _main(owner: str, *command: str) -> None:
    _die_with_parent()
    # The owner may have died before the line above; then nothing would kill us any more.
    if os.getppid() != int(owner):
        sys.exit("the process that started this one has ended")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


def _die_with_parent() -> None:
    import ctypes  # noqa: PLC0415  # not every platform that imports this module has it
    import signal  # noqa: PLC0415

    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
