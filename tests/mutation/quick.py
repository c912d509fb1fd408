"""A plugin of pytest that comes to the point: the quick tests first, and no smallest example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import Phase, settings

if TYPE_CHECKING:
    import pytest

#: What mutmut found out in its first run.
_STATS: Final = Path("mutmut-stats.json")

settings.register_profile("quick", phases=[Phase.explicit, Phase.generate], database=None)
settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    took = json.loads(_STATS.read_text())["duration_by_test"] if _STATS.is_file() else {}
    items.sort(key=lambda item: took.get(item.nodeid, 0.0))
