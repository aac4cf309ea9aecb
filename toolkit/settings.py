"""Hyperparameters of a recipe: the best value tried near its budget and size, else the default."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit import defaults, methods, suite
from toolkit.runs import METHODS, RunConfig
from toolkit.study import SETTINGS, Study
from toolkit.wording import count, scientific

NEAR_OPTIMAL = 0.01
OWNED = {"lora_rank": "lora", "trained_blocks": "freeze"}


@dataclass(frozen=True)
class Setting:
    """One hyperparameter.

    Attributes:
        name: lr, batch_pairs, lora_rank or trained_blocks.
        value: Recommended.
        low, high: The values tried within 1 % of the best loss lie between these; both are
            `value` where nothing else was tried.
        tried: All values tried at that size and budget, ascending.
        source: Where the value comes from, in words.
    """

    name: str
    value: float
    low: float
    high: float
    tried: tuple[float, ...]
    source: str


def choose_settings(
    study: Study, method: str, budget_flop: float, params: float, decoder: str
) -> tuple[Setting, ...]:
    """The settings that a method is run with, for a budget, a size and the decoder nearest to it.

    Each is read where it was varied nearest to the budget and size (in logs): for every value the
    best of the other settings counts, seeds are averaged. Where it was never varied, the value of
    the nearest runs; where the table does not have it, the toolkit's default.
    """
    rows = study.runs[study.runs["method"] == method]
    names = [n for n in SETTINGS if OWNED.get(n, method) == method]
    return tuple(_choose(name, rows, budget_flop, params, decoder, method) for name in names)


def _choose(
    name: str, rows: pd.DataFrame, budget_flop: float, params: float, decoder: str, method: str
) -> Setting:
    known = rows.dropna(subset=[name]) if name in rows.columns else rows.iloc[:0]
    if known.empty:
        return _default(name, method, decoder)
    varied = known.groupby(["budget_flop", "params"])[name].transform("nunique") > 1
    if varied.any():
        known = known[varied]
    far = np.hypot(np.log(known["budget_flop"] / budget_flop), np.log(known["params"] / params))
    here = known.loc[far.idxmin()]
    same = (known["budget_flop"] == here["budget_flop"]) & (known["params"] == here["params"])
    losses = _losses(name, known[same])
    good = losses.index[losses <= (1 + NEAR_OPTIMAL) * losses.min()]
    values = [_carried(name, float(v), here, decoder) for v in (losses.idxmin(), *good)]
    tried = f"best of {len(losses)} tried" if len(losses) > 1 else "the only value tried"
    return Setting(
        name,
        values[0],
        min(values),
        max(values),
        tuple(float(v) for v in losses.index),
        f"{tried} with {_name(here)} at {scientific(float(here['budget_flop']))} FLOP",
    )


def _carried(name: str, value: float, row: pd.Series, decoder: str) -> float:
    """A value found with one decoder, for another: the same share of blocks, a rank that fits."""
    seen, meant = suite.KNOWN.get(str(row.get("decoder"))), suite.KNOWN.get(decoder)
    if name == "lora_rank" and meant is not None:
        return min(value, meant.shape.hidden)
    if name == "trained_blocks" and seen is not None and meant is not None:
        return max(1, round(value / seen.shape.layers * meant.shape.layers))
    return value


def _losses(name: str, rows: pd.DataFrame) -> pd.Series:
    """The loss of each value of a setting, the others at their best, seeds averaged."""
    others = [n for n in SETTINGS if n != name and n in rows.columns]
    mean = rows.groupby([name, *others], dropna=False)["loss"].mean()
    return mean.groupby(level=0).min().sort_index()


def _name(row: pd.Series) -> str:
    return str(row["decoder"]) if "decoder" in row.index else f"{count(row['params'])} parameters"


def _default(name: str, method: str, decoder: str) -> Setting:
    """The toolkit's default for the decoder; NaN for a decoder or method it does not know."""
    known = suite.KNOWN.get(decoder)
    if known is None or method not in METHODS:
        return Setting(name, math.nan, math.nan, math.nan, (), "the table does not tell")
    if name == "lr":
        value = defaults.learning_rate(method, known)
    elif name == "batch_pairs":
        value = defaults.batch_pairs(known)
    else:
        config = RunConfig(decoder=decoder, budget_flop=1, method=method)
        value = getattr(methods.resolve(config, known.shape), name)
    return Setting(name, value, value, value, (), f"the toolkit's default for {decoder}")
