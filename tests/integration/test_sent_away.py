"""A side that does not come to rest leaves the next side alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from poolproof.history.file import FILE_NAME, read
from poolproof_workers.errors import OK

from . import cli

if TYPE_CHECKING:
    from pathlib import Path


def test_a_poison_that_comes_back_on_one_side_does_not_disturb_the_next(tmp_path: Path) -> None:
    words = ("crash", "--fault", "os-exit", "--pool", "solo", "--pool", "threads:2")

    code, out, _, _ = cli.run(
        *words, "--prefetch", "1", "--out", str(tmp_path), "--json", deadline_s=200
    )

    summary = json.loads(out)
    first, second = summary["crashes"]
    ops = [e.op for _, e in read(tmp_path / summary["run"] / FILE_NAME) if e.kind == "op"]
    (away,) = [op for op in ops if op["op"] == "sent-away"]
    assert code == OK
    assert summary["books"]["balanced"]
    # Solo's poison came back until its worker was sent away, and lies in the broker still.
    assert (first["pool"], away["side"]) == ("solo", "solo")
    assert first["strikes"] > 1
    assert first["poison"] in {"stranded", "queued"}
    # From then on nothing happens on solo, and threads are hit once, as if they were alone.
    assert second["at_ns"] > away["t_ns"]
    assert not [
        op
        for op in ops
        if op["op"] in {"worker-up", "worker-ready"}
        and op["worker"] == first["worker"]
        and op["t_ns"] > away["t_ns"]
    ]
    assert (second["strikes"], second["running"], second["lost"]) == (1, 1, 1)
    assert second["ended"] == "everything came to rest"


def test_a_blow_from_outside_comes_at_a_moment_that_the_seed_decides(tmp_path: Path) -> None:
    words = ("crash", "--fault", "stop-child", "--pool", "prefork:2", "--prefetch", "1")

    moments = []
    for name in ("one", "other"):
        _, out, _, _ = cli.run(*words, "--out", str(tmp_path / name), "--json", deadline_s=120)
        history = tmp_path / name / json.loads(out)["run"] / FILE_NAME
        ops = [entry.op for _, entry in read(history) if entry.kind == "op"]
        (strike,) = [op for op in ops if op["op"] == "strike"]
        moments.append(strike["after_s"])

    assert moments[0] == moments[1]
    assert 0 < moments[0] < 0.3
