"""Runs one measurement and prints it as JSON: arm -> values, one a round."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Final

#: Measurement -> what its values are.
MEASUREMENTS: Final = {
    "creation": "seconds from start to end of a slot that does nothing",
    "switching": "seconds a switch, on one core",
    "memory": "bytes an idle slot adds",
    "passing": "seconds to hand bytes to a slot and get them back",
    "speedup": "seconds for two pieces of work",
    "isolation": "1 if the neighbour outlived a segfault",
    "inheriting": "1 if a child got a lock that another thread held when it was made",
    "sharing": "what one slot sees of what the others did",
}


def main(name: str) -> None:
    """Measure, and print."""
    if name not in MEASUREMENTS:
        sys.exit(f"There is no measurement {name!r}. Use one of: {', '.join(MEASUREMENTS)}.")
    module = importlib.import_module(f"poolproof.claims.textbook.{name}")
    print(json.dumps(module.measure()))


if __name__ == "__main__":
    main(sys.argv[1])
