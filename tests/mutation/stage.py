"""Lays the project out as mutmut wants it: in `.mutants`, with both packages at the top.

mutmut takes a module's name from its path, and `services/` and `workers/` are no packages. What it
keeps from the last time (which tests call which function) stays in `.mutants/mutants`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
STAGE: Final = ROOT / ".mutants"
_PACKAGES: Final = {
    "services/poolproof/": "poolproof/",
    "workers/poolproof_workers/": "poolproof_workers/",
}
#: What is mutated: the judge, and what runs in the measured process or reads what that wrote.
_MUTATED: Final = [
    "poolproof/judge/*.py",
    "poolproof/judge/*/*.py",
    "poolproof_workers/recorder/*.py",
    "poolproof_workers/supervisor/ring_cursor.py",
    "poolproof_workers/supervisor/ring_reader.py",
]
#: They look at files of the project, or draw pages out of finished summaries: slow, and no judge.
_LEFT_OUT: Final = ["test_example.py", "test_guard.py", "test_html.py", "test_project_files.py"]


def stage() -> None:
    """Copy the files of the project, with their times, and write mutmut's settings."""
    STAGE.mkdir(exist_ok=True)
    for old in [*STAGE.iterdir(), STAGE / "mutants" / "tests"]:
        if old.name != "mutants":
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    for name in _files():
        target = STAGE / _moved(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    with (STAGE / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(_settings())


def _files() -> list[str]:
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).is_file()]


def _moved(name: str) -> str:
    for old, new in _PACKAGES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _settings() -> str:
    # Forked from a process that has only imported: threads of polars do not survive a fork.
    packages = [name.rstrip("/") for name in _PACKAGES.values()]
    tests = ["tests/unit", *(f"--ignore=tests/unit/{name}" for name in _LEFT_OUT)]
    return f"""
[tool.mutmut]
source_paths = {packages}
only_mutate = {_MUTATED}
also_copy = ["docs", "benchmarks"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["--hypothesis-seed=0", "-pno:cacheprovider", "-ptests.mutation.quick"]
process_isolation = "forkserver"
timeout_constant = 5.0
"""


if __name__ == "__main__":
    stage()
