"""Short trainings and real texts for a lesson."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import decoders
from toolkit.errors import ToolkitError
from toolkit.records import RunRecord
from toolkit.runs import RunConfig

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel

    from toolkit.pairs.pair import Pair


def fine_tune(**settings: object) -> tuple[RunRecord, PreTrainedModel]:
    """A run with a progress bar, nothing written: its record and the trained model.

    Args:
        settings: Fields of RunConfig.
    """
    from tqdm.auto import tqdm

    from toolkit.training.preparation import prepare
    from toolkit.training.run import train_encoder

    config = RunConfig.from_dict(settings)
    with tqdm(total=prepare(config).schedule.steps, unit="step") as bar:
        return train_encoder(config, progress=lambda point: bar.update())


def real_or(name: str, small: str) -> str:
    """`name` if its weights are here or can be fetched; else `small`, and a sentence says so."""
    try:
        decoders.load_tokenizer(decoders.find(name))
    except ToolkitError as error:
        print(f"{name} cannot be had here, so this goes on with {small}: {error}.")
        return small
    return name


def unseen(source: str, count: int) -> list[Pair]:
    """So many of a data source's held-out pairs, from all parts of it: no run trains on them."""
    from toolkit.pairs.sources import read_pairs
    from toolkit.pairs.split import HELD_OUT, split

    sides = zip(read_pairs(source), split(source).sides, strict=True)
    held_out = [pair for pair, side in sides if side == HELD_OUT]
    return held_out[:: max(len(held_out) // count, 1)][:count]


def places(scores: np.ndarray) -> np.ndarray:
    """Where each query's own answer comes among all: 1 is first.

    Args:
        scores: Similarities, shape [queries, answers]; the right answers are on the diagonal.
    """
    return (scores >= np.diagonal(scores)[:, None]).sum(1)


def median_place(scores: np.ndarray) -> float:
    """The median of `places`."""
    return float(np.median(places(scores)))


def some_runs(folder: Path | None = None) -> tuple[pd.DataFrame, Path]:
    """Runs to read on with, and their sweep's folder: the reference study, a sweep of one's own,
    or, where there is neither, made-up runs, and a sentence says so.

    Args:
        folder: Of sweeps; the project's where None.
    """
    from toolkit import synthetic
    from toolkit.explorer import find_sweeps
    from toolkit.tables import read_table

    folder = folder or decoders.SUITE_FOLDER.parent
    for name in find_sweeps(folder):
        return read_table(folder / name), folder / name
    print("No sweep has been run here yet: what follows are MADE-UP RUNS with the study's shape.")
    print("Run `make recipe` for real ones, then come back.\n")
    return synthetic.run_table(ranks=(8, 32, 128, 512)), Path("made-up runs")


def documented(*modules: str) -> list[tuple[str, str]]:
    """Pairs (summary, the rest) of the documentation of modules' functions, each summary once."""
    found: dict[str, str] = {}
    for module in map(import_module, modules):
        for name in sorted(dir(module)):
            thing = getattr(module, name)
            text = inspect.getdoc(thing) if callable(thing) and name[0] != "_" else None
            summary, _, rest = (text or "").partition("\n\n")
            rest = " ".join(rest.split())[:400]
            if 20 < len(summary) < 200 and len(rest) > 100 and "(x" not in summary:
                found.setdefault(" ".join(summary.split()), rest)
    return list(found.items())
