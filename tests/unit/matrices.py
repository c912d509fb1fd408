"""Plans and summaries of a matrix, as its runs leave them."""

from __future__ import annotations

from typing import Any


def plan(**changes: Any) -> dict[str, Any]:
    """Return the plan of two faults on two pools."""
    return {
        "format": 1,
        "matrix": "matrix-20261122-203015-1a2b3c4d",
        "faults": ["segfault", "kill-child"],
        "pools": {"prefork:4": "prefork:4", "threads:4": "threads:4"},
        "policies": ["early"],
        "prefetches": [4],
        "repeats": 1,
        "not_applicable": {"kill-child": {"threads:4": "it has no child processes"}},
        "what": {"segfault": "reads address 0", "kill-child": "SIGKILL to a child | hard"},
        **changes,
    }


def crash(pool: str, fault: str = "segfault", **changes: Any) -> dict[str, Any]:
    """Return what the judge says of one crash: by default three of three innocents are lost."""
    return {
        "pool": pool,
        "worker": pool.replace(":", "-"),
        "fault": fault,
        "policy": "early",
        "prefetch": 4,
        "strikes": 1,
        "running": 3,
        "interrupted": 3,
        "interrupted_first": 3,
        "hung": 0,
        "stranded": 16,
        "given_back": 0,
        "others": 0,
        "recovered": 16,
        "lost": 3,
        "repeated": 0,
        "overdue": 0,
        "slots_gone": 4,
        "worker_died": True,
        "restarted_by": "supervisor",
        "noticed": ["worker ended by SIGSEGV"],
        "ended": "everything came to rest",
        "way": "plain",
        "observations": None,
        "books": {
            "enqueued": 60,
            "innocent": {"completed": 56, "lost": 3},
            "poison": {"lost": 1},
        },
        "due_s": {"first": 3.0, "last": 5.0, "visibility_timeout_s": 4.0, "sweep_s": 1.0},
        "recovery_s": {
            "detect": 0.01,
            "slot_back": 2.5,
            "redelivered": 4.5,
            "throughput_back": 3.0,
        },
        **changes,
    }


def unharmed(pool: str, fault: str = "segfault") -> dict[str, Any]:
    """Return a crash that cost nobody else anything."""
    return crash(
        pool,
        fault,
        interrupted=0,
        interrupted_first=0,
        stranded=0,
        recovered=0,
        lost=0,
        slots_gone=1,
        worker_died=False,
        restarted_by="pool",
        noticed=["WorkerLostError"],
        books={"enqueued": 60, "innocent": {"completed": 59}, "poison": {"failed": 1}},
        due_s=None,
        recovery_s={"detect": 0.03, "slot_back": 0.2, "redelivered": None, "throughput_back": 0.0},
    )


def run(*crashes: dict[str, Any], repeat: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the summary of a run of the matrix."""
    first = crashes[0] if crashes else crash("prefork:4")
    settings = {
        "policy": "early",
        "prefetch": 4,
        "visibility_timeout_s": 4.0,
        "sweep_s": 1.0,
        "retry_delay_s": 1.0,
        "restart_delay_s": 1.0,
    }
    return {
        "run": f"20261122-20301{repeat}-{len(crashes):08x}",
        "plan": {
            "name": "crash",
            "fault": first["fault"],
            "policy": "early",
            "prefetch": 4,
            "repeat": repeat,
        },
        "struck": [each["pool"] for each in crashes],
        "crashes": list(crashes),
        "not_applicable": [],
        "pools": {each["pool"]: {"settings": settings} for each in crashes},
        "books": {"balanced": True},
        "warnings": [],
        "machine": {"cpu": "Example CPU"},
        "versions": {"celery": "5.7.0"},
        **changes,
    }
