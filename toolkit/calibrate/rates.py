"""The learning rate for the target, from a few runs that differ in it, with its interval.

ln L rises with the square of ln(rate / best rate). The best rate is the decoder's default times a
factor, the same for all decoders and nearly so for all budgets. What is not known has stated
priors: the factor, how fast the loss rises, and how the best rate drifts with the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from toolkit.laws.optimiser import Array

FACTOR = 0.8  # Standard deviation of ln(best rate / default).
STEEPNESS = (-3.3, 0.8)  # Of ln rise at one e-fold off, where half is learnt: 0.037.
DRIFT = 0.06  # Standard deviation of the best ln rate's move for each e-fold of budget.
NOISE = 0.015  # Of a difference of ln L between two runs.
QUANTILES = (0.05, 0.95)


@dataclass(frozen=True)
class Tried:
    """Runs of one decoder, method and budget that differ in their rate.

    Attributes:
        flop: The budget. factors: Rates over the default. losses: Of each.
        felt: How much a misfit shows at such losses: 1 where half is learnt, 0 at chance.
    """

    flop: float
    factors: tuple[float, ...]
    losses: tuple[float, ...]
    felt: float


@dataclass(frozen=True)
class Rate:
    """Best rate over the default at the target: median, 90 % interval, and what it may cost.

    Attributes:
        cost: Expected share of the loss that is lost by the median against the best rate.
        cells: In how many places rates were compared.
    """

    factor: float
    low: float
    high: float
    cost: float
    cells: int


def best_rate(tried: Sequence[Tried], target: float) -> Rate:
    """The posterior of the best rate at `target` FLOP, on a grid."""
    middle = np.linspace(-3, 3, 121)
    steep = np.exp(STEEPNESS[0] + STEEPNESS[1] * np.linspace(-2.5, 2.5, 11))
    drift = DRIFT * np.linspace(-2, 2, 7)
    grid = np.array(list(product(middle, steep, drift)))
    log = -0.5 * ((grid[:, 0] / FACTOR) ** 2 + (grid[:, 2] / DRIFT) ** 2)
    log -= 0.5 * ((np.log(grid[:, 1]) - STEEPNESS[0]) / STEEPNESS[1]) ** 2
    compared = [cell for cell in tried if len(set(cell.factors)) > 1]
    for cell in compared:
        at = grid[:, 0] + grid[:, 2] * np.log(cell.flop / target)
        rise = cell.felt * grid[:, 1] * (np.log(cell.factors)[:, None] - at) ** 2
        off = (rise - rise[0]) - np.log(np.divide(cell.losses, cell.losses[0]))[:, None]
        log -= 0.5 * (off[1:] ** 2).sum(axis=0) / NOISE**2
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    at = _quantiles(grid[:, 0], weight, (QUANTILES[0], 0.5, QUANTILES[1]))
    cost = float(weight @ np.expm1(grid[:, 1] * (grid[:, 0] - at[1]) ** 2))
    low, factor, high = (float(np.exp(v)) for v in at)
    return Rate(factor, low, high, cost, len(compared))


def _quantiles(values: Array, weight: Array, shares: Sequence[float]) -> Array:
    order = values.argsort(kind="stable")
    return np.interp(shares, weight[order].cumsum(), values[order])
