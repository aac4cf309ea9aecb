"""Runs of different budgets that are one run up to where each cools down.

At a constant rate the first steps of a run do not depend on its budget. So the run of the largest
budget, the *trunk*, leaves a checkpoint where each smaller one would begin to cool down, and these,
its *branches*, begin there. A branch comes to the same as if it had been run alone, step by step,
so a checkpoint that is missing or damaged costs time and nothing else.

What is shared lies beside the runs, in `<sweep>/trunks/<name>`: `branches.json` with the budgets,
written by the sweep, and the checkpoints.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from toolkit.runs import RunConfig
from toolkit.training import checkpoints
from toolkit.training.schedule import affordable, cooldown_start
from toolkit.writing import write_atomically

FILE = "branches.json"


def name(config: RunConfig, batch_pairs: int) -> str:
    """What all runs of a trunk are called: they differ in their budgets alone.

    Args:
        batch_pairs: As resolved from the defaults, which may follow the budget.
    """
    return replace(config, budget_flop=1.0, batch_pairs=batch_pairs).run_id


def place(sweep: Path, config: RunConfig, batch_pairs: int) -> Path:
    """The folder of the trunk that a run of this sweep shares."""
    return sweep / "trunks" / name(config, batch_pairs)


def announce(folder: Path, budgets: list[float]) -> None:
    """Write down which budgets are to branch off."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, json.dumps({"budget_flop": sorted(budgets)}) + "\n")


@dataclass(frozen=True)
class Trunk:
    """What a run shares with others.

    Attributes:
        folder: Of the trunk. config: Of this run. batch_pairs: As resolved.
        branches: Steps after which another budget begins to cool down.
        start: The first step of this run's own cooldown.
    """

    folder: Path
    config: RunConfig
    batch_pairs: int
    branches: frozenset[int]
    start: int

    @classmethod
    def of(
        cls, run_folder: Path | None, config: RunConfig, batch_pairs: int, spent: np.ndarray
    ) -> Trunk | None:
        """The trunk that a run in this folder shares; None where there is none.

        Args:
            spent: FLOP up to and with each of the run's steps, in its convention; shape [steps].
        """
        if run_folder is None or config.schedule != "trunk":
            return None
        folder = place(run_folder.resolve().parent.parent, config, batch_pairs)
        try:
            known = json.loads((folder / FILE).read_text(encoding="utf-8"))
            budgets = [float(budget) for budget in known["budget_flop"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        start = cooldown_start(len(spent), config.cooldown)
        smaller = [budget for budget in budgets if budget < config.budget_flop]
        steps = [cooldown_start(affordable(spent, x), config.cooldown) for x in smaller]
        branches = frozenset(step for step in steps if 0 < step <= start)
        return cls(folder, config, batch_pairs, branches, start)

    def missing(self, step: int) -> bool:
        """Whether a budget branches off after so many steps, and cannot yet."""
        return step in self.branches and not (self.folder / f"checkpoint-{step:09d}").is_dir()

    def newest(self, after: int) -> tuple[Path, checkpoints.State] | None:
        """The latest checkpoint that this run may begin from, if later than what it has."""
        wanted = name(self.config, self.batch_pairs)
        for path in self.folder.glob("checkpoint-*"):
            if checkpoints.read(path) is None:
                warnings.warn(
                    f"the trunk's checkpoint {path} is damaged: its steps are made again",
                    stacklevel=2,
                )
                checkpoints.remove_one(path)
        found = checkpoints.newest(
            self.folder, lambda held: name(held, self._batch(held)) == wanted, last=self.start
        )
        return found if found is not None and found[1].step > after else None

    def _batch(self, held: RunConfig) -> int:
        """The batch of a checkpoint's run: what it says, or this one's, as its folder is."""
        return held.batch_pairs or self.batch_pairs
