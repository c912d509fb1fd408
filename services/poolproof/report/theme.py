"""How plots look: colours that everybody can tell apart, on a light page and on a dark one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: A side's marker: colour is never the only thing that tells one side from another.
MARKERS: Final = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one kind of page. Those of sides and roles are of Okabe and Ito's set."""

    name: str
    text: str
    line: str  #: axes and grid
    page: str
    sides: tuple[str, ...]
    innocent: tuple[str, str]  #: a slot's tasks take turns, so that one can be told from the next
    victim: str
    poison: str

    def side(self, index: int) -> str:
        """Return the colour of a side; from the seventh on they come again."""
        return self.sides[index % len(self.sides)]


LIGHT: Final = Theme(
    name="light",
    text="#30343a",
    line="#d4d8de",
    page="#ffffff",
    sides=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00"),
    innocent=("#7d98b3", "#a9bdd1"),
    victim="#d55e00",
    poison="#1a1a1a",
)
DARK: Final = Theme(
    name="dark",
    text="#d3d7dd",
    line="#3a404a",
    page="#14171c",
    sides=("#56b4e9", "#e69f00", "#2fc79b", "#e3a3c8", "#7f9cff", "#f0e442"),
    innocent=("#5f7b96", "#425a72"),
    victim="#e69f00",
    poison="#f4f4f4",
)
THEMES: Final = (LIGHT, DARK)
#: For a plot that is drawn once and stands on a light page and on a dark one.
EITHER: Final = Theme(
    name="either",
    text="#7d8590",
    line="rgba(128, 136, 148, 0.35)",
    page="#ffffff",
    sides=("#0a84d0", "#e07b00", "#12a37a", "#c2649c", "#6f86e0", "#a08a20"),
    innocent=("#6a87a5", "#88a2bb"),
    victim="#d55e00",
    poison="#7d8590",
)
