"""Cases of a test, of which most are played by `./scripts/test all` only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def rest_long(*cases: Any, of: int = 1) -> list[Any]:
    """Return the cases (a tuple where a case has several values), long but for the first `of`."""
    return chosen(cases, cases[:of])


def chosen(cases: Iterable[Any], short: Iterable[Any]) -> list[Any]:
    """Return the cases, all that are not among `short` marked as long."""
    always = list(short)
    return [
        case
        if case in always
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
        for case in cases
    ]
