"""One law under examination: fitted to some of the runs, judged by the budgets it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws import chance
from toolkit.laws.fitting import Fit
from toolkit.laws.heldout import Optima, Prediction, judge, optimal_losses
from toolkit.laws.optimiser import Array, Mask
from toolkit.laws.parabola import Parabola

COLUMNS = {name: name for name in ("params", "tokens", "loss")} | {"budget": "budget_flop"}
GRID, STARTS = 60, 50


@dataclass(frozen=True)
class Examination:
    """What a law makes of the runs kept.

    Attributes:
        curves: By budget, sizes and fitted losses: the law's own if it is one of all runs, else
            the budget's parabola; a budget above the cut has such a law's prediction.
        residuals: (n,) seen over fitted loss less 1, of every run; NaN for those left out.
        optima: Budgets and their optimal losses as the kept runs tell them.
        line: Budgets and the law's optimal loss; empty if there is no law.
        prediction: Of the budgets above the cut, by a power or saturating law (of the optimal
            losses, each from its budget's parabola), or a parametric or bounded one (of all runs);
            or its reason for there being no law.
        n_points: Runs kept; `parameters`: of the law, by name.
    """

    curves: dict[float, tuple[Array, Array]]
    residuals: Array
    optima: tuple[Array, Array]
    line: tuple[Array, Array]
    prediction: Prediction
    n_points: int
    parameters: dict[str, float]

    @property
    def held_out_error(self) -> float:
        """Root mean square relative error over the budgets above the cut; NaN without a law."""
        errors = np.array(self.prediction.errors)
        return float(np.sqrt(np.mean(errors**2))) if errors.size else math.nan


def examine(rows: pd.DataFrame, form: str, *, held_out: int, keep: Mask) -> Examination:
    """Fit `form` to the kept rows of one method, all budgets but the largest `held_out`.

    Args:
        rows: (n) runs with `params`, `budget_flop`, `loss` and, for forms of all runs, `tokens`;
            the bounded one needs `candidates` as well.
        keep: (n,) which of them to use.

    Raises:
        ToolkitError: The runs kept leave no budget to fit or none to judge by.
    """
    kept = rows[keep]
    budgets = np.unique(kept["budget_flop"])
    if len(budgets) <= held_out:
        raise ToolkitError(
            f"{len(budgets)} budgets are left and {held_out} are held out: keep more runs or "
            "hold out fewer budgets"
        )
    cut = float(budgets[-1 - held_out])
    optima = Optima.of(kept, COLUMNS, chance.number(kept))
    prediction, law = judge(optima, cut, form, STARTS)
    curves = {m.budget_flop: _parabola(m.parabola) for m in optima.fitted.minima}
    line = (np.empty(0), np.empty(0))
    if law is not None and len(law.form.roles) == 1:
        grid = np.geomspace(budgets[0], budgets[-1], GRID)
        line = (grid, law.form.value(law.theta, grid[None]))
    elif law is not None:
        curves = {float(b): _curve(law, kept[kept["budget_flop"] == b]) for b in budgets}
        line = (optima.budgets, optimal_losses(law, optima, optima.below(math.inf)))
    parameters = {} if law is None else {name: e.value for name, e in law.params.items()}
    residuals = np.full(len(rows), np.nan)
    for budget, (sizes, losses) in curves.items():
        here = keep & (rows["budget_flop"] == budget).to_numpy()
        if sizes.size:
            at = np.log(rows["params"].to_numpy()[here])
            fitted = np.interp(at, np.log(sizes), losses)
            residuals[here] = rows["loss"].to_numpy()[here] / fitted - 1
    seen = (optima.budgets, optima.loss)
    return Examination(curves, residuals, seen, line, prediction, len(kept), parameters)


def _parabola(parabola: Parabola) -> tuple[Array, Array]:
    if not parabola.curved:
        return np.empty(0), np.empty(0)
    sizes = np.geomspace(parabola.sizes[0], parabola.sizes[-1], GRID)
    return sizes, parabola.curve(sizes)


def _curve(law: Fit, rows: pd.DataFrame) -> tuple[Array, Array]:
    """A parametric law along one budget: the data at each size is what the runs there had."""
    mean = np.log(rows.groupby("params")["tokens"].mean())
    log_sizes = np.log(mean.index.to_numpy(float))
    sizes = np.linspace(log_sizes[0], log_sizes[-1], GRID if len(mean) > 1 else 1)
    tokens = np.interp(sizes, log_sizes, mean.to_numpy())
    points = np.exp(np.stack([sizes, tokens]))
    return points[0], law.form.value(law.theta, points)
