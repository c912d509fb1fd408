"""Changes the judge and the recorder in many small ways, and tells which changes no unit test sees.

\b
scripts/mutate                        all of them: hours
scripts/mutate judge/faults/impact.py          one module, or several
scripts/mutate --sample 300 --seed 1  as many of them, drawn at random

Of each change only the tests that call the changed function are run. The first run also finds out
which those are; `rm -r .mutants` begins anew.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from .mutants import Mutant, equivalents, fates, first_lines, mutants

_ROOTS: Final = {"poolproof/": "services/poolproof/", "poolproof_w": "workers/poolproof_w"}


@click.command(help=__doc__)
@click.argument("modules", nargs=-1)
@click.option("--sample", type=click.IntRange(1), help="Draw so many, instead of all.")
@click.option("--seed", default=1, show_default=True, help="Of the draw.")
@click.option("--jobs", default=2, show_default=True, help="Mutants that are tried at a time.")
def main(modules: tuple[str, ...], sample: int | None, seed: int, jobs: int) -> None:
    try:
        known = mutants(modules, jobs)
    except KeyError as error:
        raise click.BadParameter(
            f"{error} is not mutated; name one like judge/faults/impact.py."
        ) from error
    is_drawn = sample is not None and sample < len(known)
    chosen = random.Random(seed).sample(known, sample) if is_drawn else known
    # All of a module are asked for by one word: a command line has an end.
    _try([m.name for m in chosen] if is_drawn else sorted({m.pattern for m in known}), jobs)
    sys.exit(_report(chosen))


def _try(names: list[str], jobs: int) -> None:
    mutmut = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(jobs)]
    # Processes that a test starts find what is mutated too.
    environ = os.environ | {"PYTHONPATH": str(Path("mutants").absolute())}
    if subprocess.run([*mutmut, *names], env=environ, stdout=sys.stderr, check=False).returncode:
        raise click.ClickException("mutmut did not come to its end; it says why above.")


def _report(chosen: list[Mutant]) -> int:
    """Print the share that was seen by module, and each that was not; return 1 if one was not."""
    left_out = equivalents()
    by_path: dict[Path, list[Mutant]] = {}
    for mutant in chosen:
        by_path.setdefault(mutant.path, []).append(mutant)
    killed_of_all = count_of_all = 0
    survivors: list[str] = []
    for path, of_path in sorted(by_path.items()):
        seen, lines = fates(path), first_lines(path)
        killed = sum(seen[mutant.name] is True for mutant in of_path)
        unseen = [line for m in of_path if not seen[m.name] and (line := _line(m, lines, left_out))]
        count = killed + len(unseen)
        click.echo(f"{killed / max(1, count):6.1%}  {killed:4} of {count:4}  {of_path[0].module}")
        survivors += unseen
        killed_of_all, count_of_all = killed_of_all + killed, count_of_all + count
    click.echo(
        f"{killed_of_all / max(1, count_of_all):6.1%}  {killed_of_all:4} of {count_of_all:4}"
    )
    click.echo("\n".join(["", *survivors]))
    return int(bool(survivors))


def _line(mutant: Mutant, lines: dict[str, int], left_out: set[tuple[str, str, str, str]]) -> str:
    """Return what is said of a survivor; nothing if it changes nothing."""
    change = mutant.change()
    if (mutant.module, mutant.function, change.was, change.now) in left_out:
        return ""
    place = str(mutant.path)
    for short, full in _ROOTS.items():
        place = full + place.removeprefix(short) if place.startswith(short) else place
    line = lines[mutant.function] + change.line - 1
    return f"{place}:{line} {mutant.function}\n    - {change.was}\n    + {change.now}"


if __name__ == "__main__":
    main()
