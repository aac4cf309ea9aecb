"""One law under examination: fitted to some of the runs, judged by the budgets it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws import Fit, IsoFlopFit, Prediction, fit, fit_isoflop, predict_above
from toolkit.laws.forms.bounded import CEILING
from toolkit.laws.optimiser import Array
from toolkit.text import scientific

FORMS = {
    "bounded: E + (ln K − E) x/(1 + x)": "bounded",
    "parametric: E + A N⁻ᵃ + B D⁻ᵇ": "parametric",
    "saturating: E + A C⁻ᵃ": "saturating",
    "power: A C⁻ᵃ": "power",
}
GRID = 60
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Examination:
    """What a law makes of the runs kept.

    Attributes:
        form: power or saturating (of the optimal losses, each from its budget's parabola), or
            parametric or bounded (of all runs).
        cut: The largest budget that the law was fitted to, in FLOP.
        curves: By budget, sizes and fitted losses: the law's own if it is one of all runs, else
            the budget's parabola; a budget above the cut has such a law's prediction.
        residuals: (n,) seen over fitted loss less 1, of every run; NaN for those left out.
        optima: Budgets and their optimal losses as the kept runs tell them.
        line: Budgets and the law's optimal loss; empty if there is no law.
        prediction: Of the budgets above the cut.
        n_points: Runs kept; `parameters`: of the law, by name.
        reason: Why there is no law; empty where there is.
    """

    form: str
    cut: float
    curves: dict[float, tuple[Array, Array]]
    residuals: Array
    optima: tuple[Array, Array]
    line: tuple[Array, Array]
    prediction: Prediction
    n_points: int
    parameters: dict[str, float]
    reason: str

    @property
    def held_out_error(self) -> float:
        """Root mean square relative error over the budgets above the cut; NaN without a law."""
        errors = np.array(self.prediction.errors)
        return float(np.sqrt(np.mean(errors**2))) if errors.size else math.nan

    def in_words(self) -> str:
        """What the picture shows, in sentences."""
        start = f"{self.n_points} runs kept, budgets up to {scientific(self.cut)} FLOP fitted. "
        if self.reason:
            return f"{start}No {self.form} law: {self.reason}."
        values = ", ".join(f"{name} = {value:.3g}" for name, value in self.parameters.items())
        known = self.residuals[np.isfinite(self.residuals)]
        spread = float(np.sqrt(np.mean(known**2))) if known.size else math.nan
        said = [
            f"{scientific(budget)}: {predicted:.3f} predicted, {seen:.3f} seen ({error:+.1%})"
            for budget, seen, predicted, error in zip(
                self.prediction.budgets,
                self.prediction.seen,
                self.prediction.predicted,
                self.prediction.errors,
                strict=True,
            )
        ]
        return (
            f"{start}{self.form}: {values}. Residuals of the runs {spread:.2%}; held-out error "
            f"{self.held_out_error:.2%} ({'; '.join(said)})."
        )


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
    candidates = _candidates(kept)
    (prediction,) = predict_above(kept, cut, forms=[form], candidates=candidates)
    minima = fit_isoflop(kept, resamples=0)
    optima = _optima(minima)
    parameters: dict[str, float] = {}
    reason = prediction.reason
    curves = {m.budget_flop: _parabola(minima, i) for i, m in enumerate(minima.minima)}
    line = (np.empty(0), np.empty(0))
    below = optima[0] <= cut * (1 + 1e-9)
    if not reason and form in ("bounded", "parametric"):
        some = kept[kept["budget_flop"] <= cut * (1 + 1e-9)]
        chance = math.log(candidates) if candidates else math.inf
        pinned = {CEILING: chance} if form == "bounded" else {}
        some = some[some["loss"] < chance] if pinned else some
        x, losses = some[["params", "tokens"]].to_numpy().T, some["loss"].to_numpy()
        law = fit(form, x, losses, pinned=pinned, starts=50)
        parameters = {name: estimate.value for name, estimate in law.params.items()}
        curves = {float(b): _curve(law, kept[kept["budget_flop"] == b]) for b in budgets}
        places = [
            (m.params.value, m.tokens.value)
            if m.status == "interior"
            else (m.best_params, m.best_tokens)
            for m in minima.minima
        ]
        line = (optima[0], law.form.value(law.theta, np.array(places).T))
    elif not reason:
        law = fit(form, optima[0][below], optima[1][below], starts=50)
        parameters = {name: estimate.value for name, estimate in law.params.items()}
        grid = np.geomspace(budgets[0], budgets[-1], GRID)
        line = (grid, law.form.value(law.theta, grid[None]))
    residuals = np.full(len(rows), np.nan)
    for budget, (sizes, losses) in curves.items():
        here = keep & (rows["budget_flop"] == budget).to_numpy()
        if sizes.size:
            at = np.log(rows["params"].to_numpy()[here])
            fitted = np.interp(at, np.log(sizes), losses)
            residuals[here] = rows["loss"].to_numpy()[here] / fitted - 1
    return Examination(
        form, cut, curves, residuals, optima, line, prediction, len(kept), parameters, reason
    )


def _candidates(rows: pd.DataFrame) -> float | None:
    """Over how many the losses were taken, where the table tells one number."""
    known = set(rows["candidates"].dropna()) if "candidates" in rows.columns else set()
    return float(known.pop()) if len(known) == 1 else None


def _optima(fitted: IsoFlopFit) -> tuple[Array, Array]:
    losses = [m.loss.value if m.status == "interior" else m.best_loss for m in fitted.minima]
    return np.array([m.budget_flop for m in fitted.minima]), np.array(losses)


def _parabola(fitted: IsoFlopFit, index: int) -> tuple[Array, Array]:
    parabola = fitted.minima[index].parabola
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
