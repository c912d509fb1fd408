"""The mutants of a module, what each changes, and which of them are known to change nothing."""

from __future__ import annotations

import ast
import io
import tomllib
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutmut.__main__ import create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

if TYPE_CHECKING:
    from collections.abc import Iterable

_EQUIVALENT: Final = Path(__file__).with_name("equivalent.toml")
#: What pytest said of it, in mutmut's words, where a test saw the change.
_KILLED: Final = {"killed", "timeout", "segfault"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function."""

    name: str
    path: Path  #: in the stage

    @property
    def module(self) -> str:
        """As it is named on the command line: `judge/faults/impact.py`."""
        return str(self.path).removeprefix("poolproof/").removeprefix("poolproof_workers/")

    @property
    def pattern(self) -> str:
        """What mutmut calls all of its module."""
        return ".".join(self.path.with_suffix("").parts) + ".*"

    @property
    def function(self) -> str:
        """`name`, or `Class.name`."""
        function, owner = orig_function_and_class_names_from_key(self.name)
        return f"{owner}.{function}" if owner else function

    def change(self) -> Change:
        """Return what it changes."""
        return Change.of(get_diff_for_mutant(self.name, path=self.path))


@dataclass(frozen=True, slots=True)
class Change:
    """Lines that went and lines that came, and at which line of the function."""

    line: int
    was: str
    now: str

    @classmethod
    def of(cls, diff: str) -> Change:
        """Read a unified diff of one function."""
        header, *lines = diff.split("\n")[2:]
        first = next(index for index, line in enumerate(lines) if line[:1] in {"-", "+"})
        was, now = (
            " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
        )
        return cls(int(header.split("-")[1].split(",")[0].split()[0]) + first, was, now)


def mutants(modules: Iterable[str], jobs: int) -> list[Mutant]:
    """Make those of all modules that changed, and return those of these modules, or of all.

    Raises KeyError for a module that is not mutated.
    """
    with redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(jobs)
    found = {
        Mutant("", path).module: [Mutant(name, path) for name in fates(path)]
        for path in sorted(walk_mutatable_files())
    }
    return [mutant for name in list(modules) or found for mutant in found[name]]


def fates(path: Path) -> dict[str, bool | None]:
    """Return by name of a mutant whether a test saw it; None for one that was not tried."""
    data = SourceFileMutationData(path=path)
    data.load()
    return {
        name: None if code is None else status_by_exit_code[code] in _KILLED
        for name, code in data.exit_code_by_key.items()
    }


def equivalents() -> set[tuple[str, str, str, str]]:
    """Return (module, function, was, now) of the changes that are known to change nothing."""
    rows = tomllib.loads(_EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {(row["module"], row["function"], row["was"], now) for row in rows for now in row["now"]}


def first_lines(path: Path) -> dict[str, int]:
    """Return function -> its first line in the file."""
    found: dict[str, int] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef):
                line = min([each.lineno, *(of.lineno for of in each.decorator_list)])
                found[owner + each.name] = line
    return found
