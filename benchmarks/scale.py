"""How long the judge takes over ten million tasks, and the memory that it needs."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.long_history import Soak
from poolproof.judge.run import decide
from poolproof.judge.run_data import gather
from poolproof.judge.summary import summary_of

_SMALL: Final = 1_000_000
_LARGE: Final = 10_000_000
_STATUS: Final = Path("/proc/self/status")


def measure(rounds: int) -> dict[str, Any]:
    """Return the figures of a history of ten million tasks (`Soak`; 1.5 GB while it lasts).

    The history is on disk: the collector has ingested it. `ten_million_s` is from there to the
    summary: reading it, the ledger, every verdict, the statistics; `of_which_ledger_s` is up to
    the ledger. `ten_million_cpu_s` is the processor's time in it. Medians of the rounds, each a
    process of its own, whose largest resident size is `ten_million_peak_bytes`, interpreter
    included. `growth_from_one_million` is how much more time a task takes than in a tenth of it.
    """
    with tempfile.TemporaryDirectory(prefix="poolproof-scale-") as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        Soak(small, _SMALL).write()
        records = Soak(large, _LARGE).write()
        found = [{"small": _judged(small), "large": _judged(large)} for _ in range(rounds)]
    middle = {
        (size, name): statistics.median(each[size][name] for each in found)
        for size in ("small", "large")
        for name in ("seconds", "ledger_s", "cpu_s")
    }
    figures = {
        "ten_million_s": middle["large", "seconds"],
        "ten_million_peak_bytes": max(each["large"]["peak_bytes"] for each in found),
        "growth_from_one_million": middle["large", "seconds"]
        / (middle["small", "seconds"] * _LARGE / _SMALL),
        "ten_million_cpu_s": middle["large", "cpu_s"],
        "of_which_ledger_s": middle["large", "ledger_s"],
        "records": records,
        "summary_bytes": max(each["large"]["summary_bytes"] for each in found),
    }
    return {"bench": "scale", "figures": figures, "rounds": found}


def _judged(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, str(folder)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(printed)
    return figures


def judge(folder: Path) -> dict[str, float]:
    """Judge the run in `folder` and return what it took, this process's peak memory included."""
    begin, cpu = time.perf_counter(), time.process_time()
    evidence = gather(folder)
    ledger_s = time.perf_counter() - begin
    found = summary_of(decide(evidence))
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "ledger_s": ledger_s,
        "cpu_s": time.process_time() - cpu,
        "peak_bytes": _peak_bytes(),
        "summary_bytes": len(json.dumps(found, indent=2)),
    }


def _peak_bytes() -> int:
    if _STATUS.exists():
        # What `getrusage` says is at least what the process was that started this one.
        lines = _STATUS.read_text("utf-8").splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1]))))
