"""What is said of processes, threads and Celery's pools, as claims that can be checked."""

from __future__ import annotations

from typing import Final

from poolproof.claims.facts import (
    crashes,
    flower,
    handover,
    losses,
    outages,
    processes,
    redelivery,
    speed,
    sweeps,
    timeouts,
    workers,
)

#: Family -> its claims, in the order of the report. A new claim is one more row of its family.
FAMILIES: Final = {
    "What a fault takes along": (*crashes.CLAIMS, *flower.CLAIMS),
    "Acknowledgement and redelivery": (
        *sweeps.CLAIMS,
        *redelivery.CLAIMS,
        *timeouts.CLAIMS,
        *handover.CLAIMS,
        *outages.CLAIMS,
    ),
    "Losses under repeated kills": losses.CLAIMS,
    "What a pool supports": workers.CLAIMS,
    "Speed and memory of pools": speed.CLAIMS,
    "Processes and threads in plain Python": processes.CLAIMS,
}
