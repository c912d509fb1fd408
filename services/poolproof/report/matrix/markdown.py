"""The matrix as a page of Markdown: the findings in words first, then a table a policy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from poolproof.report import details, machine
from poolproof.report.markdown import bullets, escaped, folded, pipes
from poolproof.report.matrix import terminal as report
from poolproof.report.matrix.findings import findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolproof.report.tables import Summary, Table

_CELLS: Final = """\
One fault is done to a pool in the middle of steady work. A cell says what became of the *innocent*
tasks, those that did nothing wrong, and after a semicolon what the faulty task still does.

- **unharmed**: all of them ran to their end exactly once. "The worker ended" beside it: its main
  process did, in order, and nobody lost anything by it.
- **x/y cut**: of y that were running at that instant x did not end in that attempt. **hang**: they
  never ended, and nobody ended them.
- **stranded**: they waited in a worker that died, and lay in the broker until its visibility
  timeout. **given back**: a worker that lives took them twice, and ran them once.
- **waited for the timeout**: they waited as long in a worker that lives, behind what does not end,
  whoever else had time. With Celery's defaults that is an hour.
- **lost**: they did not run to their end, and no copy is left: nobody will run them. One way to it
  every policy leaves: a worker takes a message from the queue and then writes it to `unacked`, and
  what kills it in between takes the task along (kombu #305, as `poolproof claims --id
  lost-on-its-way` shows). Those are "on the way to the worker", and chance decides which cells
  have one: a poison that comes back strikes a worker that is just fetching. "Not begun yet" were
  acknowledged and had no slot yet; all others ran.
- **the worker ended** by `redis-restart` or `broker-cut`: chance again, which of its connections to
  Redis is the first to tell (`poolproof claims --id outage-fatal`).
- **twice**: they ran to their end more often than once; *by the short timeout* where the one that
  is set here was over before a slot took them, which Celery's hour would not have been.
- **phantom**: Celery counts them as running, no slot runs them. **failed**: Celery reported an
  error for them. **left ...**: what they were when the books were closed.
- **x/y saw, suffered**: of y that ended later x met what the fault had changed, or went wrong by
  it.

Every cell is proved by a run whose books balance: each task that was sent has exactly one verdict.
Recovery times are upper bounds: they hold whatever else the machine did meanwhile."""


def matrix_markdown(matrix: Summary) -> str:
    """Return the report of a matrix as Markdown, ending in a newline."""
    return "\n\n".join(_parts(matrix)) + "\n"


def _parts(matrix: Summary) -> Iterator[str]:
    yield "# What each fault takes along"
    ran_on = (*machine.facts(matrix), *details.provenance(matrix))
    yield from bullets([report.title(matrix), report.state(matrix), *_made(matrix), *ran_on])
    if found := findings(matrix):
        yield "## In short"
        yield from bullets([escaped(sentence) for sentence in found])
    yield "## What a cell says"
    yield _CELLS
    for table in report.tables(matrix):
        yield from _section(table)
    yield "## The faults"
    yield from bullets([f"`{name}`: {escaped(what)}" for name, what in _faults(matrix)])


def _section(table: Table) -> Iterator[str]:
    if not table.detail:
        yield from (f"## {table.title}", escaped(table.note), pipes(table))
        return
    yield from folded(table)


def _faults(matrix: Summary) -> Iterable[tuple[str, str]]:
    what: dict[str, str] = matrix["plan"]["what"]
    return what.items()


def _made(matrix: Summary) -> Iterator[str]:
    """Yield by which command it was made, and when."""
    plan = matrix["plan"]
    words = [f"--fault {name}" for name in plan["faults"]]
    words = ["--fault all"] if plan.get("all_faults") else words
    words += [f"--pool {label}" for label in plan["pools"]]
    words += [f"--policy {policy}" for policy in plan["policies"]]
    words += [f"--prefetch {prefetch}" for prefetch in plan["prefetches"]]
    words += [f"--repeats {plan['repeats']}"] if plan["repeats"] > 1 else []
    words += [f"--jobs {matrix['jobs']}"] if matrix["jobs"] > 1 else []
    yield f"`poolproof crash {' '.join(words)}`"
    if begun := sorted(_begun(run) for run in matrix["runs"]):
        yield f"run from {begun[0]:%Y-%m-%d %H:%M} to {begun[-1]:%Y-%m-%d %H:%M} UTC"


def _begun(run: str) -> datetime:
    return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
