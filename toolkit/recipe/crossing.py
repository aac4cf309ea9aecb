"""Where one method overtakes another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from toolkit.kept import kept
from toolkit.laws import Estimate
from toolkit.laws.optimiser import Array
from toolkit.recipe.question import Question
from toolkit.recipe.study import Study

POINTS = 49
BELOW, ABOVE = 0.1, 100.0  # Budgets beside those tried that are searched, as ratios.
SURE = 0.95


@dataclass(frozen=True)
class Crossing:
    """Two methods' best losses, compared over budgets.

    Attributes:
        lower, upper: The method that is better below the crossing, and the one above it.
        budget_flop: Where; its interval is of the draws that cross so, 0 or infinite where some
            lie outside what was searched.
        share: Of the draws, how many cross so within the budgets searched.
        status: "crosses" (at least 95 % do), "undecided", or "never": one is better throughout.
    """

    lower: str
    upper: str
    budget_flop: Estimate
    share: float
    status: str


def searched(study: Study) -> tuple[float, ...]:
    """Budgets that are searched for an answer, ascending, in FLOP."""
    low, high = study.budgets[0] * BELOW, study.budgets[-1] * ABOVE
    return tuple(map(float, np.geomspace(low, high, POINTS)))


@kept(1)
def crossings(study: Study) -> tuple[Crossing, ...]:
    """Of every two methods; kept, since they are the same for every budget asked."""
    budgets = searched(study)
    asked = [Question(study, budget) for budget in budgets]
    losses = {m: np.stack([each.least(m) for each in asked], axis=1) for m in study.methods}
    return tuple(
        _crossing(a, b, np.array(budgets), losses[a], losses[b]) for a, b in combinations(losses, 2)
    )


def _crossing(a: str, b: str, budgets: Array, la: Array, lb: Array) -> Crossing:
    """The last change of sign of the predicted difference, and the same of every draw."""
    gap = np.log(la) - np.log(lb)
    middle = gap.mean(axis=0)
    lower, upper = (a, b) if middle[-1] > 0 else (b, a)
    sign = 1.0 if upper == b else -1.0
    # Seen so, the gap is negative where `lower` is better and positive where `upper` is.
    at = np.array([_last_rise(sign * row, budgets) for row in np.vstack((middle[None], gap))])
    draws = at[1:]
    inside = np.isfinite(draws) & (draws > 0)
    share = float(inside.mean())
    if not (math.isfinite(at[0]) and at[0] > 0):
        status = "never" if share < 1 - SURE else "undecided"
        return Crossing(lower, upper, Estimate(math.nan), share, status)
    low, high = np.quantile(draws, (0.025, 0.975), method="inverted_cdf")
    beyond = not budgets[0] / BELOW <= at[0] <= budgets[-1] / ABOVE
    status = "crosses" if share >= SURE else "undecided"
    return Crossing(
        lower, upper, Estimate(float(at[0]), float(low), float(high), beyond), share, status
    )


def _last_rise(gap: Array, budgets: Array) -> float:
    """Where a gap goes from below zero to above for good; 0 or infinite beyond the ends."""
    below = np.flatnonzero(gap <= 0)
    if below.size == 0:
        return 0.0
    k = int(below[-1])
    if k == len(gap) - 1:
        return math.inf
    part = -gap[k] / (gap[k + 1] - gap[k])
    return float(np.exp(np.log(budgets[k]) + part * np.log(budgets[k + 1] / budgets[k])))
