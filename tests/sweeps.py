"""Small sweeps for tests: template notebooks that write a run's record in milliseconds."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.sweep.plan import Plan, read_plan

START = """
import os, sys, time
from dataclasses import fields
from pathlib import Path
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.writing import write_atomically

config = RunConfig.from_dict({f.name: globals()[f.name] for f in fields(RunConfig)})
loss = 2.0 + 1e9 / config.budget_flop + config.seed / 3
record = RunRecord(
    config, "finished", "", 9488, 9488, 3, int(config.budget_flop), 3, 10, 4, 4, 2, loss,
    0.1, 0.2, 0.15, 1e-3, 32, None, config.lora_rank, 0.01, "test", "0", ((1, 1e9, 3.0, None),),
)
"""
WRITE = 'write_atomically(Path(folder) / "record.json", record.to_json())'


def write_template(path: Path, body: str = WRITE, parameters: str | None = None) -> Path:
    """A template notebook with the parameters of a run, `START`, and then `body`."""
    names = [*(field.name for field in fields(RunConfig)), "folder"]
    cells = [
        (parameters or "\n".join(f"{name} = None" for name in names), ["parameters"]),
        (START, []),
        (body, []),
    ]
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}},
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": tags},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, (source, tags) in enumerate(cells)
        ],
    }
    path.write_text(json.dumps(notebook))
    return path


def make_sweep(folder: Path, grid: str, body: str = WRITE) -> Plan:
    """A sweep in `folder` with this grid over small-7k, and a template with this body."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(f"base: {{decoder: small-7k}}\ngrid:\n{grid}")
    return read_plan(folder, write_template(folder / "template.ipynb", body))


def record(config: RunConfig, **changes: object) -> RunRecord:
    """A record of a finished run."""
    values: dict = {
        **{"status": "finished", "reason": "", "params": 9488, "trainable": 9488},
        **{"flop_paper": 10, "flop_model": 11, "flop_hardware": 12, "tokens": 100, "pairs": 8},
        **{"unique_pairs": 8, "steps": 2, "loss": 1 / 3, "recall_at_1": 0.1, "recall_at_10": 0.2},
        **{"mrr": 0.15, "lr": 1e-3, "batch_pairs": 4, "trained_blocks": None, "lora_rank": None},
        **{"seconds": 0.5, "hardware": "test", "code_version": "0"},
        "curve": ((1, 5.0, 3.2, None), (2, 10.0, 3.1, 3.3)),
    }
    return RunRecord(config, **{**values, **changes})
