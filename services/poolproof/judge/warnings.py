"""The closed list of what may be wrong with a run, each with its advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poolproof.judge.faults.defaults import SWEEP_S, VISIBILITY_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Iterable

#: code -> advice, in the order in which a report has them: first what takes back a headline.
#: `{}` is filled in with what it is about.
WARNINGS: Final = {
    # None of its figures is to be believed.
    "damaged": (
        "{} of it say nothing{}. What stood there is lost: this is no benchmark result. Take the "
        "history from a copy, or run it again."
    ),
    "books_unbalanced": "{}: do not trust any figure of this run, and report it as a bug.",
    "wrong_results": "{} returned a wrong result: this is no benchmark result.",
    "not_completed": "{} did not run to the end exactly once: this is no benchmark result.",
    "unknown_tasks": "{} cannot be accounted for, because the recordings are incomplete: {}.",
    "unexpected_tasks": "{} ran that this run never enqueued: another producer uses the namespace.",
    "foreign_tasks": (
        "The workers also took tasks that are not of this run ({} records): what was measured is "
        "not this run's work alone."
    ),
    # They take back what a comparison says, or a part of it.
    "busy_host": (
        "Other programmes took {} of this machine's CPU time: close them, or wait. A comparison of "
        "whose time others took more than 10 % is not called."
    ),
    "harness_limited": "{}: the figure is a limit of poolproof, not of the pool.",
    "different_hosts": (
        "The sides ran on different hosts: {}. What they differ by may be their hosts', and their "
        "ways' to Redis: let the sides change hosts and measure again."
    ),
    "cpu_steal": "Other guests of this machine took {} of its CPU time: measure on a quieter one.",
    "throttled": "The CPU limit of the cgroup stopped {} again and again: it was measured too.",
    "swapping": "{} pages were swapped while it was measured: free some memory.",
    "events_on": "Celery's task events were on while {} was measured: they cost a third of it.",
    "events_unknown": (
        "A worker of {} did not say whether its task events were off while it was measured: "
        "measure again."
    ),
    "noise_shown": (
        "{} are the same, and yet they differ on {}: so much is noise here. Do not believe a "
        "smaller difference between two pools on this machine."
    ),
    "same_workers": (
        "{} differ little on {}, and each kept its processes all the time: two of one programme "
        "may differ as much. Measure without --no-fresh."
    ),
    "unstable_blocks": (
        "{}: a busy machine, or the pool itself. Close what else runs, or measure for longer."
    ),
    "few_blocks": "{}: take at least five for an interval worth its name.",
    "overload": (
        "{} did not keep up with the rate that it was offered, so its latency grew with the length "
        "of the block: look at its throughput, or offer less."
    ),
    "sent_late": (
        "The tasks of {} were sent up to {} late, which is in their latency: the producer had too "
        "little CPU."
    ),
    # What is missing of it, or happened beside it.
    "not_done": "The run was ended early: {}.",
    "not_closed": "The run was not closed; its last records may be missing. Run it again.",
    "fault_not_done": (
        "{} was not seen to be done: see that its workers have POOLPROOF_ALLOW_FAULTS=1, and allow "
        "the run more time."
    ),
    "not_at_rest": "Tasks were still moving when the books were closed: allow the run more time.",
    "incomplete": "The recordings have holes: {}.",
    "records_lost": "{} were overwritten before they were shipped: the machine was overloaded.",
    "clock_unknown": "The clock of {} is not known: do not trust times that compare hosts.",
    "copies_left": "{} are done, but a copy is left in the broker and will run them once more.",
    "unasked_exit": "{} ended without a fault or an order: look at its last words in the history.",
    "no_pss": (
        "Memory of {} is not known as PSS here (it needs Linux and its own processes): what is "
        "said instead is USS, which leaves out all pages that two processes share."
    ),
    "fixed_sweep": (
        "{} looks for messages to restore every {} s, whatever it is told (here {} s): its kombu"
        "{} has no setting for that. Do not compare when its stranded tasks came back."
    ),
    "short_redelivery": (
        "The visibility timeout was set to {} s for this run. With Celery's defaults "
        f"({VISIBILITY_TIMEOUT_S:.0f} s, and about {SWEEP_S:.0f} s between two looks) stranded "
        "tasks wait for an hour and more."
    ),
}


def warning(code: str, *about: object) -> dict[str, str]:
    """Return a warning of the list. Raises KeyError for one that is not in it."""
    return {"code": code, "advice": WARNINGS[code].format(*about)}


def ranked(found: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return warnings in the order of the list, those of one code in their own."""
    places = {code: place for place, code in enumerate(WARNINGS)}
    return sorted(found, key=lambda each: places[each["code"]])


def percent(share: float, digits: int = 0) -> str:
    """Write a share of 1."""
    return f"{100 * share:.{digits}f} %"


def tasks(count: int) -> str:
    """Write a number of tasks."""
    return f"{count:,} task" if count == 1 else f"{count:,} tasks"
