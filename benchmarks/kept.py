"""What benches measured, as it is kept in docs, and the page that is made of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bounds import bound_of, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER: Final = "benches"
PAGE: Final = "benches.md"
_HEAD: Final = """\
# What poolproof itself does

Each table is one call of `scripts/bench NAME --rounds N --keep`, which writes this page anew from
all that is kept in [benches](benches), raw rounds included. What each figure is:
[method.md](method.md#checks), and the docstring of `measure` in `benchmarks/NAME.py`.
A ratio is taken within one run; all else depends on the machine.
"""


def keep(result: Mapping[str, Any], docs: Path) -> None:
    """Keep what a bench measured in the folder `docs`, and write its page. Raises OSError."""
    folder = docs / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{result['bench']}.json").write_text(json.dumps(result) + "\n", "utf-8")
    (docs / PAGE).write_text(page(docs), "utf-8")


def page(docs: Path) -> str:
    """Return the page of all that is kept, as Markdown."""
    kept = [json.loads(path.read_bytes()) for path in sorted((docs / FOLDER).glob("*.json"))]
    return "\n".join([_HEAD, *(line for result in kept for line in _section(result))])


def _section(result: Mapping[str, Any]) -> Iterator[str]:
    machine, versions = result["machine"], result["versions"]
    yield f"## {result['bench']}\n"
    yield f"{result['what'].capitalize()}: {result['asked']} rounds.\n"
    yield f"- begun {result['begun']}, when the 1-minute load was {result['load']:.1f}"
    yield f"- {machine['cpu']} · {machine['usable_cores']} cores · {machine['system']}"
    yield f"- Celery {versions['celery']} · Python {versions['python']}"
    yield f"- poolproof {versions['poolproof']} (commit {versions['commit']})\n"
    yield "| figure | value | must be | |\n|---|--:|---|---|"
    for name, value in result["figures"].items():
        yield f"| `{name}` | {written(value)} | {' | '.join(bound_of(name, value) or ('', ''))} |"
    yield ""
