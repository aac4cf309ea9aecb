"""Held-out judgement: fit on the budgets below a cut, predict the optimal loss above it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.diagnosis import needed
from toolkit.laws.fitting import Fit, fit
from toolkit.laws.forms import form
from toolkit.laws.forms.bounded import CEILING
from toolkit.laws.isoflop import IsoFlopFit, fit_isoflop
from toolkit.laws.optimiser import Array, Mask
from toolkit.laws.table import check

KNOWN = ("power", "saturating", "parametric", "bounded")


@dataclass(frozen=True)
class Prediction:
    """What one form, fitted below a cut, said of the budgets above it.

    Attributes:
        form: Its name.
        cut: The largest budget that was fitted, in FLOP.
        budgets, seen, predicted: (m,) of the budgets above.
        errors: (m,) predicted / seen - 1.
        reason: Why there is no prediction; empty where there is.
    """

    form: str
    cut: float
    budgets: tuple[float, ...]
    seen: tuple[float, ...]
    predicted: tuple[float, ...]
    errors: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class Rollout:
    """Every form's predictions at every cut, and which form predicted best.

    Attributes:
        predictions: By cut, then by form.
        errors: Root mean square relative error by form, over the cuts at which all ranked forms
            predict.
        best: The form with the least; empty where none can be ranked.
        statement: In a sentence.
    """

    predictions: tuple[Prediction, ...]
    errors: dict[str, float]
    best: str
    statement: str


def roll(
    table: pd.DataFrame,
    *,
    cuts: Sequence[float] | None = None,
    forms: Sequence[str] | None = None,
    params: str = "params",
    tokens: str = "tokens",
    budget: str = "budget_flop",
    loss: str = "loss",
    candidates: float | None = None,
    starts: int = 50,
) -> Rollout:
    """Fit each form to the budgets up to a cut and predict the optimal loss of those above.

    The optimal loss of a budget is that of its own parabola's minimum, or of the best size tried
    where there is none: no budget's value uses another's runs. Power and saturating laws are
    fitted to the optimal losses below the cut; parametric and bounded laws to all runs below the
    cut, and asked for the loss at the size and data of the optimum.

    Args:
        table: One row a run.
        cuts: In FLOP; by default every one that leaves a budget above: the rolling origin.
        forms: By default all four, bounded only where `candidates` are given.
        params, tokens, budget, loss: Column names.
        candidates: Over how many the loss was taken.
        starts: Of every fit.

    Raises:
        ToolkitError: The table is wrong, has fewer than two budgets, or a cut leaves none on one
            side.
    """
    names = {"params": params, "tokens": tokens, "budget": budget, "loss": loss}
    optima = Optima.of(table, names, candidates)
    forms = forms or [name for name in KNOWN if name != "bounded" or optima.chance > 0]
    predictions = tuple(
        judge(optima, float(cut), name, starts)[0]
        for cut in (optima.budgets[:-1] if cuts is None else cuts)
        for name in forms
    )
    errors, judged = _errors(predictions)
    best = min(errors, key=lambda name: errors[name]) if errors else ""
    if not errors:
        statement = "too few budgets to judge any form by held-out ones"
    else:
        listed = ", ".join(f"{n} {e:.2%}" for n, e in sorted(errors.items(), key=lambda i: i[1]))
        plural = "cuts" if judged > 1 else "cut"
        statement = (
            f"predicting held-out budgets over {judged} {plural}, {best} was best "
            f"(root mean square relative error: {listed})"
        )
    return Rollout(predictions, errors, best, statement)


def _errors(predictions: Sequence[Prediction]) -> tuple[dict[str, float], int]:
    """Root mean square errors of the forms that predict at all, over the cuts at which all of
    these do; and how many such cuts there are."""
    told = [p for p in predictions if not p.reason]
    able = dict.fromkeys(p.form for p in told)
    cuts = [
        cut
        for cut in dict.fromkeys(p.cut for p in told)
        if {p.form for p in told if p.cut == cut} == set(able)
    ]
    errors = {}
    for name in able if cuts else ():
        own = [p.errors for p in told if p.form == name and p.cut in cuts]
        errors[name] = math.sqrt(float(np.mean(np.concatenate(own) ** 2)))
    return errors, len(cuts)


@dataclass(frozen=True)
class Optima:
    """Runs, the optimum of each budget by its own parabola, and chance where it is known."""

    fitted: IsoFlopFit
    runs: dict[str, Array]
    budgets: Array
    loss: Array
    params: Array
    tokens: Array
    chance: float

    @classmethod
    def of(cls, table: pd.DataFrame, names: dict[str, str], candidates: float | None) -> Optima:
        fitted = fit_isoflop(table, x=names["params"], **names, resamples=0, log_loss=False, seed=0)
        if len(fitted.minima) < 2:
            raise ToolkitError(
                "predicting held-out budgets needs at least two budgets; the table has one"
            )
        roles = {n: c for n, c in names.items() if n != "tokens" or c in table.columns}
        params, tokens, losses = np.array([m.optimum for m in fitted.minima]).T
        return cls(
            fitted,
            check(table, roles).columns,
            np.array([m.budget_flop for m in fitted.minima]),
            losses,
            params,
            tokens,
            math.log(candidates) if candidates else math.nan,
        )

    def below(self, cut: float) -> Mask:
        """(m,) which budgets are no larger than the cut."""
        return self.budgets <= cut * (1 + 1e-9)


def judge(optima: Optima, cut: float, name: str, starts: int) -> tuple[Prediction, Fit | None]:
    """What a form, fitted up to the cut, says of the budgets above; and its law, if it has one."""
    below = optima.below(cut)
    if not below.any() or below.all():
        raise ToolkitError(
            f"a cut at {cut:g} FLOP leaves no budget on one side; the budgets go from "
            f"{optima.budgets[0]:g} to {optima.budgets[-1]:g}"
        )
    try:
        law = _fit_below(optima, below, name, starts)
    except ToolkitError as error:
        if name not in KNOWN:
            raise
        return Prediction(name, cut, (), (), (), (), str(error)), None
    seen, predicted = optima.loss[~below], optimal_losses(law, optima, ~below)
    columns = (optima.budgets[~below], seen, predicted, predicted / seen - 1)
    b, s, p, e = (tuple(map(float, column)) for column in columns)
    return Prediction(name, cut, b, s, p, e, ""), law


def optimal_losses(law: Fit, optima: Optima, some: Mask) -> Array:
    """(m,) a law's losses at the optimum of some budgets."""
    inputs = (optima.budgets,) if len(law.form.roles) == 1 else (optima.params, optima.tokens)
    return law.form.value(law.theta, np.stack(inputs)[:, some])


def _enough(name: str, runs: int) -> None:
    """A law that has next to no runs to spare is not judged by what it predicts."""
    wanted = needed(len(form(name).parameters))
    if runs < wanted:
        raise ToolkitError(f"{name} needs at least {wanted} runs to be judged; there are {runs}")


def _fit_below(optima: Optima, below: Mask, name: str, starts: int) -> Fit:
    if name in ("power", "saturating"):
        _enough(name, int(below.sum()))
        return fit(name, optima.budgets[below], optima.loss[below], starts=starts)
    if name not in KNOWN:
        raise ToolkitError(f"no held-out prediction with form {name!r}{nearest(name, KNOWN)}")
    runs, pinned = optima.runs, {}
    if "tokens" not in runs:
        raise ToolkitError("the table has no tokens")
    some = runs["budget"] <= optima.budgets[below].max() * (1 + 1e-9)
    if name == "bounded":
        if math.isnan(optima.chance):
            raise ToolkitError("bounded needs to know over how many candidates the loss was taken")
        some, pinned = some & (runs["loss"] < optima.chance), {CEILING: optima.chance}
    _enough(name, int(some.sum()))
    return fit(
        name, np.stack([runs["params"][some], runs["tokens"][some]]), runs["loss"][some],
        pinned=pinned, starts=starts,
    )  # fmt: skip
