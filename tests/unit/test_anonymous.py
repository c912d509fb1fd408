"""A kept history names no folder of the machine that it was made on, and is the same otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from poolproof.history.file import FILE_NAME, FORMAT, HistoryWriter, read
from poolproof_workers.contract import Entry
from tests.anonymous import copy_history

_ROOT = str(Path(__file__).parents[2])


def _history(folder: Path, *commands: str) -> Path:
    head = {"op": "format", "version": FORMAT, "t_ns": 0, "boot": "b"}
    ops = [head, *({"op": "x", "t_ns": 0, "boot": "b", "command": each} for each in commands)]
    with HistoryWriter(folder / FILE_NAME) as writer:
        for number, op in enumerate(ops, 1):
            writer.append([(f"{number}-0", Entry.of_op("p", "p#1", number, op))])
    return folder / FILE_NAME


def test_folders_are_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    source = _history(tmp_path, f"{_ROOT}/.venv/bin/python", f"{sys.base_prefix}/lib", "celery")

    copy_history(source, tmp_path / "copy")

    before, after = list(read(source)), list(read(tmp_path / "copy"))
    commands = [entry.op["command"] for _, entry in after[1:]]
    assert commands == ["./.venv/bin/python", "python/lib", "celery"]
    assert [entry.op | {"command": ""} for _, entry in after] == [
        entry.op | {"command": ""} for _, entry in before
    ]
    assert [identifier for identifier, _ in after] == [identifier for identifier, _ in before]


def test_one_that_names_none_is_copied_as_it_is_with_its_damage(tmp_path: Path) -> None:
    source = _history(tmp_path, "celery")
    content = source.read_bytes()[:-3]
    source.write_bytes(content)

    copy_history(source, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == content
