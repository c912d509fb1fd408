"""Which tests stay on one process when several share out the tests (pytest-xdist).

The group of xdist's own `--dist loadgroup` is lost with pytest 9.2, so this goes by what a test is
called: `...@@NAME]` shares what NAME made with all others that are called so.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

#: The tests of these share what is made for their module, or one Docker engine.
TOGETHER: Final = (
    "tests/browser/test_html_report.py",
    "tests/compose/",
    "tests/integration/test_diff.py",
)


class Sharing(LoadScopeScheduling):
    """Hands out tests one at a time, and at once all that share something."""

    def _split_scope(self, nodeid: str) -> str:
        _, shares, shared = nodeid.rpartition("@@")
        if shares:
            return shared
        return next((path for path in TOGETHER if nodeid.startswith(path)), nodeid)
