"""Hyperparameters of a recipe: the best value between those tried, or the best of these, or the
default, as far as the runs tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolkit import decoders, methods
from toolkit.kept import kept
from toolkit.laws.estimate import UNKNOWN, Estimate
from toolkit.laws.optimiser import Array
from toolkit.methods import METHODS, SETTINGS
from toolkit.recipe.cell import Cell, nearest
from toolkit.recipe.study import Study
from toolkit.recipe.tuning import COMMON, NAMED
from toolkit.runs import RunConfig
from toolkit.text import scientific
from toolkit.training import defaults

NEAR_OPTIMAL = 0.01


@dataclass(frozen=True)
class Setting:
    """One hyperparameter.

    Attributes:
        name: lr, batch_pairs, or one that belongs to the method.
        value: Recommended.
        low, high: Where `told`, the 95 % interval of the best value. Else the values tried within
            1 % of the best loss lie between these, carried to the recipe's decoder as `value` is;
            both are `value` where nothing else was tried.
        tried: All values tried at the nearest size and budget, ascending, as they were tried.
        source: Where the value comes from, in words.
        told: Whether the runs tell the best value between those tried
            (`toolkit.recipe.tuning.Tuning.told`).
        off_by_two: Where told, by which share the loss rises with half or twice the value.
    """

    name: str
    value: float
    low: float
    high: float
    tried: tuple[float, ...]
    source: str
    told: bool = False
    off_by_two: Estimate = UNKNOWN


def choose_settings(
    study: Study, method: str, budget_flop: float, params: float, decoder: str
) -> tuple[Setting, ...]:
    """The settings that a method is run with, for a budget, a size and the decoder nearest to it.

    Where enough values were tried at enough sizes and budgets, the best lies where the penalty
    fitted to them says (`toolkit.laws.penalty`). Else it is read where it was varied nearest to the
    budget and size (in logs): for every value the best of the other settings counts, seeds are
    averaged. Where it was never varied, the value of the nearest runs; where the table does not
    have it, the toolkit's default.
    """
    own = {setting.name for setting in METHODS[method].settings} if method in METHODS else set()
    names = [name for name in NAMED if name in own.union(COMMON)]
    told = any(study.tuning.told(method, name) for name in names)
    draws = study.losses(method, np.array([params]), budget_flop) if told else np.array([math.nan])
    loss = float(np.exp(np.log(draws).mean()))
    found = []
    for name in names:
        cells = study.cells[method].get(name, ())
        tried = _choose(name, method, cells, budget_flop, params, decoder)
        tried = tried or _default(name, method, budget_flop, decoder)
        found.append(_between(study, tried, method, budget_flop, params, decoder, loss))
    return tuple(found)


def own_settings(
    study: Study, method: str, budget_flop: float, params: float, decoder: str
) -> dict[str, float]:
    """The method's own settings among these, as they were tried or carried over: what a run of it
    costs depends on them."""
    names = [s.name for s in METHODS[method].settings if s.recommended] if method in METHODS else []
    tried = (
        _choose(name, method, study.cells[method].get(name, ()), budget_flop, params, decoder)
        for name in names
    )
    return {setting.name: setting.value for setting in tried if setting is not None}


def run_cost(study: Study, method: str, params: int, decoder: str, budget_flop: float) -> float:
    """FLOP a unit of data of a decoder's run, for the law: it goes over from what the method's own
    settings cost at one budget tried to what they do at the next, without a step where they change.

    NaN where the toolkit cannot count it.
    """
    costs = _run_costs(study, method, params, decoder)
    return float(np.exp(np.interp(math.log(budget_flop), np.log(study.budgets), costs)))


@kept(4096)
def _run_costs(study: Study, method: str, params: int, decoder: str) -> Array:
    """(budgets,) ln FLOP a unit of data at the budgets tried, each with the settings it has."""
    costs = [
        study.costs.of_run(method, decoder, own_settings(study, method, budget, params, decoder))
        for budget in study.budgets
    ]
    return np.log(costs)


def _between(
    study: Study,
    tried: Setting,
    method: str,
    budget_flop: float,
    params: float,
    decoder: str,
    loss: float,
) -> Setting:
    """The best value between those tried, where the runs tell it; else the tried as it is."""
    best = study.tuning.best(method, tried.name, budget_flop, params, decoder, loss)
    if best is None:
        return tried
    return replace(
        tried,
        value=best.value.value,
        low=best.value.low,
        high=best.value.high,
        source="between the values tried",
        told=True,
        off_by_two=best.off_by_two,
    )


def _choose(
    name: str,
    method: str,
    cells: Sequence[Cell],
    budget_flop: float,
    params: float,
    decoder: str,
) -> Setting | None:
    """The best value in the nearest cell, one where the setting was varied if there is any."""
    cells = [cell for cell in cells if len(cell.values) > 1] or cells
    if not cells:
        return None
    here = nearest(cells, budget_flop, params)
    chosen, best = here.best
    good = [
        value
        for value, loss in zip(here.values, here.losses, strict=True)
        if loss <= (1 + NEAR_OPTIMAL) * best
    ]
    values = [
        _carried(name, method, value, here, budget_flop, params, decoder)
        for value in (chosen, *good)
    ]
    number = len(here.values)
    tried = f"best of {number} tried" if number > 1 else "the only value tried"
    if values[0] != chosen:
        tried = f"carried over from {chosen:.3g}, {tried}"
    return Setting(
        name,
        values[0],
        min(values),
        max(values),
        here.values,
        f"{tried} with {here.where} at {scientific(here.budget_flop)} FLOP",
    )


def _carried(
    name: str,
    method: str,
    value: float,
    here: Cell,
    budget_flop: float,
    params: float,
    decoder: str,
) -> float:
    """A value found in one cell, for another budget and decoder.

    The same multiple of the default learning rate, which falls with the width, and of the default
    batch, which grows with the pairs that a budget buys (benchmarks/carried.py); a method's own
    setting as that says.
    """
    if name == "batch_pairs":
        before = _usual_batch(here.decoder, here.params, here.budget_flop)
        return float(max(1, round(value * _usual_batch(decoder, params, budget_flop) / before)))
    seen, meant = decoders.catalogued(here.decoder), decoders.catalogued(decoder)
    if name == "lr" and seen is not None and meant is not None and method in METHODS:
        rates = [METHODS[method].learning_rate(known) for known in (seen, meant)]
        return value * rates[1] / rates[0]
    if name in SETTINGS and meant is not None:
        return SETTINGS[name].carry(value, seen.shape if seen else None, meant.shape)
    return value


def _usual_batch(decoder: str, params: float, budget_flop: float) -> int:
    """The default for a budget; by its size for any decoder that is not known by name."""
    known = decoders.catalogued(decoder)
    return defaults.usual_batch(known.family if known else "", params, budget_flop)


def _default(name: str, method: str, budget_flop: float, decoder: str) -> Setting:
    """The toolkit's default for the decoder; NaN for a decoder or method it does not know."""
    known = decoders.catalogued(decoder)
    if known is None or method not in METHODS:
        return Setting(name, math.nan, math.nan, math.nan, (), "the table does not tell")
    if name == "lr":
        value = METHODS[method].learning_rate(known)
    elif name == "batch_pairs":
        value = defaults.batch_pairs(known, budget_flop)
    else:
        config = RunConfig(decoder=decoder, budget_flop=1, method=method)
        value = getattr(methods.resolve(config, known.shape), name)
    return Setting(name, value, value, value, (), f"the toolkit's default for {decoder}")
