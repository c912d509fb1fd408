"""The environment of a worker, read once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from poolproof_workers.errors import USAGE, UsageError
from poolproof_workers.settings import Policy, Settings

EVERYTHING = {
    "POOLPROOF_POOL": "threads:7",
    "POOLPROOF_SIDE": "left",
    "POOLPROOF_NAME": "one@host.example",
    "POOLPROOF_REDIS_URL": "rediss://user:secret@host:1234/5",
    "POOLPROOF_NAMESPACE": "mine",
    "POOLPROOF_POLICY": "late-retry",
    "POOLPROOF_PREFETCH": "1",
    "POOLPROOF_VISIBILITY_TIMEOUT_S": "4.5",
    "POOLPROOF_RESTORE_INTERVAL_S": "1.0",
    "POOLPROOF_RESTORE_THROTTLE": "2",
    "POOLPROOF_EVENTS": "1",
    "POOLPROOF_ALLOW_FAULTS": "1",
    "POOLPROOF_RINGS": "/some/where",
    "POOLPROOF_RESTART_DELAY_S": "0.5",
    "POOLPROOF_RETRY_DELAY_S": "3.0",
    "POOLPROOF_INCLUDE": "one,two.three",
    "POOLPROOF_RESULTS": "redis",
    "POOLPROOF_SERIALIZER": "yaml",
    "POOLPROOF_OPTIMIZATION": "fair",
}


def test_an_empty_environment_is_celerys_defaults_on_prefork() -> None:
    settings = Settings.from_env({})

    assert (settings.pool.text, settings.side) == ("prefork:4", "prefork:4")
    assert settings.name == f"prefork-4@{socket.gethostname()}"
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.policy is Policy.EARLY
    assert (settings.prefetch, settings.visibility_timeout_s) == (4, 3600)
    assert (settings.restore_interval_s, settings.restore_throttle) == (10, 10)
    assert not settings.events
    assert not settings.allow_faults
    assert settings.restart_delay_s == 1.0
    assert settings.ring_folder == settings.rings / settings.name


def test_every_variable_goes_round() -> None:
    settings = Settings.from_env(EVERYTHING)

    assert settings.to_env().items() >= EVERYTHING.items()
    assert Settings.from_env(settings.to_env()) == settings


@pytest.mark.parametrize("variable", sorted(EVERYTHING))
def test_every_variable_has_a_meaning(variable: str) -> None:
    others = {name: value for name, value in EVERYTHING.items() if name != variable}

    assert Settings.from_env(others) != Settings.from_env(EVERYTHING)


@pytest.mark.parametrize(
    "variable", sorted(EVERYTHING.keys() - {"POOLPROOF_RESTART_DELAY_S", "POOLPROOF_NAME"})
)
def test_an_empty_variable_counts_as_unset(variable: str) -> None:
    assert Settings.from_env({variable: ""}) == Settings.from_env({})


@pytest.mark.parametrize("text", ["", "never"])
def test_a_worker_may_be_told_never_to_restart(text: str) -> None:
    settings = Settings.from_env({"POOLPROOF_RESTART_DELAY_S": text})

    assert settings.restart_delay_s is None
    assert Settings.from_env(settings.to_env()).restart_delay_s is None


def test_redis_url_is_read_where_there_is_no_poolproof_redis_url() -> None:
    ours = {"POOLPROOF_REDIS_URL": "redis://ours:1/0"}
    common = {"REDIS_URL": "redis://common:1/0"}

    assert Settings.from_env(common).redis_url == "redis://common:1/0"
    assert Settings.from_env(common | ours).redis_url == "redis://ours:1/0"


def test_a_name_without_a_host_gets_this_one() -> None:
    assert Settings.from_env({"POOLPROOF_NAME": "w1"}).name == f"w1@{socket.gethostname()}"


def test_the_rings_are_by_default_in_a_folder_of_this_user() -> None:
    rings = Settings.from_env({}).rings

    assert rings.name.startswith("poolproof-")
    assert rings.parent.is_dir()
    if Path("/dev/shm").is_mount():
        assert rings.parent == Path("/dev/shm")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POOL", "prefork:0"),
        ("POOL", "prefork:abc"),
        ("POOL", "forks:4"),
        ("SIDE", "a b"),
        ("SIDE", "a,b"),
        ("NAME", "a@b@c"),
        ("NAME", "%h@x"),
        ("NAME", "../up@x"),
        ("REDIS_URL", "http://host"),
        ("REDIS_URL", "redis://host:port/0"),
        ("REDIS_URL", "redis://"),
        ("NAMESPACE", "a*"),
        ("NAMESPACE", "a:b"),
        ("POLICY", "LATE"),
        ("PREFETCH", "-1"),
        ("PREFETCH", "1.5"),
        ("VISIBILITY_TIMEOUT_S", "0"),
        ("VISIBILITY_TIMEOUT_S", "nan"),
        ("VISIBILITY_TIMEOUT_S", "inf"),
        ("RESTORE_INTERVAL_S", "soon"),
        ("RESTORE_THROTTLE", "0"),
        ("EVENTS", "yes"),
        ("ALLOW_FAULTS", "2"),
        ("RINGS", "relative"),
        ("RESTART_DELAY_S", "-1"),
        ("RETRY_DELAY_S", "-1"),
        ("INCLUDE", "a b"),
        ("RESULTS", "rpc"),
        ("SERIALIZER", "pickle"),
        ("SERIALIZER", "msgpack"),
        ("OPTIMIZATION", "fast"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.from_env({f"POOLPROOF_{name}": value})

    assert str(caught.value).startswith(f"POOLPROOF_{name}={value}")
    assert caught.value.exit_code == USAGE


def test_a_password_is_shown_nowhere() -> None:
    with pytest.raises(UsageError) as caught:
        Settings.from_env({"POOLPROOF_REDIS_URL": "redis://user:secret@host:port/0"})
    settings = Settings.from_env(EVERYTHING)

    assert "secret" not in str(caught.value)
    assert "secret" not in repr(settings)
