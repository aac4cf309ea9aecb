"""Checkpoints of a run: what it needs to go on as if it had never stopped.

Weights are kept in safetensors, the optimizer's state in torch's format, which is only ever read
with `weights_only`. A checkpoint is complete when its `state.json`, with digests of the other
files, is in a folder of its final name; anything else is ignored.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from toolkit.errors import ToolkitError
from toolkit.records import as_made
from toolkit.runs import RunConfig
from toolkit.training import weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class State:
    """Where a run stands: steps done, seconds trained, its curve so far, its precision, and how
    many candidates it has masked.

    `inherited` of its model FLOP were another run's (`toolkit.training.trunk`).

    A run keeps its precision, even where it goes on on a machine that would have chosen another.
    """

    config: dict
    step: int
    seconds: float
    curve: list
    precision: str = "float32"
    masked: int = 0
    masked_by_margin: int = 0
    inherited: int = 0

    @property
    def name(self) -> str:
        return f"checkpoint-{self.step:09d}"


def save(
    folder: Path,
    state: State,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    alone: bool = True,
) -> None:
    """Write a checkpoint under `folder`, then remove the older ones if it is to be `alone`."""
    building = folder / f".{state.name}.{os.getpid()}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    weights.write(model, building / "trained.safetensors")
    rest = {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    torch.save(rest, building / "optimizer.pt")
    digests = {path.name: weights.digest(path) for path in sorted(building.iterdir())}
    with open(building / "state.json", "w", encoding="utf-8") as file:
        json.dump({**asdict(state), "digests": digests}, file)
        file.flush()
        os.fsync(file.fileno())
    final = folder / state.name
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)
    if alone:
        remove(folder, keep=final)


def newest(
    folder: Path, fits: Callable[[RunConfig], bool], *, last: int | None = None
) -> tuple[Path, State] | None:
    """The newest whole checkpoint under `folder`; None where there is none.

    Args:
        fits: Whether one of a run of this configuration may be taken.
        last: The latest step that may be taken.
    """
    for path in sorted(folder.glob("checkpoint-*"), reverse=True):
        state = read(path)
        if (
            state is not None
            and fits(as_made(state.config))
            and (last is None or state.step <= last)
        ):
            return path, state
    return None


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    """Bring back a whole checkpoint; False where it is another model's, and nothing is done."""
    rest = torch.load(path / "optimizer.pt", weights_only=True, map_location="cpu")
    if not weights.read(model, path / "trained.safetensors"):
        return False
    optimizer.load_state_dict(rest["optimizer"])
    torch.set_rng_state(rest["rng"])
    return True


def remove(folder: Path, keep: Path | None = None) -> None:
    """Remove the checkpoints under `folder`, unfinished ones too, but for the one to keep."""
    for path in (*folder.glob("checkpoint-*"), *folder.glob(".checkpoint-*.tmp")):
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def remove_one(path: Path) -> None:
    """Remove a checkpoint that is of no use."""
    shutil.rmtree(path, ignore_errors=True)


def read(path: Path) -> State | None:
    """The state of a whole checkpoint; None where a file is missing or damaged."""
    try:
        values = json.loads((path / "state.json").read_text(encoding="utf-8"))
        digests = values.pop("digests")
        if set(digests) != {"trained.safetensors", "optimizer.pt"}:
            return None
        if any(weights.digest(path / name) != digest for name, digest in digests.items()):
            return None
        state = State(**values)
        as_made(state.config)
        return state
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ToolkitError):
        return None
