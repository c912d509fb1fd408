"""The Celery application that settings make."""

from __future__ import annotations

import os
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
        "unacked_restore_interval": 1.0,
        "unacked_restore_throttle": 10,
    }


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
        [sys.executable, "-c", "import poolproof_workers.app, poolproof_workers.recorder"],
        env=bad,
        check=True,
        timeout=60,
    )
