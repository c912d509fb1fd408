"""The claims: each is tried on the real thing, on each of its pools, and keeps what was seen."""

from __future__ import annotations

import difflib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof.claims.claim import not_shown
from poolproof.claims.facts import FAMILIES
from poolproof_workers.errors import UsageError, WorkerError
from poolproof_workers.supervisor import host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolproof.claims.claim import Claim, Finding
    from poolproof.claims.lab import Lab

#: 1: first.
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """One claim, tried on one pool."""

    on: str
    finding: Finding
    seconds: float
    runs: tuple[str, ...]  #: names of the runs that it looked at, beside the results

    def to_json(self) -> dict[str, Any]:
        """Return it as the results keep it."""
        found = asdict(self.finding)
        return {"on": self.on, **found, "seconds": round(self.seconds, 2), "runs": list(self.runs)}


def chosen(ids: Sequence[str]) -> tuple[Claim, ...]:
    """Return the claims with these ids, in the table's order; without any, all.

    Raises UsageError for an id that is not in the table.
    """
    claims = {claim.id: claim for family in FAMILIES.values() for claim in family}
    for wanted in ids:
        if wanted not in claims:
            near = difflib.get_close_matches(wanted, claims, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"There is no claim {wanted!r}.{hint} See poolproof claims --list.")
    return tuple(claim for claim in claims.values() if not ids or claim.id in ids)


def trials(claims: Sequence[Claim], lab: Lab) -> Iterator[tuple[Claim, Trial]]:
    """Try the claims one after the other, on one pool after the other."""
    for claim in claims:
        for on in claim.on:
            yield claim, _try(claim, on, lab)


def results(run: str, tried: Sequence[tuple[Claim, Trial]]) -> dict[str, Any]:
    """Return the results as JSON can hold them (format 1)."""
    rows: dict[str, list[Trial]] = {}
    for claim, trial in tried:
        rows.setdefault(claim.id, []).append(trial)
    found = [(family, claim) for family, of in FAMILIES.items() for claim in of]
    outcomes = [trial.finding.outcome for _, trial in tried]
    return {
        "format": FORMAT,
        "run": run,
        "claims": [
            {**_row(family, claim), "trials": [trial.to_json() for trial in rows[claim.id]]}
            for family, claim in found
            if claim.id in rows
        ],
        "outcomes": {one: outcomes.count(one) for one in ("holds", "does not hold", "not shown")},
        "machine": host.machine(),
        "versions": host.versions(),
    }


def listing(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Return the rows of claims, without trials."""
    return [
        _row(family, claim) for family, of in FAMILIES.items() for claim in of if claim in claims
    ]


def _row(family: str, claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.id,
        "family": family,
        "claim": claim.text,
        "source": claim.source,
        "expected": claim.expected,
        "on": list(claim.on),
        "at_most_s": claim.at_most_s,
    }


def _try(claim: Claim, on: str, lab: Lab) -> Trial:
    lab.used.clear()
    begin = time.monotonic()
    try:
        finding = claim.check(lab, on)
    except WorkerError as error:
        finding = not_shown(str(error))
    return Trial(on, finding, time.monotonic() - begin, tuple(lab.used))
