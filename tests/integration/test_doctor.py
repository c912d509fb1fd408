from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.infra.machine import versions
from poolproof_workers.errors import FAILED_CHECK, OK, USAGE

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer


def doctor(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "REDIS_URL" not in name}
    return subprocess.run(
        [sys.executable, "-m", "poolproof", "doctor", *words],
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_without_a_redis_it_looks_at_the_embedded_one_and_leaves_nothing(tmp_path: Path) -> None:
    done = doctor("--json", TMPDIR=str(tmp_path))

    report = json.loads(done.stdout)
    assert done.returncode == OK, done.stderr
    assert done.stderr == ""
    assert report["ok"] is True
    assert "embedded" in findings(done)["Redis"]["found"]
    assert report["versions"]["celery"]
    assert report["machine"]["cores"] >= 1
    assert list(tmp_path.iterdir()) == []


def test_it_looks_at_the_redis_that_the_environment_names(redis_server: RedisServer) -> None:
    done = doctor("--json", REDIS_URL=redis_server.url)

    found = findings(done)["Redis"]
    assert found["level"] != "bad"  # a busy machine makes its round trips slow, which it warns of
    assert redis_server.url.split("@")[1].removesuffix("/0") in found["found"]
    assert redis_server.url.split("@")[0].removeprefix("redis://:") not in done.stdout


def test_a_redis_that_evicts_is_warned_of(redis_server: RedisServer, redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")

    done = doctor("--json", "--redis-url", redis_server.url)

    assert done.returncode == OK
    assert findings(done)["Redis"]["level"] == "warn"
    assert "allkeys-lru" in findings(done)["Redis"]["found"]


def test_a_redis_that_is_not_there_is_bad_and_the_rest_is_still_looked_at() -> None:
    done = doctor("--redis-url", "redis://127.0.0.1:1/0")

    assert done.returncode == FAILED_CHECK
    assert done.stdout.startswith("bad   Redis")
    assert "\nok    Python" in done.stdout
    assert "\x1b[" not in done.stdout


def test_a_ring_folder_that_cannot_be_made_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = doctor("--json", POOLPROOF_RINGS=str(tmp_path / "file" / "rings"))

    assert done.returncode == FAILED_CHECK
    assert findings(done)["rings"]["level"] == "bad"


@pytest.mark.parametrize("variable", ["POOLPROOF_RINGS", "POOLPROOF_POOL"])
def test_a_bad_variable_is_a_mistake_in_usage(variable: str) -> None:
    done = doctor(**{variable: "what?"})

    assert done.returncode == USAGE
    assert variable in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_versions_of_a_result_name_the_real_server(redis: Redis) -> None:
    found = versions(redis)

    assert json.loads(json.dumps(found)) == found
    assert found["server"].split()[0] in {"Valkey", "Redis"}
    assert {"python", "celery", "kombu", "billiard", "redis", "poolproof", "commit"} <= set(found)
