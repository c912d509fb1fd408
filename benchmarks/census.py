"""Counts what the tree is made of: files, folders, importers, chains. `scripts/census [COMMIT]...`.

A figure of a commit is of a copy of it, so that two of them can be put side by side.
"""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import grimp

ROOT: Final = Path(__file__).parents[1]
#: Package -> the folder that it lies in.
_PACKAGES: Final = {"poolproof": "services", "poolproof_workers": "workers", "benchmarks": "."}
_LONG_FUNCTION: Final = 40
_COMPLEX: Final = 15


def census(tree: Path) -> dict[str, int | str]:
    """Return label -> figure of the tree in a folder. The packages must come from there."""
    sources = [path for name in _PACKAGES for path in _sources(tree / _PACKAGES[name] / name)]
    tests = _sources(tree / "tests")
    folders = Counter(path.parent for path in sources)
    fullest, most = folders.most_common(1)[0]
    parsed = [ast.parse(path.read_text("utf-8")) for path in sources]
    nodes = [node for module in parsed for node in ast.walk(module)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    graph = grimp.build_graph(*_present(tree), cache_dir=None)
    modules = [name for name in graph.modules if not _is_package(tree, name)]
    importers = {name: graph.find_modules_that_directly_import(name) for name in modules}
    return {
        "files": len(sources),
        "lines": _lines(sources),
        "files of tests": len(tests),
        "lines of tests": _lines(tests),
        "files in the fullest folder": f"{most} ({fullest.relative_to(tree)})",
        "folders of more than 20 files": sum(count > 20 for count in folders.values()),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "files with one importer": sum(len(found) == 1 for found in importers.values()),
        "files in circles of imports": _in_circles(graph),
        "longest chain of imports": _longest_chain(graph),
        f"functions of more than {_LONG_FUNCTION} lines": sum(map(_is_long, functions)),
        f"functions of a complexity above {_COMPLEX}": _complex(tree),
    }


def of_commit(commit: str) -> dict[str, int | str]:
    """Return the census of a commit. Raises subprocess.CalledProcessError if there is none."""
    archive = ["git", "-C", str(ROOT), "archive", commit]
    content = subprocess.run(archive, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(content)) as files:
            files.extractall(folder, filter="data")
        return of_tree(Path(folder))


def of_tree(tree: Path) -> dict[str, int | str]:
    """Return the census of the tree in a folder, counted in a process that has no other."""
    paths = [str(tree / place) for place in dict.fromkeys(_PACKAGES.values())]
    words = [sys.executable, "-c", _COUNT, str(Path(__file__)), str(tree), *paths]
    return dict(json.loads(subprocess.run(words, check=True, capture_output=True).stdout))


#: Its packages come first on the path, before any that are installed.
_COUNT: Final = """
import json, runpy, sys
from pathlib import Path
program, folder, *sys.path[:0] = sys.argv[1:]
print(json.dumps(runpy.run_path(program)["census"](Path(folder))))
"""


def table(columns: dict[str, dict[str, int | str]]) -> str:
    """Return censuses side by side, in Markdown."""
    labels = list(dict.fromkeys(label for column in columns.values() for label in column))
    rows = [["", *columns], ["---", *("--:" for _ in columns)]]
    rows += [[label, *(_figure(each.get(label)) for each in columns.values())] for label in labels]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _figure(value: int | str | None) -> str:
    return f"{value:,}" if isinstance(value, int) else value or ""


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _lines(paths: list[Path]) -> int:
    return sum(path.read_text("utf-8").count("\n") for path in paths)


def _present(tree: Path) -> list[str]:
    return [name for name, place in _PACKAGES.items() if (tree / place / name).is_dir()]


def _is_package(tree: Path, module: str) -> bool:
    return (tree / _PACKAGES[module.partition(".")[0]] / module.replace(".", "/")).is_dir()


def _is_long(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return (function.end_lineno or function.lineno) - function.lineno >= _LONG_FUNCTION


def _complex(tree: Path) -> int:
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "C901", "--exit-zero"]
    ruff += ["--config", f"lint.mccabe.max-complexity={_COMPLEX}", "--output-format", "json"]
    words = [*ruff, *(str(tree / _PACKAGES[name] / name) for name in _present(tree))]
    return len(json.loads(subprocess.run(words, check=True, capture_output=True).stdout))


def _in_circles(graph: grimp.ImportGraph) -> int:
    """Return how many modules import themselves by way of others, for typing included."""
    return sum(
        any(
            graph.chain_exists(importer=imported, imported=module)
            for imported in graph.find_modules_directly_imported_by(module)
        )
        for module in graph.modules
    )


def _longest_chain(graph: grimp.ImportGraph) -> int:
    """Return how many modules import one another in a row; with circles at least so many."""
    under_way: set[str] = set()

    @cache
    def depth(module: str) -> int:
        under_way.add(module)
        below = graph.find_modules_directly_imported_by(module) - under_way
        longest = 1 + max(map(depth, sorted(below)), default=0)
        under_way.discard(module)
        return longest

    return max(map(depth, sorted(graph.modules)))


if __name__ == "__main__":
    commits = sys.argv[1:] or ["HEAD"]
    print(table({commit: of_commit(commit) for commit in commits}), end="")
