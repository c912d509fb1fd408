"""What a person reads when something goes wrong outside of poolproof."""

from __future__ import annotations

import errno
import os

import pytest

from poolproof import __main__ as program
from poolproof_workers.errors import DISK


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOTDIR, errno.EISDIR, errno.ENOENT])
def test_trouble_with_a_file_is_one_line_and_an_exit_code(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number), "runs/here")

    monkeypatch.setattr(program.cli, "main", fail)
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)

    assert program.main(["runs"]) == DISK
    assert capsys.readouterr().err == (f"poolproof: cannot use runs/here: {os.strerror(number)}\n")
