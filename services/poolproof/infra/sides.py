"""The sides of a run as people write them: a pool, what it is set to, and what it runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from poolproof_workers.errors import UsageError
from poolproof_workers.pools import PoolSpec
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from poolproof_workers.pools import Pool

SHAPE: Final = "[LABEL=]POOL[:N][@REQUIREMENT,...][/KEY=VALUE...]"
#: What a side may have of its own; the worker's variable is POOLPROOF_KEY.
KEYS: Final = ("policy", "prefetch", "events", "results", "serializer", "optimization")

_LABEL: Final = re.compile(r"\w[\w.-]*", re.ASCII)
#: What a person may call a package and its versions: no option of pip, no address, no path.
_REQUIREMENT: Final = re.compile(
    r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?(?:\[[\w.,-]+\])?"
    r"(?:(?:===?|~=|!=|<=?|>=?)[\w.*+!-]+(?:,(?:===?|~=|!=|<=?|>=?)[\w.*+!-]+)*)?",
    re.ASCII,
)
#: A comma that begins another requirement: not one within [], or before another bound of the same.
_COMMA: Final = re.compile(r",(?![^\[]*\])(?![=~!<>])")


@dataclass(frozen=True, slots=True)
class SideSpec:
    """What a side runs: `threads:4`, `threads:4/prefetch=1`, `threads:4@celery==5.6.3`."""

    text: str  #: as people write it, without a label
    spec: PoolSpec
    settings: Mapping[str, str] = field(default_factory=dict)  #: `POOLPROOF_*` of this side alone
    requirements: tuple[str, ...] = ()  #: of an environment of its own; none: ours

    @classmethod
    def parse(cls, text: str) -> SideSpec:
        """Read a side without its label. Raises UsageError, which says what is allowed."""
        head, *pairs = text.split("/")
        pool, at, packages = head.partition("@")
        return cls(
            text,
            PoolSpec.parse(pool),
            _settings(text, pairs),
            _requirements(text, packages) if at else (),
        )

    @property
    def pool(self) -> Pool:
        """The pool's row in the table."""
        return self.spec.pool

    def named(self, label: str) -> str:
        """Return it as people write it where it is called `label`."""
        return self.text if label == self.spec.label else f"{label}={self.text}"


def parse(texts: Iterable[str], without: Mapping[str, str] | None = None) -> dict[str, SideSpec]:
    """Read sides with their labels (`SHAPE`); return label -> side.

    `without` has the keys that no side may have here, and why. Raises UsageError for a side that is
    not allowed, or two of one name.
    """
    found: dict[str, SideSpec] = {}
    for text in texts:
        given, rest = _divide(text)
        side = SideSpec.parse(rest)
        label = given or side.spec.label
        for key, why in (without or {}).items():
            if _variable(key) in side.settings:
                raise UsageError(f"{text!r}: {key} cannot be set for one side here: {why}.")
        if label in found:
            labelled_both = f"--pool a={found[label].text} --pool b={side.text}"
            raise UsageError(f"Two sides are called {label!r}. Give them labels: {labelled_both}.")
        found[label] = side
    return found


def resized(sides: Mapping[str, SideSpec], pools: Mapping[str, str]) -> dict[str, SideSpec]:
    """Return sides whose pools have other numbers of slots now; a side named by its pool, anew.

    `pools` has the pool of a label as people write it.
    """
    found = {}
    for label, side in sides.items():
        spec = PoolSpec.parse(pools[label])
        name = spec.label if label == side.spec.label else label
        text = side.text.replace(side.spec.text, spec.text, 1)
        found[name] = replace(side, text=text, spec=spec)
    return found


def _divide(text: str) -> tuple[str, str]:
    """Return the label, empty if there is none, and the rest."""
    label, equals, rest = text.partition("=")
    # What has one of these before its first = is a pool, with something of its own.
    if not equals or any(mark in label for mark in ":@/"):
        return "", text
    if not _LABEL.fullmatch(label):
        raise UsageError(f"{text!r}: {label!r} is no label. Use letters, digits, _, . and -.")
    return label, rest


def _settings(text: str, pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in KEYS or not equals or not value:
            raise UsageError(
                f"{text!r}: {pair!r} is no setting of a side. Write /KEY=VALUE with one of: "
                f"{', '.join(KEYS)}."
            )
        if _variable(key) in found:
            raise UsageError(f"{text!r} sets {key} twice.")
        found[_variable(key)] = value
        Settings.from_env({_variable(key): value})
    return found


def _variable(key: str) -> str:
    return f"POOLPROOF_{key.upper()}"


def _requirements(text: str, packages: str) -> tuple[str, ...]:
    found = tuple(_COMMA.split(packages))
    for requirement in found:
        if not _REQUIREMENT.fullmatch(requirement):
            raise UsageError(
                f"{text!r}: {requirement!r} is no requirement. Write it as celery==5.6.3."
            )
    return found
