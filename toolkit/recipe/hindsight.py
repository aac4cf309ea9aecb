"""What a study would have said of its largest budget, had it ended earlier."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.recipe.recommendation import Choice, recommend_from
from toolkit.recipe.study import Study


@dataclass(frozen=True)
class Hindsight:
    """The recipe for the largest budget from the budgets up to a cut.

    Attributes:
        cut: The largest budget that was fitted.
        choice: Recommended, of what was run at the largest budget; `measured` is its loss there.
        best: Method, parameters and loss of the best of those runs.
        error: Root mean square of measured / predicted - 1 over all methods and decoders run there.
        held: Of so many 95 % intervals (`count`), how many hold the measured mean.
    """

    cut: float
    choice: Choice
    measured: float
    best: tuple[str, float, float]
    error: float
    held: int
    count: int

    @property
    def regret(self) -> float:
        """Nats above the best that was run."""
        return self.measured - self.best[2]


def hindsight(study: Study, *, draws: int = 500) -> tuple[Hindsight, ...]:
    """The study cut below its largest budget, at every budget in turn.

    Cuts that no law can be fitted to, or whose methods were not run at the largest budget, are
    left out.
    """
    top = study.budgets[-1]
    last = study.best[study.best["budget_flop"] == top]
    measured = last.groupby(["method", "params"])["loss"].mean()
    runs = pd.concat([study.runs, study.limited])
    found = []
    for cut in study.budgets[:-1]:
        try:
            below = Study.of(runs[runs["budget_flop"] <= cut], draws=draws)
        except ToolkitError:
            continue
        every = recommend_from(below, budget_flop=top).choices
        choices = [c for c in every if (c.method, c.params) in measured.index]
        if choices:
            found.append(_compared(cut, choices, measured))
    return tuple(found)


def _compared(cut: float, choices: list[Choice], measured: pd.Series) -> Hindsight:
    losses = [float(measured[c.method, c.params]) for c in choices]
    errors = [loss / c.loss.value - 1 for loss, c in zip(losses, choices, strict=True)]
    held = sum(c.loss.low <= loss <= c.loss.high for loss, c in zip(losses, choices, strict=True))
    method, params = measured.index[int(measured.to_numpy().argmin())]
    best = (str(method), float(params), float(measured.min()))
    error = math.sqrt(float(np.mean(np.square(errors))))
    return Hindsight(cut, choices[0], losses[0], best, error, held, len(choices))
