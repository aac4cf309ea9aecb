"""What a sweep costs besides training: seconds a notebook, warm against papermill as it comes.

The notebook imports what training imports (torch, transformers, pandas, matplotlib) and writes a
record; nothing else, so all of its time is overhead. Each repeat executes it as a sweep on warm
kernels (ours), as a sweep on cold ones, with the `papermill` command and with papermill in this
process: the sweeps one notebook a core, the last two one after the other, as people run them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import nbformat
from entry import entry, speedups
from nbformat import v4

from toolkit.runs import RunConfig
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.plan import Plan, read_plan

# As many as the quick sweep at least has, over which the host's start is spread; few for the ways
# whose every notebook takes as long as any other.
WARM_NOTEBOOKS, COLD_NOTEBOOKS = 36, 4
GOAL_SECONDS = 1.0
IMPORTS = """
import matplotlib.pyplot
import pandas
import torch
import transformers
from transformers import AutoModel
"""
RECORD = """
from dataclasses import fields
from pathlib import Path
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.writing import write_atomically
config = RunConfig.from_dict({f.name: globals()[f.name] for f in fields(RunConfig)})
record = RunRecord(
    config, "finished", "", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1.0, 0.5, 0.5, 0.5, 1e-3, 32, None, None,
    1e-3, "bench", "0",
)
write_atomically(Path(folder) / "record.json", record.to_json())
"""


def measure(repeats: int = 3) -> list[dict[str, object]]:
    """The entries for `latest.json`: seconds a notebook, ours and theirs, and their ratio."""
    ways: dict[str, Callable[[Plan], None]] = {
        "warm": lambda plan: _sweep(plan, warm=True),
        "cold sweep": lambda plan: _sweep(plan, warm=False),
        "papermill command": _papermill_command,
        "papermill in process": _papermill_in_process,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            count = WARM_NOTEBOOKS if name == "warm" else COLD_NOTEBOOKS
            with tempfile.TemporaryDirectory() as folder:
                plan = _plan(Path(folder), count)
                begin = time.perf_counter()
                way(plan)
                seconds[name].append((time.perf_counter() - begin) / count)
    ours = seconds.pop("warm")
    goal = f"ours at most {GOAL_SECONDS} s"
    return [
        entry(f"sweep overhead, seconds a notebook, against {name}", ours, theirs, goal,
              speedups(ours, theirs))
        for name, theirs in seconds.items()
    ]  # fmt: skip


def _plan(folder: Path, count: int) -> Plan:
    seeds = ", ".join(map(str, range(count)))
    (folder / "sweep.yaml").write_text(
        f"grid:\n  - {{decoder: small-7k, budget_flop: 1e10, seed: [{seeds}]}}\n"
    )
    names = [*(field.name for field in fields(RunConfig)), "folder"]
    parameters = "\n".join(f"{name} = None" for name in names)
    notebook = v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}},
        cells=[
            v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            v4.new_code_cell(IMPORTS),
            v4.new_code_cell(RECORD),
        ],
    )
    path = folder / "template.ipynb"
    nbformat.write(notebook, path)
    return read_plan(folder, path)


def _sweep(plan: Plan, *, warm: bool) -> None:
    summary = run_sweep(plan, warm=warm)
    assert summary.ok, [state.reason for state in summary.states]


def _papermill_command(plan: Plan) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for config in plan.configs:
        folder = plan.folder / config.run_id
        folder.mkdir()
        options = ["-p", "folder", str(folder)]
        for name, value in config.to_dict().items():
            if value is not None:
                options += ["-p", name, str(value)]
        command = [sys.executable, "-m", "papermill", plan.template.path, folder / "out.ipynb"]
        subprocess.run([*command, *options], env=environment, check=True, capture_output=True)
        assert (folder / "record.json").exists()


def _papermill_in_process(plan: Plan) -> None:
    import papermill

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for config in plan.configs:
        folder = plan.folder / config.run_id
        folder.mkdir()
        papermill.execute_notebook(
            plan.template.path,
            folder / "out.ipynb",
            {**config.to_dict(), "folder": str(folder)},
            progress_bar=False,
        )
        assert (folder / "record.json").exists()


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3), indent=1))
