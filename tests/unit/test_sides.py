"""Sides as people write them on a command line."""

from __future__ import annotations

import pytest

from poolproof.infra.sides import SideSpec, parse
from poolproof_workers.errors import UsageError


def test_a_side_is_called_by_its_pool() -> None:
    sides = parse(["prefork:4", "solo", "custom:2=my.pools:TaskPool"])

    assert {label: side.spec.text for label, side in sides.items()} == {
        "prefork:4": "prefork:4",
        "solo": "solo",
        "custom:2": "custom:2=my.pools:TaskPool",
    }


@pytest.mark.parametrize(
    ("text", "label", "pool"),
    [
        ("a=threads:4", "a", "threads:4"),
        ("new-kombu_1.2=solo", "new-kombu_1.2", "solo"),
        ("mine=custom:2=my.pools:TaskPool", "mine", "custom:2=my.pools:TaskPool"),
        ("gevent=threads:4", "gevent", "threads:4"),
    ],
)
def test_a_side_may_have_a_label(text: str, label: str, pool: str) -> None:
    ((found, side),) = parse([text]).items()

    assert (found, side.spec.text) == (label, pool)


def test_a_side_has_settings_and_requirements_of_its_own() -> None:
    side = SideSpec.parse("threads:4@celery==5.6.3,kombu==5.6.2/policy=late/prefetch=1")

    assert side.spec.text == "threads:4"
    assert side.requirements == ("celery==5.6.3", "kombu==5.6.2")
    assert side.settings == {"POOLPROOF_POLICY": "late", "POOLPROOF_PREFETCH": "1"}


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("celery", ("celery",)),
        ("celery>=5.5,<5.7,kombu", ("celery>=5.5,<5.7", "kombu")),
        ("celery[redis,gevent]==5.6.*,kombu", ("celery[redis,gevent]==5.6.*", "kombu")),
        ("billiard~=4.2", ("billiard~=4.2",)),
    ],
)
def test_requirements_are_divided_by_commas(text: str, requirements: tuple[str, ...]) -> None:
    assert SideSpec.parse(f"solo@{text}").requirements == requirements


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("threads", "Write it as threads:N"),
        ("a b=threads:4", "'a b' is no label"),
        ("=threads:4", "'' is no label"),
        ("-x=threads:4", "'-x' is no label"),
        ("threads:4/", "'' is no setting of a side"),
        ("threads:4/prefetch", "'prefetch' is no setting of a side"),
        ("threads:4/prefetch=", "'prefetch=' is no setting of a side"),
        ("threads:4/concurrency=4", "with one of: policy, prefetch, events"),
        ("threads:4/allow_faults=1", "is no setting of a side"),
        ("threads:4/prefetch=1/prefetch=2", "sets prefetch twice"),
        ("threads:4/prefetch=many", "POOLPROOF_PREFETCH=many is not a whole number"),
        ("threads:4/serializer=pickle", "POOLPROOF_SERIALIZER=pickle is not one of json, yaml"),
        ("threads:4@", "'' is no requirement"),
        ("threads:4@celery==5.6.3,,kombu", "'' is no requirement"),
        ("threads:4@--index-url", "'--index-url' is no requirement"),
        ("threads:4@celery==5.6.3/x", "'x' is no setting"),
        ("threads:4@git+https:", "is no requirement"),
        ("threads:4@celery == 5.6.3", "is no requirement"),
    ],
)
def test_what_is_wrong_with_a_side_is_said_in_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([text])

    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", ["threads:4", "threads:4/prefetch=1", "threads:4@celery==5.6.3"])
def test_two_sides_of_one_name_are_told_to_take_labels(other: str) -> None:
    with pytest.raises(
        UsageError, match=r"called 'threads:4'\. Give them labels: --pool a=threads"
    ):
        parse(["threads:4", other])


def test_a_label_is_given_once() -> None:
    with pytest.raises(UsageError, match="Two sides are called 'a'"):
        parse(["a=threads:4", "a=prefork:4"])


def test_what_an_experiment_decides_itself_is_no_setting_of_a_side() -> None:
    with pytest.raises(UsageError, match="policy cannot be set for one side here: use --policy"):
        parse(["threads:4/policy=late"], {"policy": "use --policy"})
