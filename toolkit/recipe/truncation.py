"""What truncation costs: the loss of an embedding's first features, beside that of the whole."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from toolkit.decoders import catalogued
from toolkit.kept import kept
from toolkit.recipe.comparable import best_settings
from toolkit.recipe.study import Study

COLUMN = "loss_by_dimension"


@dataclass(frozen=True)
class Truncation:
    """The runs of one method and decoder, trained to be cut (Matryoshka) or not.

    Attributes:
        method, decoder, params, budget_flop: Which; the largest budget at which there are any.
        trained_for: The dimensions beside the whole that the loss was taken of; empty where the
            whole alone was trained.
        width: Of the whole embedding; None where the decoder is not known by name.
        loss: Held-out, of the whole, mean of seeds.
        losses: (dimension, loss) of each truncation, falling.
        runs: That these are means of.
    """

    method: str
    decoder: str
    params: float
    budget_flop: float
    trained_for: tuple[int, ...]
    width: int | None
    loss: float
    losses: tuple[tuple[int, float], ...]
    runs: int


@kept(1)
def truncations(study: Study) -> tuple[Truncation, ...]:
    """By method, size and whether it was trained to be cut, the best attempt that tells losses by
    dimension; empty without any."""
    runs = study.runs
    if COLUMN not in runs.columns:
        return ()
    told: dict[str, Any] = {COLUMN: [_by_dimension(value) for value in runs[COLUMN]]}
    runs = runs.assign(**told)
    runs = runs[runs[COLUMN].map(bool)]
    place = ["method", "params", *(name for name in ("matryoshka",) if name in runs.columns)]
    largest = runs.groupby(place, dropna=False)["budget_flop"].transform("max")
    best = best_settings(runs[runs["budget_flop"] == largest], place)
    found = [_truncation(some) for _, some in best.groupby(place, dropna=False)]
    order = {method: place for place, method in enumerate(study.methods)}
    found.sort(key=lambda each: (order[each.method], each.params, each.trained_for))
    return tuple(found)


def nearest(study: Study, method: str, params: float) -> tuple[Truncation, ...]:
    """Of a method, those with the decoder that is nearest in size."""
    mine = [each for each in truncations(study) if each.method == method]
    if not mine:
        return ()
    best = min((each.params for each in mine), key=lambda size: abs(math.log(size / params)))
    return tuple(each for each in mine if each.params == best)


def _truncation(runs: pd.DataFrame) -> Truncation:
    """Runs that differ in their seed alone."""
    first = runs.iloc[0]
    decoder = str(first.get("decoder", ""))
    known = catalogued(decoder)
    seeds = list(runs[COLUMN])
    shared = sorted(set.intersection(*map(set, seeds)), reverse=True)
    return Truncation(
        str(first["method"]),
        decoder,
        float(first["params"]),
        float(first["budget_flop"]),
        _dimensions(first.get("matryoshka")),
        None if known is None else known.shape.hidden,
        float(runs["loss"].mean()),
        tuple((dimension, fmean(seed[dimension] for seed in seeds)) for dimension in shared),
        len(runs),
    )


def _dimensions(value: Any) -> tuple[int, ...]:
    """What a run was trained for, falling."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
        return tuple(sorted(map(int, found), reverse=True))
    except (TypeError, ValueError):
        return ()


def _by_dimension(value: Any) -> dict[int, float]:
    """A record's losses by dimension; empty where a table has none, or none that can be read."""
    try:
        found = json.loads(value) if isinstance(value, str) else dict(value)
        losses = {int(dimension): float(loss) for dimension, loss in found.items()}
    except (TypeError, ValueError, AttributeError):
        return {}
    return {dimension: loss for dimension, loss in losses.items() if math.isfinite(loss)}
