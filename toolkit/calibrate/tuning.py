"""A setting for the target, the learning rate or the batch, from a few runs that differ in it.

ln L rises with the square of ln(value / best value). The best value is the decoder's default times
a factor, the same for all decoders and nearly so for all budgets. What is not known has stated
priors: the factor, how fast the loss rises, and how the best value drifts with the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from toolkit.laws.optimiser import Array

NOISE = 0.015  # Of a difference of ln L between two runs.
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Setting:
    """What is known of a setting before it was tried: standard deviations, but for `rise`.

    Attributes:
        factor: Of ln(best value / default).
        rise: Mean and deviation of the logarithm of what one e-fold off adds to ln L, where half is
            learnt. drift: Of the best ln value's move for each e-fold of budget, beside the
            default's own.
    """

    factor: float
    rise: tuple[float, float]
    drift: float


RATE = Setting(0.8, (-3.3, 0.8), 0.06)
# The rise is of 13 places of runs/reference and runs/real-decoder where three batches were tried;
# the defaults of two kinds of decoders lie a factor of four apart.
BATCH = Setting(0.9, (-2.75, 0.8), 0.1)


@dataclass(frozen=True)
class Tried:
    """Runs of one decoder, method and budget that differ in one setting alone.

    Attributes:
        flop: The budget. factors: Values over the default. losses: Of each.
        felt: How much a misfit shows at such losses: 1 where half is learnt, 0 at chance.
    """

    flop: float
    factors: tuple[float, ...]
    losses: tuple[float, ...]
    felt: float


@dataclass(frozen=True)
class Tuned:
    """Best value over the default at a budget: median, 90 % interval, and what it may cost.

    Attributes:
        cost: Expected share of the loss that is lost by the median against the best value.
        cells: In how many places values were compared.
    """

    factor: float
    low: float
    high: float
    cost: float
    cells: int


@dataclass(frozen=True, eq=False)
class Tuning:
    """What runs tell of a setting: a posterior on a grid.

    Attributes:
        grid: (n, 3) ln of the best factor at `target` FLOP, rise, drift. weight: (n,).
        cells: In how many places values were compared.
    """

    target: float
    grid: Array
    weight: Array
    cells: int

    @classmethod
    def of(cls, setting: Setting, tried: Sequence[Tried], target: float) -> Tuning:
        """The posterior, where the best value at `target` FLOP is asked for."""
        middle = np.linspace(-3, 3, 121)
        rise, spread = setting.rise
        steep = np.exp(rise + spread * np.linspace(-2.5, 2.5, 11))
        drift = setting.drift * np.linspace(-2, 2, 7)
        grid = np.array(list(product(middle, steep, drift)))
        log = -0.5 * ((grid[:, 0] / setting.factor) ** 2 + (grid[:, 2] / setting.drift) ** 2)
        log -= 0.5 * ((np.log(grid[:, 1]) - rise) / spread) ** 2
        found = cls(target, grid, np.empty(0), 0)
        compared = [cell for cell in tried if len(set(cell.factors)) > 1]
        for cell in compared:
            off = np.log(cell.factors)[:, None] - found._best(cell.flop)
            above = cell.felt * grid[:, 1] * off**2
            missed = (above - above[0]) - np.log(np.divide(cell.losses, cell.losses[0]))[:, None]
            log -= 0.5 * (missed[1:] ** 2).sum(axis=0) / NOISE**2
        weight = np.exp(log - log.max())
        return cls(target, grid, weight / weight.sum(), len(compared))

    def _best(self, flop: float) -> Array:
        """(n,) ln of the best factor at a budget."""
        moved: Array = self.grid[:, 0] + self.grid[:, 2] * np.log(flop / self.target)
        return moved

    def at(self, flop: float) -> Tuned:
        """The best value at a budget."""
        best = self._best(flop)
        order = best.argsort(kind="stable")
        low, middle, high = np.interp(QUANTILES, self.weight[order].cumsum(), best[order])
        cost = float(self.weight @ np.expm1(self.grid[:, 1] * (best - middle) ** 2))
        low, factor, high = np.exp((low, middle, high)).tolist()
        return Tuned(factor, low, high, cost, self.cells)

    def excess(self, flop: float, factor: float) -> float:
        """By how much a run's value is expected to raise ln L above the median's at its budget,
        where half is learnt."""
        best, middle = self._best(flop), np.log(self.at(flop).factor)
        off = (np.log(factor) - best) ** 2 - (middle - best) ** 2
        return float(self.weight @ (self.grid[:, 1] * off))
