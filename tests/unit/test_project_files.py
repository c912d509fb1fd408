from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Written in halves, so that this file does not name them.
_HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "conda." + "anaconda",
    "deb." + "debian.org",
    "archive." + "ubuntu",
    "docker." + "io/",
    "gh" + "cr.io",
    "qu" + "ay.io",
    "mcr." + "microsoft",
]


def _tracked_or_new() -> list[Path]:
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def _naming(pattern: str) -> list[str]:
    found = re.compile(pattern)
    texts = (
        (path, path.read_text(encoding="utf-8", errors="ignore")) for path in _tracked_or_new()
    )
    return [str(path.relative_to(ROOT)) for path, text in texts if found.search(text)]


def test_the_files_of_the_project_are_found() -> None:
    assert ROOT / "pyproject.toml" in _tracked_or_new()


def test_no_file_names_a_package_host() -> None:
    assert _naming("|".join(map(re.escape, _HOSTS))) == []


def test_no_file_names_where_the_project_lies_on_this_machine() -> None:
    assert _naming(re.escape(str(ROOT)) + r"(/|\b)") == []


def test_the_lock_has_a_hash_for_every_package_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    packages = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert len(packages) > 20
    assert not re.search(r"://|--index|--find-links", lock)


def test_every_script_is_executable() -> None:
    scripts = [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]

    assert [path.name for path in scripts if not path.stat().st_mode & 0o111] == []
