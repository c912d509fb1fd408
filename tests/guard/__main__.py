"""Keeps a case: python -m tests.guard NAME RUN...; renews all, or some: python -m tests.guard."""

from __future__ import annotations

import sys
from pathlib import Path

from . import archive

if __name__ == "__main__":
    match sys.argv[1:]:
        case [name, first, *more]:
            archive.keep(name, [Path(first), *map(Path, more)])
        case some:
            for name in some or archive.names():
                archive.renew(name)
