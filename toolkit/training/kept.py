"""The encoder of a finished run, kept in the run's folder: only what was trained of it.

`encoder/` holds `trained.safetensors` and, written last, `encoder.json`: whose it is, with a digest
of the other file and one of the weights that were not trained, which come from the decoder anew. It
appears in one step, before the run's record, and goes in one step.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError
from toolkit.records import as_made
from toolkit.runs import RunConfig

if TYPE_CHECKING:
    from torch import nn

FOLDER = "encoder"
_WEIGHTS, _NOTE = "trained.safetensors", "encoder.json"


@dataclass(frozen=True)
class Note:
    """What `encoder.json` says.

    Attributes:
        config: Of the run. digest: Of the trained tensors' file. frozen: Fingerprint of the
            weights that were not trained (`toolkit.training.weights`).
    """

    config: dict
    digest: str
    frozen: str


def keep(folder: Path, config: RunConfig, model: nn.Module) -> Path:
    """Keep a trained model's encoder in its run's folder, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    from toolkit.training import weights

    building = folder / f".{FOLDER}.{os.getpid()}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        digest = weights.write(model, building / _WEIGHTS)
        note = Note(config.to_dict(), digest, weights.frozen_fingerprint(model))
        with open(building / _NOTE, "w", encoding="utf-8") as file:
            json.dump(asdict(note), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        drop(folder)
        building.rename(folder / FOLDER)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder / FOLDER


def is_kept(folder: Path) -> bool:
    """Whether a run's folder holds its encoder; whether that is undamaged, `restore` finds out."""
    return (folder / FOLDER / _NOTE).is_file()


def kept_bytes(folder: Path) -> int:
    """What a run's kept encoder takes on disk; 0 where there is none."""
    return sum(path.stat().st_size for path in (folder / FOLDER).glob("*"))


def drop(folder: Path) -> None:
    """Remove a run's kept encoder, and what is left of ones that were never whole."""
    gone = folder / f".{FOLDER}.{os.getpid()}.gone.tmp"
    if (folder / FOLDER).exists():
        (folder / FOLDER).rename(gone)
    for path in folder.glob(f".{FOLDER}.*.tmp"):
        if path.name != f".{FOLDER}.{os.getpid()}.tmp":
            shutil.rmtree(path, ignore_errors=True)


def restore(folder: Path, config: RunConfig, model: nn.Module) -> None:
    """Bring a kept encoder's trained tensors back into the model that its run began with.

    Args:
        folder: Of the run. config: Of the run.
        model: The run's decoder with its method applied (`preparation.load_encoder`).

    Raises:
        ToolkitError: It is damaged, another run's, or the decoder's other weights are not those
            that it was trained with.
    """
    from safetensors import SafetensorError

    from toolkit.training import weights

    place = folder / FOLDER
    again = f"do the run again: python -m toolkit train {folder} --keep"
    try:
        note = Note(**json.loads((place / _NOTE).read_text(encoding="utf-8")))
        whole = weights.digest(place / _WEIGHTS) == note.digest
        ours = as_made(note.config) == config
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ToolkitError) as error:
        raise ToolkitError(f"the encoder kept in {place} is damaged; {again}") from error
    if not ours:
        raise ToolkitError(f"the encoder kept in {place} is another run's; {again}")
    if weights.frozen_fingerprint(model) != note.frozen:
        raise ToolkitError(
            f"the weights of decoder {config.decoder!r} are not those that the encoder in {place} "
            f"was trained from; put those back, or {again}"
        )
    try:
        if whole and weights.read(model, place / _WEIGHTS):
            return
    except (SafetensorError, OSError):
        pass
    raise ToolkitError(f"the encoder kept in {place} is damaged; {again}")
