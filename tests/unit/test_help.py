"""What the verbs say of themselves is true, and readable."""

from __future__ import annotations

import importlib

import pytest
from click.testing import CliRunner

from poolproof.__main__ import VERBS, cli
from poolproof.cli import crash
from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.pools import POOLS
from poolproof_workers.settings import DEFAULT_REDIS_URL


def _help(verb: str) -> str:
    module = importlib.import_module(f"poolproof.cli.{verb}")
    return CliRunner().invoke(module.command, ["--help"]).stdout


@pytest.mark.parametrize("verb", VERBS)
def test_no_help_shows_the_marks_that_keep_click_from_filling_it(verb: str) -> None:
    text = _help(verb)

    assert "Usage" in text
    assert "\\b" not in text
    assert "\b" not in text


@pytest.mark.parametrize("verb", ["play", "collect"])
def test_what_is_used_without_a_redis_url_is_what_the_help_says(verb: str) -> None:
    text = " ".join(_help(verb).split())

    assert f"[default: {DEFAULT_REDIS_URL}]" in text
    assert "embedded" not in text


def test_the_examples_of_play_start_workers_that_may_be_crashed() -> None:
    lines = [line for line in _help("play").splitlines() if "poolproof worker" in line]

    assert lines
    assert all("--allow-faults 1" in line for line in lines)


def test_the_list_of_faults_says_of_each_where_it_comes_from_and_where_it_cannot_be_done() -> None:
    text = CliRunner().invoke(cli, ["crash", "--list"]).stdout

    for fault in FAULTS:
        start = text.index(f"\n{fault.name} ")
        entry = text[start : text.index(fault.lesson, start) + 500].split("\n")
        assert entry[1].split()[:2] == [fault.name, fault.where]
        spared = [name for name, pool in POOLS.items() if fault.why_not(pool)]
        note = f"Not on {', '.join(spared)}: {fault.why_only}."
        assert (note in entry[3]) == bool(spared)


def test_the_list_of_faults_is_all_that_it_prints() -> None:
    result = CliRunner().invoke(crash.command, ["--list"], standalone_mode=False)

    assert result.return_value == 0
    assert result.stderr == ""
