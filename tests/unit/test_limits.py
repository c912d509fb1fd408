"""Whatever number a person writes, it is taken or refused: it never ends a verb in its middle."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any
from unittest import mock

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproof import __main__ as program
from poolproof.__main__ import VERBS
from poolproof.cli.options import Share
from poolproof.experiments import sweep
from poolproof.judge.thresholds import Threshold
from poolproof_workers.errors import USAGE, PoolproofError
from poolproof_workers.pools import PoolSpec
from poolproof_workers.settings import Settings

#: No number that is taken is beyond that.
_ABSURD = 1 << 63
_TRIED = settings(max_examples=40, deadline=None)
_NUMBERS = (click.types.IntParamType, click.types.FloatParamType, Share)
#: Variables of a worker that hold a number.
_VARIABLES = (
    "PREFETCH",
    "VISIBILITY_TIMEOUT_S",
    "RESTORE_INTERVAL_S",
    "RESTORE_THROTTLE",
    "RESTART_DELAY_S",
    "RETRY_DELAY_S",
    "SOFT_TIME_LIMIT_S",
    "TIME_LIMIT_S",
    "MAX_MEMORY_PER_CHILD_KB",
)

_WRITTEN = st.one_of(
    st.sampled_from(["nan", "NaN", "-nan", "inf", "-inf", "infinity", "1e308", "1e999", "-1e308"]),
    st.sampled_from(["", " ", "0", "-0", "-1", "0x10", "1_000", "\uff11\uff12", "\u00bd"]),
    st.sampled_from(["5%", "nan%", "1e3%", "%"]),
    st.floats().map(repr),
    st.integers().map(str),
    st.integers(1, 6_000).map(lambda digits: "9" * digits),
    st.text(max_size=8).filter(lambda text: "\0" not in text),
)


def _commands() -> dict[str, click.Command]:
    verbs = {verb: importlib.import_module(f"poolproof.cli.{verb}").command for verb in VERBS}
    return {**verbs, "bench": importlib.import_module("benchmarks.__main__").command}


def _numeric() -> list[tuple[str, click.Parameter]]:
    return [
        (verb, parameter)
        for verb, command in _commands().items()
        for parameter in command.params
        if isinstance(parameter.type, _NUMBERS)
    ]


_NUMERIC = _numeric()
_NAMES = [f"{verb} {parameter.name}" for verb, parameter in _NUMERIC]


def _is_sane(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(each is None or (math.isfinite(each) and abs(each) <= _ABSURD) for each in values)


def test_there_are_numbers_to_try() -> None:
    assert {"compare budget_s", "enqueue rate", "enqueue numbers", "play tasks"} <= set(_NAMES)


@pytest.mark.parametrize(("verb", "parameter"), _NUMERIC, ids=_NAMES)
def test_every_number_has_a_least_and_a_most(verb: str, parameter: click.Parameter) -> None:
    del verb
    if isinstance(parameter.type, Share):
        return
    assert isinstance(parameter.type, click.IntRange | click.FloatRange)
    assert parameter.type.min is not None
    assert parameter.type.max is not None


@pytest.mark.parametrize(("verb", "parameter"), _NUMERIC, ids=_NAMES)
@_TRIED
@given(text=_WRITTEN)
def test_a_number_on_the_command_line_is_sane_or_refused(
    verb: str, parameter: click.Parameter, text: str
) -> None:
    command = _commands()[verb]
    words = [f"{parameter.opts[0]}={text}"] if isinstance(parameter, click.Option) else [text]
    try:
        context = command.make_context(verb, words)
    except (click.ClickException, PoolproofError):
        return
    except click.exceptions.Exit:
        return  # a text that is an option, as --help
    assert _is_sane(context.params[str(parameter.name)])


@pytest.mark.parametrize(
    ("verb", "parameter"),
    [pair for pair in _NUMERIC if pair[1].envvar],
    ids=[f"{verb} {parameter.envvar}" for verb, parameter in _NUMERIC if parameter.envvar],
)
@_TRIED
@given(text=_WRITTEN.filter(lambda text: text.isascii()))
def test_a_number_in_the_environment_is_sane_or_refused(
    verb: str, parameter: click.Parameter, text: str
) -> None:
    with mock.patch.dict(os.environ, {str(parameter.envvar): text}):
        try:
            context = _commands()[verb].make_context(verb, [])
        except (click.ClickException, PoolproofError):
            return
    assert _is_sane(context.params[str(parameter.name)])


@pytest.mark.parametrize("name", _VARIABLES)
@_TRIED
@given(text=_WRITTEN)
def test_a_number_of_a_worker_s_settings_is_sane_or_refused(name: str, text: str) -> None:
    try:
        settings = Settings.from_env({f"POOLPROOF_{name}": text})
    except PoolproofError:
        return
    assert _is_sane(getattr(settings, name.lower()))


@_TRIED
@given(text=_WRITTEN)
def test_numbers_within_a_text_are_sane_or_refused(text: str) -> None:
    for parse, of in (
        (sweep.parse, "concurrency=1,{}"),
        (PoolSpec.parse, "threads:{}"),
        (Threshold.parse, "threads:4 throughput > {}%"),
    ):
        try:
            found: Any = parse(of.format(text))  # type: ignore[operator]
        except PoolproofError:
            continue
        match found:
            case PoolSpec():
                assert found.concurrency <= 10_000
            case Threshold():
                assert _is_sane(found.ratio)
            case _:
                assert _is_sane(found)


@pytest.mark.parametrize(
    "words",
    [
        ("enqueue", "--rate", "nan", "--for-s", "1"),
        ("enqueue", "--rate", "1e308", "--for-s", "1e308"),
        ("enqueue", "--rate", "1e-10", "--for-s", "1", "--redis-url", "redis://127.0.0.1:1/0"),
        ("enqueue", "--rate", "1e-300", "--for-s", "1", "--redis-url", "redis://127.0.0.1:1/0"),
        ("enqueue", "--rate", "1000000", "--for-s", "86400"),
        ("enqueue", "1", "--sleep-s", "nan"),
        ("compare", "--budget-s", "nan"),
        ("compare", "--budget-s", "inf"),
        ("compare", "--sweep", f"concurrency={'9' * 5000}"),
        ("compare", "--pool", f"threads:{'9' * 5000}"),
        ("play", "--budget-s", "nan"),
        ("serve", "run", "--speed", "nan"),
        ("worker", "--grace-s", "nan"),
    ],
)
def test_a_number_that_is_none_is_one_line_and_exit_code_2(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "obey_signals", lambda: None)

    assert program.main(words) == USAGE
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "Traceback" not in "".join(said)
    assert sum(line.startswith(("Error: ", "poolproof: ")) for line in said) == 1
