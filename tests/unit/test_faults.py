"""The table of faults, and the task that refuses or does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof_workers.app import make_app
from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.faults.crashes import DeliberateError
from poolproof_workers.faults.task import FAULT, FaultsOff, about_to_fault
from poolproof_workers.pools import POOLS
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from poolproof_workers.faults.fault import Fault


@pytest.fixture
def app() -> Celery:
    return make_app(Settings.from_env({"POOLPROOF_ALLOW_FAULTS": "1"}))


@pytest.fixture
def announced() -> Iterator[list[tuple[str, int]]]:
    heard: list[tuple[str, int]] = []

    def listen(task_id: str, detail: int, **_: object) -> None:
        heard.append((task_id, detail))

    about_to_fault.connect(listen, weak=False)
    yield heard
    about_to_fault.disconnect(listen)


def test_the_faults_keep_their_names_and_their_order() -> None:
    assert [fault.name for fault in FAULTS][:8] == [
        "segfault",
        "os-exit",
        "kill-self",
        "system-exit",
        "exception",
        "kill-child",
        "kill-worker",
        "term-worker",
    ]


def test_no_two_faults_have_one_name() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_one_place_where_it_is_done_and_says_what_and_why(fault: Fault) -> None:
    assert (fault.do is not None) == (fault.where == "inside")
    assert (fault.blow is not None) == (fault.where == "outside")
    assert (fault.trouble is not None) == (fault.where == "broker")
    assert fault.what
    assert fault.lesson.endswith(".")
    assert bool(fault.only_on) == bool(fault.why_only)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_a_fault_needs_is_a_setting_of_the_worker(fault: Fault) -> None:
    settings = Settings.from_env({**fault.settings})

    assert {**fault.settings}.items() <= settings.to_env().items()


def test_a_fault_that_cannot_be_done_to_a_pool_says_why() -> None:
    _, fault = find("kill-child")

    assert fault.why_not(POOLS["prefork"]) is None
    assert "no child processes" in (fault.why_not(POOLS["threads"]) or "")
    assert find("segfault")[1].why_not(POOLS["threads"]) is None


def test_an_unknown_fault_is_not_found() -> None:
    with pytest.raises(KeyError):
        find("meteor")


def test_a_fault_is_announced_before_it_happens(
    app: Celery, announced: list[tuple[str, int]]
) -> None:
    result = app.tasks[FAULT].apply(("exception",), task_id="t1")

    assert isinstance(result.result, DeliberateError)
    assert announced == [("t1", find("exception")[0])]


def test_a_system_exit_is_not_caught(app: Celery) -> None:
    with pytest.raises(SystemExit):
        app.tasks[FAULT].apply(("system-exit",))


def test_a_fault_from_outside_is_refused_by_the_task(
    app: Celery, announced: list[tuple[str, int]]
) -> None:
    result = app.tasks[FAULT].apply(("kill-worker",))

    assert isinstance(result.result, FaultsOff)
    assert announced == []


def test_without_leave_the_task_says_that_faults_are_off(
    announced: list[tuple[str, int]],
) -> None:
    app = make_app(Settings.from_env({}))

    result = app.tasks[FAULT].apply(("exception",), {"after_s": 60})
    assert isinstance(result.result, FaultsOff)
    assert "POOLPROOF_ALLOW_FAULTS=1" in str(result.result)
    assert announced == []
