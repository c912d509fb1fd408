"""Pools as people write them, and the command lines that they become."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from poolproof.infra.sides import KEYS
from poolproof_workers.errors import UsageError
from poolproof_workers.pools import POOLS, PoolSpec, require
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.celery_process import command


@pytest.mark.parametrize(
    ("text", "name", "concurrency"),
    [
        ("prefork:4", "prefork", 4),
        ("spawn:4", "spawn", 4),
        ("threads:10000", "threads", 10_000),
        ("solo", "solo", 1),
        ("gevent:100", "gevent", 100),
        ("custom:4=my.pools:TaskPool", "custom", 4),
    ],
)
def test_a_spec_is_read_and_written_alike(text: str, name: str, concurrency: int) -> None:
    spec = PoolSpec.parse(text)

    assert (spec.name, spec.concurrency, spec.text) == (name, concurrency, text)


def test_solo_may_say_that_it_has_one_slot() -> None:
    assert PoolSpec.parse("solo:1").text == "solo"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("forks:4", "no pool 'forks'. Use one of: prefork:N, spawn:N, threads:N, solo, gevent:N"),
        ("", "no pool ''"),
        ("prefork", "Write it as prefork:N"),
        ("prefork:", "Write it as prefork:N"),
        ("prefork:abc", "Write it as prefork:N"),
        ("threads:-1", "Write it as threads:N"),
        ("threads:4.5", "Write it as threads:N"),
        ("threads:٤", "Write it as threads:N"),
        ("prefork:0", "from 1 to 10000 slots, not 0"),
        ("prefork:10001", "from 1 to 10000 slots, not 10001"),
        ("solo:2", "from 1 to 1 slots, not 2"),
        ("custom:4", "Write it as custom:N=MODULE:CLASS"),
        ("custom:4=", "Write it as custom:N=MODULE:CLASS"),
        ("custom:4=my.pools", "Write it as custom:N=MODULE:CLASS"),
        ("custom:4=my..pools:TaskPool", "Write it as custom:N=MODULE:CLASS"),
        ("custom:4=../pools:TaskPool", "Write it as custom:N=MODULE:CLASS"),
        ("custom=my.pools:TaskPool", "lacks a whole number"),
        ("threads:4=my.pools:TaskPool", "Write it as threads:N"),
    ],
)
def test_a_bad_spec_says_what_is_allowed(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        PoolSpec.parse(text)


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_that_reports_a_lost_slot_has_slots_to_lose(name: str) -> None:
    pool = POOLS[name]

    assert pool.reports_lost_slot == (pool.slots == "process")


def test_the_command_starts_celery_with_the_pool_on_its_queue() -> None:
    words = command(Settings.from_env({"POOLPROOF_POOL": "threads:3", "POOLPROOF_NAME": "w@h"}))

    assert " ".join(words[1:]) == (
        "-m celery -A poolproof_workers.app worker --pool threads --concurrency 3"
        " --queues threads:3 --hostname w@h --loglevel WARNING"
        " --include poolproof_workers.recorder.recorder"
    )


def test_a_custom_pool_is_named_in_the_environment_where_celery_looks_for_it() -> None:
    settings = Settings.from_env({"POOLPROOF_POOL": "custom:3=my.pools:TaskPool"})

    assert settings.side == "custom:3"
    assert "--pool custom --concurrency 3 --queues custom:3" in " ".join(command(settings))
    assert settings.to_env()["CELERY_CUSTOM_WORKER_POOL"] == "my.pools:TaskPool"
    assert Settings.from_env(settings.to_env()) == settings


def test_only_a_custom_pool_says_anything_of_custom_pools() -> None:
    assert "CELERY_CUSTOM_WORKER_POOL" not in Settings.from_env({}).to_env()


def test_spawn_is_prefork_with_another_start_method() -> None:
    words = " ".join(command(Settings.from_env({"POOLPROOF_POOL": "spawn:2"})))

    assert "--pool prefork --pool-start-method spawn --concurrency 2" in words


def test_an_optimization_that_is_not_the_default_is_on_the_command_line() -> None:
    assert "-O fair" in " ".join(command(Settings.from_env({"POOLPROOF_OPTIMIZATION": "fair"})))
    assert "-O" not in command(Settings.from_env({}))


def test_a_pool_whose_package_is_missing_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        POOLS, "gevent", dataclasses.replace(POOLS["gevent"], needs="no_such_package")
    )

    with pytest.raises(UsageError, match=r"needs the package no_such_package.*pip install"):
        require(PoolSpec.parse("gevent:2"))


def test_a_pool_that_this_celery_does_not_have_is_refused_with_both_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(POOLS, "spawn", dataclasses.replace(POOLS["spawn"], since=(99, 1)))

    with pytest.raises(UsageError, match=r"spawn needs Celery 99\.1 or later; here is 5\."):
        require(PoolSpec.parse("spawn:2"))


@pytest.mark.parametrize("text", ["prefork:2", "spawn:2", "threads:2", "solo", "gevent:2"])
def test_every_pool_that_is_installed_may_be_used(text: str) -> None:
    require(PoolSpec.parse(text))


@pytest.mark.parametrize("module", ["no_such_module", "no_such.module", "json.no_such"])
def test_a_custom_pool_in_no_module_is_refused(module: str) -> None:
    with pytest.raises(UsageError, match=f"no module {module}"):
        require(PoolSpec.parse(f"custom:2={module}:TaskPool"))


def test_events_and_the_recorder_are_switched_by_the_command() -> None:
    settings = Settings.from_env({"POOLPROOF_EVENTS": "1"})

    assert command(settings)[-1] == "--task-events"
    assert "--include" not in command(settings, recorded=False)


def test_the_page_on_pools_says_what_the_table_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pools.md").read_text()

    for pool in POOLS.values():
        supported = (
            pool.soft_time_limit,
            pool.hard_time_limit,
            pool.terminates,
            pool.reports_lost_slot,
            pool.recycles,
        )
        words = " | ".join("yes" if each else "no" for each in supported)
        since = "Celery " + ".".join(map(str, pool.since)) if any(pool.since) else ""
        needs = pool.needs or since
        row = f"| {pool.slots} | {words} | {needs} |".replace("|  |", "| |")
        assert any(
            line.startswith(f"| `{pool.name}") and line.endswith(row) for line in page.splitlines()
        ), row


def test_the_page_on_pools_has_every_key_of_a_side() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pools.md").read_text()

    assert all(f"\n| `{key}` |" in page for key in KEYS)
