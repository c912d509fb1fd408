"""What the census counts, on a tree that is small enough to be counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.census import of_tree, table

if TYPE_CHECKING:
    from pathlib import Path

_LONG = "def long():\n" + "    pass\n" * 40


def _tree(folder: Path, sources: dict[str, str]) -> Path:
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_files_importers_circles_and_chains_are_counted(tmp_path: Path) -> None:
    tree = _tree(
        tmp_path,
        {
            "services/poolproof/__init__.py": "",
            "services/poolproof/top.py": "from poolproof import middle\n",
            "services/poolproof/middle.py": (
                "import poolproof_workers.end\nimport poolproof.round\n"
            ),
            "services/poolproof/round.py": (
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from poolproof.middle import X\n"
            ),
            "workers/poolproof_workers/__init__.py": "",
            "workers/poolproof_workers/end.py": f"class A:\n    pass\n\n\n{_LONG}",
            "tests/test_a.py": "assert True\n",
        },
    )

    found = of_tree(tree)

    assert found == {
        "files": 6,
        "lines": 51,
        "files of tests": 1,
        "lines of tests": 1,
        "files in the fullest folder": "4 (services/poolproof)",
        "folders of more than 20 files": 0,
        "classes": 1,
        "files with one importer": 2,  # round and end; middle has two
        "files in circles of imports": 2,
        "longest chain of imports": 3,
        "functions of more than 40 lines": 1,
        "functions of a complexity above 15": 0,
    }
    assert "| files | 6 | 6 |" in table({"before": found, "after": found})
