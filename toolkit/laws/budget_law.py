"""A power law of the budget, with or without an asymptote, and its resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.estimate import UNKNOWN, Estimate
from toolkit.laws.fitting import Fit, fit
from toolkit.laws.optimiser import Array

POINTS_POWER, POINTS_SATURATING = 3, 5  # One and two points more than parameters.
STARTS = 20  # Of a saturating law through a handful of points: nearly all reach the best.


@dataclass(frozen=True)
class PowerLaw:
    """quantity(C) = asymptote + coefficient * C ** exponent, C in FLOP.

    Attributes:
        quantity: params, tokens or loss.
        status: "ok"; "exact" where two points fix the two parameters and nothing is left to judge
            them by; "too-few" where there is no law (then `predict` refuses).
        reason: Why, in a sentence; empty when there is nothing to say.
        form: power or saturating.
        asymptote, coefficient, exponent: With intervals; the asymptote of a power law is 0. A
            loss falls: its exponent is negative.
        budgets, values, sources: The points that were fitted, and where each came from: "vertex"
            of a parabola, or "best-tried" size where there was none.
        freedom: Degrees of freedom of the residuals that the resamples stand on.
        draws: (R, 3) asymptote, log of the coefficient and exponent of each resample; NaN where
            it had too few points.
    """

    quantity: str
    status: str
    reason: str
    form: str
    asymptote: Estimate
    coefficient: Estimate
    exponent: Estimate
    budgets: tuple[float, ...]
    values: tuple[float, ...]
    sources: tuple[str, ...]
    freedom: int
    draws: Array = field(repr=False, compare=False)

    @property
    def usable(self) -> bool:
        """Whether `predict` answers."""
        return self.status != "too-few"

    def predict(self, budget_flop: float) -> Estimate:
        """The law at a budget in FLOP, with its interval.

        Raises:
            ToolkitError: There is no law, or the budget is not a positive number.
        """
        if not self.usable:
            raise ToolkitError(f"no law of {self.quantity} to predict with: {self.reason}")
        if not (budget_flop > 0 and math.isfinite(budget_flop)):
            raise ToolkitError(f"a budget in FLOP is a positive number, not {budget_flop}")
        beyond = not min(self.budgets) * 0.999 <= budget_flop <= max(self.budgets) * 1.001
        draws = self.predict_draws(budget_flop)
        return Estimate.of(self.value(budget_flop), draws, self.freedom, beyond)

    def value(self, budget_flop: Any) -> Any:
        """The law itself, at a budget or at an array of them."""
        return self.asymptote.value + self.coefficient.value * budget_flop**self.exponent.value

    def predict_draws(self, budget_flop: float | Array) -> Array:
        """The law of every resample: (R,) at one budget, (R, m) at an array of m budgets."""
        draws = self.draws if np.ndim(budget_flop) == 0 else self.draws[:, :, None]
        with np.errstate(over="ignore"):
            return draws[:, 0] + np.exp(draws[:, 1] + draws[:, 2] * np.log(budget_flop))


def fit_power_law(
    quantity: str,
    budgets: Array,
    values: Array,
    *,
    draws: Array,
    freedom: int,
    sources: Sequence[str] = (),
    saturates: bool = False,
    points: str = "budgets",
) -> PowerLaw:
    """Least squares on logarithms through the points of each budget.

    Args:
        budgets, values: (m,) in FLOP and in the quantity's unit.
        draws: (R, m) the values of every resample, NaN where it has none; (0, m) for no intervals.
        freedom: Degrees of freedom of the residuals behind the draws.
        sources: (m,) where each value came from.
        saturates: Whether to look for an asymptote, given at least five points.
        points: What to call the points where there are too few.
    """
    sources = tuple(sources) or ("given",) * len(budgets)
    given = (tuple(map(float, budgets)), tuple(map(float, values)), tuple(sources))
    if len(budgets) < 2:
        reason = (
            f"a power law of {quantity} needs at least {POINTS_POWER} {points} and has "
            f"{len(budgets)}: {POINTS_POWER - len(budgets)} lacking"
        )
        none = np.empty((0, 3))
        return PowerLaw(
            quantity, "too-few", reason, "power", UNKNOWN, UNKNOWN, UNKNOWN, *given, freedom, none
        )
    if saturates and len(budgets) >= POINTS_SATURATING:
        found = fit("saturating", budgets, values, starts=STARTS, redrawn=draws)
        return loss_law(found, quantity, sources, freedom)
    status, reason = "ok", ""
    if len(budgets) < POINTS_POWER:
        status = "exact"
        reason = f"two budgets fix the law of {quantity} exactly: add a third to check it"
    elif saturates:
        reason = (
            f"a saturating law needs at least {POINTS_SATURATING} budgets and has {len(budgets)}: "
            "a power law without an asymptote stands in, and falls too fast beyond the data"
        )
    best = _straight(np.log(budgets), np.log(values)[None])[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        redrawn = _straight(np.log(budgets), np.log(draws))
    _, level, exponent = (
        Estimate.of(value, column, freedom) for value, column in zip(best, redrawn.T, strict=True)
    )
    with np.errstate(over="ignore"):
        value, low, high = np.exp([level.value, level.low, level.high])
    coefficient = Estimate(float(value), float(low), float(high))
    return PowerLaw(
        quantity,
        status,
        reason,
        "power",
        Estimate(0.0, 0.0, 0.0),
        coefficient,
        exponent,
        *given,
        freedom,
        redrawn,
    )


def loss_law(
    fit: Fit, quantity: str = "loss", sources: Sequence[str] = (), freedom: int | None = None
) -> PowerLaw:
    """A fitted saturating law of the budget, as what `crossover` compares.

    Args:
        fit: Of the form saturating.
        quantity, sources, freedom: As in `fit_power_law`; by default a loss, given, the fit's own.
    """
    e, a, alpha = fit.theta
    freedom = fit.freedom if freedom is None else freedom
    drawn = fit.draws * [1.0, 1.0, -1.0]
    asymptote, coefficient, exponent = (
        Estimate.of(value, column, freedom)
        for value, column in zip((e, a, -alpha), drawn.T, strict=True)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn[:, 1] = np.log(drawn[:, 1])
    flat = f"the asymptote of {quantity} rests at zero: the points show no saturation"
    return PowerLaw(
        quantity=quantity,
        status="ok",
        reason="" if e > 0 else flat,
        form="saturating",
        asymptote=asymptote,
        coefficient=coefficient,
        exponent=exponent,
        budgets=tuple(map(float, fit.inputs[0])),
        values=tuple(map(float, fit.loss)),
        sources=tuple(sources) or ("given",) * fit.n_points,
        freedom=freedom,
        draws=drawn,
    )


def _straight(log_budget: Array, log_y: Array) -> Array:
    """(B, 3) zero asymptote, log coefficient and exponent of lines through (B, m) points."""
    known = np.isfinite(log_y)
    weight = known.astype(float)
    y = np.where(known, log_y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = weight.sum(axis=1)
        x_mean = weight @ log_budget / count
        x = (log_budget - x_mean[:, None]) * weight
        slope = (x * y).sum(axis=1) / (x * x).sum(axis=1)
        level = (weight * y).sum(axis=1) / count - slope * x_mean
    lines = np.stack([np.zeros_like(slope), level, slope], axis=1)
    lines[count < 2] = np.nan
    return lines
