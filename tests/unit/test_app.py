"""The Celery application that settings make."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from celery.app.utils import find_app

from poolproof_workers import app as app_module
from poolproof_workers.app import make_app
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from celery import Celery


def app_with(**variables: str) -> Celery:
    return make_app(Settings.from_env({f"POOLPROOF_{k}": v for k, v in variables.items()}))


def test_it_has_our_tasks() -> None:
    assert {"poolproof.square", "poolproof.fault"} <= set(app_with().tasks)


def test_applications_of_one_process_share_nothing() -> None:
    faulty, safe = app_with(ALLOW_FAULTS="1"), app_with()

    ran = [app.tasks["poolproof.fault"].run.__name__ for app in (faulty, safe)]
    assert ran == ["_do", "_refuse"]


def test_it_speaks_json_only_and_keeps_no_results() -> None:
    conf = app_with().conf

    assert conf.accept_content == ["json"]
    assert (conf.task_serializer, conf.result_serializer) == ("json", "json")
    assert conf.task_ignore_result
    assert conf.result_backend is None


def test_each_side_has_its_own_keys_and_times() -> None:
    options = app_with(
        NAMESPACE="ns", SIDE="left", VISIBILITY_TIMEOUT_S="4", RESTORE_INTERVAL_S="1"
    ).conf.broker_transport_options

    assert options == {
        "global_keyprefix": "ns:celery:",
        "unacked_key": "unacked:left",
        "unacked_index_key": "unacked_index:left",
        "unacked_mutex_key": "unacked_mutex:left",
        "visibility_timeout": 4.0,
        "unacked_mutex_expire": 4.0,
        "unacked_restore_interval": 1.0,
        "unacked_restore_throttle": 10,
    }


@pytest.mark.parametrize(("timeout_s", "lock_s"), [("0.2", 1.0), ("20", 20.0), ("3600", 300.0)])
def test_the_lock_of_a_look_lasts_as_long_as_the_timeout_and_never_longer_than_kombus(
    timeout_s: str, lock_s: float
) -> None:
    options = app_with(VISIBILITY_TIMEOUT_S=timeout_s).conf.broker_transport_options

    assert options["unacked_mutex_expire"] == lock_s


@pytest.mark.parametrize(
    ("policy", "late", "reject", "retry"),
    [
        ("early", False, None, False),
        ("late", True, None, False),
        ("late-reject", True, True, False),
        ("late-retry", True, None, True),
    ],
)
def test_a_policy_is_celerys_own_settings(
    policy: str, late: bool, reject: bool | None, retry: bool
) -> None:
    app = app_with(POLICY=policy, RETRY_DELAY_S="2")

    for name in ("poolproof.square", "poolproof.fault"):
        task = app.tasks[name]
        assert (task.acks_late, task.reject_on_worker_lost) == (late, reject)
        assert (task.retry_on_worker_lost, task.default_retry_delay) == (retry, 2.0)


def test_a_broker_that_is_meant_for_another_application_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere:1/0")
    app = app_with(REDIS_URL="redis://here:2/0")

    assert app.connection_for_read().hostname == "here"
    assert app.connection_for_write().hostname == "here"


def test_celery_finds_it_by_the_modules_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLPROOF_SIDE", "found")
    app_module._from_environment.cache_clear()

    app = find_app("poolproof_workers.app")
    assert app.conf.task_default_queue == "found"
    assert find_app("poolproof_workers.app") is app


def test_importing_it_reads_no_environment() -> None:
    bad = {**os.environ, "POOLPROOF_POOL": "nonsense"}

    subprocess.run(
        [sys.executable, "-c", "import poolproof_workers.app, poolproof_workers.recorder.recorder"],
        env=bad,
        check=True,
        timeout=60,
    )


def test_results_go_where_a_side_wants_them_under_our_prefix() -> None:
    conf = app_with(RESULTS="redis", NAMESPACE="ns", REDIS_URL="redis://here:2/0").conf

    assert not conf.task_ignore_result
    assert conf.result_backend == "redis://here:2/0"
    assert conf.result_backend_transport_options == {"global_keyprefix": "ns:results:"}


def test_a_serializer_is_its_tasks_alone_and_pickle_is_never_accepted() -> None:
    app = app_with(SERIALIZER="yaml")

    assert app.conf.accept_content == ["json", "yaml"]
    assert app.tasks["poolproof.square"].serializer == "yaml"
    # Every worker hears the remote control, also one that only accepts JSON.
    assert app.control.mailbox.serializer == "json"


def test_a_spawned_child_makes_the_application_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLPROOF_SIDE", "spawned")
    app_module._from_environment.cache_clear()
    app = app_with(SIDE="spawned")
    app.conf.include = ("json.tool",)

    child = pickle.loads(pickle.dumps(app))

    assert child.conf.task_default_queue == "spawned"
    assert child.conf.include == ("json.tool",)
    assert "poolproof.square" in child.tasks


def test_celery_finds_its_broker_where_redis_is_unless_it_is_told_another_way() -> None:
    plain = app_with(REDIS_URL="redis://there:1/0").conf
    proxied = app_with(REDIS_URL="redis://there:1/0", BROKER_URL="redis://proxy:2/0").conf

    assert (plain.broker_read_url, plain.broker_write_url) == ("redis://there:1/0",) * 2
    assert (proxied.broker_read_url, proxied.broker_write_url) == ("redis://proxy:2/0",) * 2
