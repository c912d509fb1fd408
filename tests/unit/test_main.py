"""What a person reads when something goes wrong outside of poolproof."""

from __future__ import annotations

import errno
import os

import pytest
from redis.exceptions import (
    ConnectionError,  # noqa: A004
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from poolproof import __main__ as program
from poolproof_workers.errors import DISK, REDIS, USAGE, PoolproofError, UsageError
from poolproof_workers.settings import Settings


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOTDIR, errno.EISDIR, errno.ENOENT])
def test_trouble_with_a_file_is_one_line_and_an_exit_code(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number), "runs/here")

    monkeypatch.setattr(program.cli, "main", fail)
    monkeypatch.setattr(program, "obey_signals", lambda: None)

    assert program.main(["runs"]) == DISK
    assert capsys.readouterr().err == (f"poolproof: cannot use runs/here: {os.strerror(number)}\n")


_SECRET = "geheim"


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis.sock",
        f"http://user:{_SECRET}@localhost:6379",
        f"http:user:{_SECRET}@localhost",
        f"nothing:{_SECRET}@localhost",
        f"redis://:{_SECRET}@localhost:99999/0",
        f"redis://:{_SECRET}/1@localhost:6379/0",
        f"redis://[::1:{_SECRET}",
        f"memory://?password={_SECRET}",
    ],
)
@pytest.mark.parametrize("verb", ["compare", "crash", "enqueue", "play", "collect", "worker"])
def test_a_url_that_is_none_is_refused_by_its_option_s_name_and_not_shown(
    verb: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "obey_signals", lambda: None)

    assert program.main([verb, "--redis-url", url]) == USAGE
    said = capsys.readouterr().err
    assert "--redis-url" in said
    assert _SECRET not in said


def test_a_worker_s_settings_do_not_tell_the_password_of_a_url_that_is_none() -> None:
    for url in (f"http:user:{_SECRET}@host/0", f"redis://:{_SECRET}/1@host", f"x?p={_SECRET}"):
        with pytest.raises(UsageError, match="POOLPROOF_BROKER_URL") as refused:
            Settings.from_env({"POOLPROOF_BROKER_URL": url})
        assert _SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Redis says: no..", "Redis says: no."),
        ("It is 'full'.. Make room.", "It is 'full'. Make room."),
        ("sides a, b, ...", "sides a, b, ..."),
        ("cannot use ../runs or ..", "cannot use ../runs or .."),
    ],
)
def test_an_error_that_quotes_a_sentence_ends_with_one_full_stop(text: str, shown: str) -> None:
    assert str(PoolproofError(text)) == shown


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "is full"),
        (ResponseError("WRONGTYPE Operation against a key"), "refuses what it is asked: WRONGTYPE"),
        (ConnectionError("Connection refused"), "went away: Connection refused"),
    ],
)
def test_what_is_wrong_with_redis_is_named_as_what_it_is(
    error: RedisError,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(program.cli, "main", fail)
    monkeypatch.setattr(program, "obey_signals", lambda: None)

    assert program.main(["runs"]) == REDIS
    assert says in capsys.readouterr().err
