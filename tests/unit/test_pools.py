"""Pools as people write them, and the command lines that they become."""

from __future__ import annotations

import pytest

from poolproof_workers.errors import UsageError
from poolproof_workers.pools import POOLS, PoolSpec, command
from poolproof_workers.settings import Settings


@pytest.mark.parametrize(
    ("text", "name", "concurrency"),
    [("prefork:4", "prefork", 4), ("threads:10000", "threads", 10_000), ("solo", "solo", 1)],
)
def test_a_spec_is_read_and_written_alike(text: str, name: str, concurrency: int) -> None:
    spec = PoolSpec.parse(text)

    assert (spec.name, spec.concurrency, spec.text) == (name, concurrency, text)


def test_solo_may_say_that_it_has_one_slot() -> None:
    assert PoolSpec.parse("solo:1").text == "solo"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("forks:4", "no pool 'forks'. Use one of: prefork:N, threads:N, solo"),
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
        " --queues threads:3 --hostname w@h --loglevel WARNING --include poolproof_workers.recorder"
    )


def test_events_and_the_recorder_are_switched_by_the_command() -> None:
    settings = Settings.from_env({"POOLPROOF_EVENTS": "1"})

    assert command(settings)[-1] == "--task-events"
    assert "--include" not in command(settings, recorded=False)
