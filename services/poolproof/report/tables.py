"""A table of words and written-out numbers, for every format to lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Summary: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Numbers stand to the right."""

    heading: str = ""
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; every row has a cell for every column."""

    title: str
    note: str  #: how to read it, in one sentence
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    detail: bool = False  #: only for who wants to know more


def by_workload(summary: Summary) -> Iterator[tuple[str, dict[str, Summary]]]:
    """Yield each workload with its figures of every pool that did it."""
    pools = summary["pools"]
    for name in dict.fromkeys(name for of in pools.values() for name in of["workloads"]):
        yield name, {p: of["workloads"][name] for p, of in pools.items() if name in of["workloads"]}
