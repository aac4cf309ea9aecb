"""The cheapest budget at which the recipe, with its limits, reaches a loss."""

from __future__ import annotations

import math

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.kept import kept
from toolkit.laws import Estimate
from toolkit.laws.optimiser import Array
from toolkit.recipe.crossing import searched
from toolkit.recipe.limits import UNLIMITED, Limits, Unaffordable
from toolkit.recipe.question import Question
from toolkit.recipe.study import Study
from toolkit.text import scientific

CLOSE = 1.001  # Ratio of budgets between which nobody need choose.


def cheapest(study: Study, loss: float, limits: Limits = UNLIMITED) -> Estimate:
    """The least budget whose best choice within the limits reaches a loss; its interval over draws.

    Put back as a budget with the same limits, it gives that loss. An interval's low end is 0 where
    the least budget searched may do.

    Raises:
        ToolkitError: The loss is no positive number, or no budget searched reaches it; the sentence
            says which limit binds.
    """
    if not (loss > 0 and math.isfinite(loss)):
        raise ToolkitError(f"a loss to reach must be a positive number, not {loss}")
    value, asked = _least(study, loss, limits)
    if not math.isfinite(value):
        raise ToolkitError(_unreachable(study, loss, limits, min(map(_predicted, asked.values()))))
    budgets = np.array(sorted(asked))
    draws = np.stack(np.broadcast_arrays(*(asked[budget] for budget in budgets)), axis=1)
    falls = np.array([_first_fall(row, loss, budgets) for row in draws])
    low, high = np.quantile(falls, (0.025, 0.975), method="inverted_cdf")
    return Estimate(value, float(low), float(high), value > study.budgets[-1])


def _least(study: Study, loss: float, limits: Limits) -> tuple[float, dict[float, Array]]:
    """The budget, infinite if none does, and the draws at all budgets that were asked."""
    asked = {budget: _best(study, budget, limits) for budget in searched(study)}
    budgets = list(asked)
    reach = [k for k, draws in enumerate(asked.values()) if _predicted(draws) <= loss]
    if not reach:
        return math.inf, asked
    high = budgets[reach[0]]
    low = budgets[max(reach[0] - 1, 0)]
    while high > CLOSE * low:
        middle = math.sqrt(low * high)
        asked[middle] = _best(study, middle, limits)
        low, high = (low, middle) if _predicted(asked[middle]) <= loss else (middle, high)
    return high, asked


@kept(1024)
def _best(study: Study, budget_flop: float, limits: Limits) -> Array:
    """(R,) draws of the recipe's choice; one infinite loss where the texts to embed take it all."""
    try:
        return Question(study, budget_flop, limits).least()
    except Unaffordable:
        return np.array([math.inf])


def _predicted(draws: Array) -> float:
    return float(np.exp(np.log(draws).mean()))


def _first_fall(losses: Array, wanted: float, budgets: Array) -> float:
    """The budget at which a curve first goes below a loss; infinite if it never does."""
    under = np.flatnonzero(losses <= wanted)
    if under.size == 0:
        return math.inf
    k = int(under[0])
    if k == 0:
        return 0.0
    if math.isinf(losses[k - 1]):
        return float(budgets[k])
    part = math.log(losses[k - 1] / wanted) / math.log(losses[k - 1] / losses[k])
    return float(np.exp(np.log(budgets[k - 1]) + part * np.log(budgets[k] / budgets[k - 1])))


def _unreachable(study: Study, loss: float, limits: Limits, lowest: float) -> str:
    """Why no budget does, and which limit must go for one to do."""
    most = scientific(searched(study)[-1])
    kept = f" with {limits.in_words(limits.set)}" if limits.set else ""
    least = (
        f"the lowest that the law predicts there is {lowest:.3g}"
        if math.isfinite(lowest)
        else "none of them pays for the texts to embed"
    )
    said = f"no budget up to {most} FLOP is predicted to reach a loss of {loss:g}{kept}; {least}"
    for names in (*((name,) for name in limits.set), limits.set):
        freed = _least(study, loss, limits.without(*names))[0]
        if names and math.isfinite(freed):
            return f"{said}; without {' and '.join(names)} {scientific(freed, 3)} FLOP would do"
    return said
