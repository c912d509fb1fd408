"""In what sides differ, by what their workers said of themselves."""

from __future__ import annotations

from typing import Any

from poolproof.judge.performance.conditions import differences
from poolproof.report.content import differences as table


def side(pool: str, celery: str = "5.7.0", **settings: str) -> dict[str, Any]:
    return {"pool": pool, "terms": {"settings": settings, "versions": {"celery": celery}}}


def test_sides_that_say_by_name_how_they_differ_need_no_more_words() -> None:
    assert differences({"prefork:4": side("prefork:4"), "solo": side("solo")}) == {}


def test_two_of_the_same_do_not_differ() -> None:
    assert differences({"a": side("threads:4"), "b": side("threads:4")}) == {}


def test_pools_behind_labels_settings_and_versions_are_told() -> None:
    found = differences(
        {
            "a": side("threads:4", policy="late", prefetch="1"),
            "b": side("prefork:4", "5.6.3", policy="early", prefetch="1"),
        }
    )

    assert found == {
        "pool": {"a": "threads:4", "b": "prefork:4"},
        "policy": {"a": "late", "b": "early"},
        "celery": {"a": "5.7.0", "b": "5.6.3"},
    }


def test_a_side_that_looks_for_unacknowledged_messages_less_often_is_told() -> None:
    pools = {"old": side("threads:4", "5.4.0"), "new": side("threads:4", "5.4.0")}
    for label, sweep_s in (("old", 100.0), ("new", 1.0)):
        pools[label]["settings"] = {"visibility_timeout_s": 4.0, "sweep_s": sweep_s}

    assert differences(pools) == {"looks for unacked": {"old": "every 100 s", "new": "every 1 s"}}


def test_what_only_one_side_has_is_a_difference() -> None:
    one = side("gevent:4")
    one["terms"]["versions"]["gevent"] = "26.9.0"
    pools = {"gevent:4": one, "threads:4": side("threads:4")}

    assert differences(pools) == {"gevent": {"gevent:4": "26.9.0", "threads:4": None}}
    summary = {"pools": pools, "differences": differences(pools)}
    assert table(summary).rows == (("gevent", "26.9.0", "-"),)


def test_a_run_from_before_sides_could_differ_has_no_such_table() -> None:
    assert table({"pools": {"solo": {"pool": "solo"}}}).rows == ()
