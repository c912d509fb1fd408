"""A few claims, really tried, as a person would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cases import rest_long

from .cli import run

if TYPE_CHECKING:
    from pathlib import Path

#: Each in seconds, and none of them depends on how fast the machine is.
QUICK = {
    "phantom": ["threads:4"],
    "flower-started": ["prefork:4", "threads:4"],
    "orphans": ["prefork:4"],
    "recycling": ["prefork:1"],
    "hard-limit-needs-yield": ["gevent:2"],
    "shortest-timeout": ["prefork:2", "threads:2"],
    "idle-gevent": ["gevent:2"],
    "late-gevent": ["gevent:2"],
    "orphaned-lock": ["prefork:2", "threads:2"],
    "outage-fatal": ["prefork:2", "threads:2"],
    "lock-fork": ["this Python"],
    "lock-spawn": ["this Python"],
    "isolation-processes": ["this Python"],
    "isolation-threads": ["this Python"],
    "shared-threads": ["this Python"],
    "shared-processes": ["this Python"],
    "race-lock": ["this Python"],
}


#: One of each kind: a crash, an outage, something of the operating system, a race.
FEW = {
    name: QUICK[name] for name in ("phantom", "outage-fatal", "isolation-processes", "race-lock")
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("quick", rest_long(FEW, QUICK), ids=["few", "all"])
def test_quick_claims_hold_and_leave_their_evidence_and_nothing_else(
    tmp_path: Path, quick: dict[str, list[str]]
) -> None:
    ids = [word for name in quick for word in ("--id", name)]

    code, out, lines, cli = run("claims", *ids, "--json", "--out", str(tmp_path), deadline_s=840)

    assert code == 0, lines
    results = json.loads(out)
    tried = {claim["id"]: claim["trials"] for claim in results["claims"]}
    assert {name: [trial["on"] for trial in of] for name, of in tried.items()} == quick
    held = sum(map(len, quick.values()))
    assert results["outcomes"] == {"holds": held, "does not hold": 0, "not shown": 0}
    folder = tmp_path / results["run"]
    assert json.loads((folder / "claims.json").read_text()) == results
    assert (folder / "claims.md").read_text().startswith("# Claims")
    (run_name,) = tried["phantom"][0]["runs"]
    assert cli.left() == []
    judged = run("report", str(folder / run_name), "--format", "json")[1]
    assert json.loads(judged)["crashes"][0]["poison"] == "phantom"


def test_the_list_tries_nothing(tmp_path: Path) -> None:
    code, out, _, _ = run("claims", "--list", cwd=tmp_path)
    json_code, text, _, _ = run("claims", "--list", "--json", "--id", "orphans", cwd=tmp_path)

    assert code == json_code == 0
    assert "PR_SET_PDEATHSIG" in out
    (row,) = json.loads(text)
    assert row["id"] == "orphans"
    assert row["on"] == ["prefork:4"]
    assert list(tmp_path.iterdir()) == []


def test_a_bad_id_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code, out, lines, _ = run("claims", "--id", "orphan", cwd=tmp_path)

    assert (code, out) == (2, "")
    (line,) = lines
    assert line.startswith("poolproof: There is no claim 'orphan'. Did you mean orphans")
    assert "poolproof claims --list" in line
