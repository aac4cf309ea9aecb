"""A soak: hundreds of tiny runs on a local dask cluster while its workers are being killed.

Every few seconds one worker process gets a SIGKILL. In the end every run must be there once, the
table must be that of a sweep that nobody disturbed, and no process may be left; what the kills
cost is the time of the runs that they cut short.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil

from tests.processes import MARK, marked, within
from tests.sweeps import WRITE, make_sweep
from toolkit.records import table_csv
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.plan import Plan

RESULTS = Path(__file__).parent / "results" / "soak.json"
# Each attempt is noted, and whether it found a record there already, which must never be.
BODY = """
with open(Path(folder, "attempts"), "a") as file:
    print("again" if Path(folder, "record.json").exists() else "start", file=file)
time.sleep(0.2)
"""


def kill_workers(mark: str, seconds: float, over: threading.Event, kills: list[int]) -> None:
    """Kill one worker, the parent of a kernel host, every so many seconds."""
    dice = random.Random(1)
    while not over.wait(seconds):
        hosts = [p for p in marked(mark) if "toolkit.sweep.kernel_host" in _command(p)]
        own = {process.pid for process in hosts} | {os.getpid()}
        workers = sorted({p.ppid() for p in hosts if p.is_running()} - own - {1})
        if workers:
            kills.append(dice.choice(workers))
            os.kill(kills[-1], 9)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def soak(folder: Path, runs: int, seconds: float, workers: int) -> dict[str, object]:
    """The figures of one soak."""
    seeds = ", ".join(map(str, range(runs)))
    plan = make_sweep(folder, f"  - {{budget_flop: 1e9, seed: [{seeds}]}}", BODY + WRITE)
    mark, over, kills = uuid.uuid4().hex, threading.Event(), list[int]()
    os.environ[MARK] = mark
    killer = threading.Thread(target=kill_workers, args=(mark, seconds, over, kills))
    killer.start()
    try:
        summary = run_sweep(plan, workers=workers, cluster="local")
    finally:
        over.set()
        killer.join()
    attempts = [line for config in plan.configs for line in _attempts(plan, config.run_id)]
    within(5.0, lambda: not _kernels(mark))
    table = (plan.folder / "runs.csv").read_text()
    return {
        "runs": runs,
        "workers": workers,
        "killed_workers": len(kills),
        "seconds_between_kills": seconds,
        "wall_seconds": round(summary.seconds, 1),
        "finished": summary.counts.get("finished", 0),
        "finished_lost": runs - summary.counts.get("finished", 0),
        "finished_repeated": attempts.count("again"),
        "attempts": len(attempts),
        "attempts_cut_short": len(attempts) - runs,
        "orphans": len(_kernels(mark)),
        "table_complete": table == table_csv([s.record for s in summary.states if s.record]),
    }


def _attempts(plan: Plan, run_id: str) -> list[str]:
    path = plan.folder / "runs" / run_id / "attempts"
    return path.read_text().split() if path.exists() else []


def _kernels(mark: str) -> list[psutil.Process]:
    return [p for p in marked(mark) if "toolkit.sweep.kernel_host" in _command(p)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between kills")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = soak(Path(name), args.runs, args.every, args.workers)
    figures = {"date": time.strftime("%Y-%m-%d"), **figures}
    print(json.dumps(figures, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
