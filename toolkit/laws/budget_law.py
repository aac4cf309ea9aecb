"""A power law of the budget, with or without an asymptote, and its resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.estimate import Estimate, interval
from toolkit.laws.fitting import Fit
from toolkit.laws.forms import FORMS
from toolkit.laws.objective import Objective, Problem
from toolkit.laws.optimiser import Array, minimise

POINTS_POWER, POINTS_SATURATING = 3, 5  # One and two points more than parameters.
FLOORS = np.array([0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98])  # Starts of E, in units of the least y.
FOLLOWED = 2


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
        value = self.asymptote.value + self.coefficient.value * budget_flop**self.exponent.value
        low, high = interval(self.predict_draws(budget_flop), self.freedom)
        beyond = not min(self.budgets) * 0.999 <= budget_flop <= max(self.budgets) * 1.001
        return Estimate(value, low, high, beyond)

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
        nothing, none = Estimate(math.nan), np.empty((0, 3))
        return PowerLaw(
            quantity, "too-few", reason, "power", nothing, nothing, nothing, *given, freedom, none
        )
    status, reason, form = "ok", "", "power"
    if len(budgets) < POINTS_POWER:
        status = "exact"
        reason = f"two budgets fix the law of {quantity} exactly: add a third to check it"
    elif saturates and len(budgets) >= POINTS_SATURATING:
        form = "saturating"
    elif saturates:
        reason = (
            f"a saturating law needs at least {POINTS_SATURATING} budgets and has {len(budgets)}: "
            "a power law without an asymptote stands in, and falls too fast beyond the data"
        )
    solve = _saturating if form == "saturating" else _straight
    best = solve(np.log(budgets), np.log(values)[None])[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        redrawn = solve(np.log(budgets), np.log(draws))
    ends = [interval(column, freedom) for column in redrawn.T]
    asymptote = Estimate(float(best[0]), *(ends[0] if form == "saturating" else (0.0, 0.0)))
    with np.errstate(over="ignore"):
        value, low, high = np.exp([best[1], *ends[1]])
    coefficient = Estimate(float(value), float(low), float(high))
    exponent = Estimate(float(best[2]), *ends[2])
    if form == "saturating" and best[0] == 0:
        reason = f"the asymptote of {quantity} rests at zero: the points show no saturation"
    return PowerLaw(
        quantity,
        status,
        reason,
        form,
        asymptote,
        coefficient,
        exponent,
        *given,
        freedom,
        redrawn,
    )


def loss_law(fit: Fit) -> PowerLaw:
    """A fitted saturating law of the budget, as what `crossover` compares."""
    e, a, alpha = (fit.params[name] for name in ("E", "A", "alpha"))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = fit.draws * [1.0, 1.0, -1.0]
        drawn[:, 1] = np.log(drawn[:, 1])
    return PowerLaw(
        quantity="loss",
        status="ok",
        reason="",
        form="saturating",
        asymptote=e,
        coefficient=a,
        exponent=Estimate(-alpha.value, -alpha.high, -alpha.low),
        budgets=tuple(map(float, fit.inputs[0])),
        values=tuple(map(float, fit.loss)),
        sources=("given",) * fit.n_points,
        freedom=fit.freedom,
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


def _saturating(log_budget: Array, log_y: Array) -> Array:
    """(B, 3) asymptote, log coefficient and (negative) exponent through (B, m) points.

    Each problem starts from lines through y - E for several E; the best end counts.
    """
    form = FORMS["saturating"]
    count, starts = len(log_y), len(FLOORS)
    if not count:
        return np.empty((0, 3))
    known = np.isfinite(log_y)
    centre = np.array([log_budget.mean()])
    z = log_budget - centre
    unit = np.where(known, log_y, 0.0).sum(axis=1, keepdims=True) / np.maximum(
        known.sum(axis=1, keepdims=True), 1
    )
    y = np.where(known, log_y - unit, 0.0)
    least = np.where(known, np.exp(y), np.inf).min(axis=1)
    floor = FLOORS * np.where(np.isfinite(least), least, 1.0)[:, None]  # (B, starts)
    above = np.where(known[:, None], np.exp(y)[:, None] - floor[:, :, None], np.nan)
    lines = _straight(z, np.log(above).reshape(count * starts, -1))
    start = np.stack([floor.ravel(), lines[:, 1], -lines[:, 2]], axis=1)
    start = np.clip(np.nan_to_num(start), form.low, form.high)
    problem = Problem(form, z[None], centre, y, known * 1.0, _LSQ_LOG)
    # Of the starts only the best two are followed: they are good already.
    rows = np.repeat(np.arange(count), starts)
    ranked = problem(start, rows)[0].reshape(count, starts).argsort(axis=1)[:, :FOLLOWED]
    rows = np.repeat(np.arange(count), FOLLOWED)
    start = start.reshape(count, starts, 3)[rows, ranked.ravel()]
    minima = minimise(lambda phi, some: problem(phi, rows[some]), start, form.low, form.high)
    value = minima.value.reshape(count, FOLLOWED)
    phi = minima.x.reshape(count, FOLLOWED, 3)[np.arange(count), value.argmin(axis=1)]
    phi[known.sum(axis=1) < POINTS_POWER] = np.nan
    shift = unit[:, 0]
    return np.stack(
        [phi[:, 0] * np.exp(shift), phi[:, 1] + phi[:, 2] * centre[0] + shift, -phi[:, 2]], axis=1
    )


_LSQ_LOG = Objective("lsq-log")
