"""A forecast: what one method gives at one budget, and what another size would cost there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from toolkit.laws import Estimate, IsoFlopFit, Minimum
from toolkit.laws.estimate import interval
from toolkit.laws.optimiser import Array
from toolkit.recipe.comparable import same_budget


@dataclass(frozen=True)
class Forecast:
    """One method at one budget.

    Attributes:
        method, budget_flop: Of what.
        source: Where the size comes from: "law" (N*(C) through bracketed minima), "minimum" (the
            bracketed minimum of the nearest budget tried) or "best-tried" (the sizes tried do not
            bracket a minimum there: the best of them stands in). "none" where the cap on the size
            rules out every size tried; then there is no loss.
        reason: Why there is no law or no bracketed minimum; empty for a law.
        params: Best size; for "best-tried" its interval is what the data leaves open: 0 or
            infinity on the side of an edge.
        tokens: Data that the budget buys at that size.
        loss: Expected held-out loss.
        comparable: Whether the loss holds at this budget: a law, or runs at this very budget.
        capped: Whether the size is what `max_params` allows, not the optimum.
        optimum: Best size without a cap.
        curvature: Second derivative of the loss by ln(size) at the optimum; NaN where unknown.
        nearest: The minimum at the nearest budget tried.
        freedom: Degrees of freedom of the fit's residuals.
        draws: (R,) loss in every resample of the fit; NaN where it failed.
    """

    method: str
    budget_flop: float
    source: str
    reason: str
    params: Estimate
    tokens: Estimate
    loss: Estimate
    comparable: bool
    capped: bool
    optimum: float
    curvature: float
    nearest: Minimum
    freedom: int
    draws: Array = field(repr=False, compare=False)

    def excess(self, params: float) -> float:
        """Expected loss at another size, above the loss at `optimum`; NaN where unknown.

        Off a bracketed minimum the loss rises as the parabolas do: ½ · curvature · ln²(N / N*).
        Else it is read between the sizes tried at the nearest budget.
        """
        if self.source in ("law", "minimum"):
            return 0.5 * self.curvature * math.log(params / self.optimum) ** 2
        tried = self.nearest.parabola
        above = np.array(tried.mean_loss) - min(tried.mean_loss)
        at = np.interp(math.log(params), np.log(tried.sizes), above, math.nan, math.nan)
        return float(at)

    def near_optimal(self, share: float = 0.01) -> tuple[float, float]:
        """The sizes whose expected loss is within `share` of that at `params`, low and high.

        From the curvature, or from the sizes tried next to the best one where none is known. Of
        a capped size the range ends at the cap.
        """
        size = self.params.value
        allowed = self.excess(size) + share * self.loss.value
        if self.source in ("law", "minimum"):
            reach = math.exp(math.sqrt(2 * allowed / self.curvature))
            return self.optimum / reach, size if self.capped else self.optimum * reach
        sizes = [s for s in self.nearest.parabola.sizes if s <= size or not self.capped]
        good = [self.excess(s) <= allowed for s in sizes]
        low = high = sizes.index(size)
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(sizes) - 1 and good[high + 1]:
            high += 1
        return sizes[low], sizes[high]


def forecast(
    method: str, fit: IsoFlopFit, budget_flop: float, max_params: float | None = None
) -> Forecast:
    """What `method` gives at a budget in FLOP, with at most `max_params` non-embedding parameters.

    The law N*(C) speaks where the nearest budget tried has a bracketed minimum, between such
    budgets, and beyond all budgets tried if it stands on three or more. Elsewhere, where the sizes
    tried do not bracket a minimum, the best of them is recommended instead.
    """
    minima = fit.minima
    nearest = min(minima, key=lambda m: abs(math.log(m.budget_flop / budget_flop)))
    at = minima.index(nearest)
    same = bool(same_budget(nearest.budget_flop, budget_flop))
    inside = [m.budget_flop for m in minima if m.status == "interior"]
    between = bool(inside) and min(inside) <= budget_flop <= max(inside)
    bracketed = nearest.status == "interior"
    tried = [m.budget_flop for m in minima]
    beyond = not min(tried) <= budget_flop <= max(tried) and not same
    if fit.params_law.usable and (
        bracketed or between or (beyond and fit.params_law.status == "ok")
    ):
        source, reason = "law", ""
        params = fit.params_law.predict(budget_flop)
    elif bracketed:
        source, reason = "minimum", fit.params_law.reason
        params = nearest.params
    else:
        source, reason = "best-tried", nearest.reason
        params = _tried(nearest)
    if fit.loss_law.usable:
        loss = fit.loss_law.predict(budget_flop)
        draws = fit.loss_law.predict_draws(budget_flop)
    else:
        draws = fit.draws.loss[:, at] if bracketed else fit.draws.best_loss[:, at]
        value = nearest.loss.value if bracketed else nearest.best_loss
        loss = Estimate(value, *interval(draws, fit.freedom), not same)
    if source == "law" and fit.tokens_law.usable:
        tokens = fit.tokens_law.predict(budget_flop)
    else:
        tokens = _tokens(fit, budget_flop, params)
    plain = Forecast(
        method,
        budget_flop,
        source,
        reason,
        params,
        tokens,
        loss,
        comparable=same or fit.loss_law.usable,
        capped=False,
        optimum=params.value,
        curvature=_curvature(minima, budget_flop),
        nearest=nearest,
        freedom=fit.freedom,
        draws=draws,
    )
    if max_params is None or params.value <= max_params:
        return plain
    return _cap(plain, fit, max_params)


def _cap(plain: Forecast, fit: IsoFlopFit, max_params: float) -> Forecast:
    """The same method held to `max_params`."""
    if plain.source == "best-tried":
        allowed = [size for size in plain.nearest.parabola.sizes if size <= max_params]
        if not allowed:
            nothing = Estimate(math.nan)
            return replace(
                plain,
                source="none",
                reason=f"no size up to {max_params:,.0f} parameters was tried",
                params=nothing,
                tokens=nothing,
                loss=nothing,
                draws=plain.draws * math.nan,
                capped=True,
            )
        size = min(allowed, key=plain.excess)
        excess = plain.excess(size)
        draws = plain.draws + excess
    else:
        size = max_params
        excess = plain.excess(size)
        optimum = _params_draws(plain, fit)
        over = np.log(np.maximum(optimum, size) / size)
        draws = plain.draws + 0.5 * plain.curvature * over**2
    value = plain.loss.value + excess
    params = Estimate(size, size, size, plain.params.extrapolated)
    return replace(
        plain,
        params=params,
        tokens=_tokens(fit, plain.budget_flop, params),
        loss=Estimate(value, *interval(draws, plain.freedom), plain.loss.extrapolated),
        draws=draws,
        capped=True,
    )


def _params_draws(plain: Forecast, fit: IsoFlopFit) -> Array:
    if plain.source == "law":
        return fit.params_law.predict_draws(plain.budget_flop)
    return fit.draws.size[:, fit.minima.index(plain.nearest)]


def _tried(minimum: Minimum) -> Estimate:
    """The best size tried, between the sizes that the data rules the optimum to lie between."""
    sizes, best = minimum.parabola.sizes, minimum.parabola.best
    if minimum.status not in ("edge-low", "edge-high"):
        return Estimate(minimum.best_params)
    low = sizes[best - 1] if best > 0 and minimum.status == "edge-high" else 0.0
    high = sizes[best + 1] if best + 1 < len(sizes) and minimum.status == "edge-low" else math.inf
    return Estimate(minimum.best_params, low, high)


def _tokens(fit: IsoFlopFit, budget_flop: float, params: Estimate) -> Estimate:
    """Tokens that the budget buys at a size: the budget over the FLOP per token seen in the runs.

    FLOP per token is a function of the size; it is read off the runs on straight lines in logs.
    """
    size = np.concatenate([np.log(m.parabola.sizes) for m in fit.minima])
    rate = np.concatenate([np.log(m.budget_flop) - np.log(m.parabola.others) for m in fit.minima])
    if not np.isfinite(rate).all():
        return Estimate(math.nan)
    sizes, at = np.unique(size, return_inverse=True)
    rates = np.bincount(at, rate) / np.bincount(at)
    slope = (rates[-1] - rates[0]) / (sizes[-1] - sizes[0]) if len(sizes) > 1 else 1.0

    def tokens(value: float) -> float:
        if value == 0 or math.isinf(value):
            return math.inf if value == 0 else 0.0
        x = math.log(value)
        inside = float(np.interp(x, sizes, rates))
        beyond = x - min(max(x, sizes[0]), sizes[-1])
        return budget_flop / math.exp(inside + slope * beyond)

    return Estimate(
        tokens(params.value), tokens(params.high), tokens(params.low), params.extrapolated
    )


def _curvature(minima: tuple[Minimum, ...], budget_flop: float) -> float:
    """The curvature of the loss by ln(size), read between the budgets with bracketed minima."""
    known = [m for m in minima if m.status == "interior"]
    if not known:
        return math.nan
    # A parabola in the log of the loss is L times as curved in the loss itself.
    curvature = [m.curvature * (m.loss.value if m.parabola.log_loss else 1.0) for m in known]
    x = [math.log(m.budget_flop) for m in known]
    return float(np.exp(np.interp(math.log(budget_flop), x, np.log(curvature))))
