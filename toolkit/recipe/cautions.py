"""What must be known before an answer is trusted: where it leans on more than the runs tell."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from toolkit.recipe.comparable import same_budget
from toolkit.recipe.findings import Finding
from toolkit.recipe.question import NEAR_OPTIMAL, Data, Ideal, Question
from toolkit.recipe.study import Decoder, Study

FAR = 4.0  # Standard deviations off the law from which a cell is named.


def cautions(
    asked: Question, method: str, decoder: Decoder, data: Data, ideal: Ideal
) -> list[Finding]:
    """What must be known about this very recommendation."""
    study, budget, found = asked.study, asked.budget_flop, []
    low, high = study.budgets[0], study.budgets[-1]
    if budget > 1.001 * high:
        found.append(Finding.of("budget-above", factor=budget / high, budget_flop=high))
    if budget < 0.999 * low:
        found.append(Finding.of("budget-below", factor=low / budget, budget_flop=low))
    sizes = [float(p) for p in study.decoders[method].values()]
    least, most = min(sizes), max(sizes)
    if not least <= decoder.params <= most:
        found.append(Finding.of("size-beyond", method=method, low=least, high=most))
    if decoder.params in (least, most) and len(sizes) > 1:
        side = "smallest" if decoder.params == least else "largest"
        found.append(Finding.of("size-at-edge", side=side, decoder=decoder.name))
    if not ideal.params.is_told:
        found.append(Finding("ideal-open"))
    cells = study.surface.cells
    if data.epochs > 1.001:
        found.append(
            Finding.of("repeats", epochs=data.epochs, distinct=data.distinct, learnt=cells.repeats)
        )
    if len(study.budgets) < 3:
        found.append(Finding.of("few-budgets", count=len(study.budgets)))
    if len(cells.decoders) < 3:
        found.append(Finding.of("few-sizes", count=len(cells.decoders)))
    return found + _spoken_against(asked, method, decoder)


def _spoken_against(asked: Question, method: str, decoder: Decoder) -> list[Finding]:
    """What runs at this very budget say against the choice."""
    best, limits = asked.study.best, asked.limits
    tried = same_budget(pd.Series(asked.study.budgets), asked.budget_flop).any()
    if not tried or limits.max_pairs or limits.queries:
        return []
    there = best[same_budget(best["budget_flop"], asked.budget_flop)]
    there = there[there["params"] <= (limits.max_params or math.inf)]
    runs = there.groupby(["method", "params"])["loss"].mean().sort_values()
    chosen = runs.get((method, decoder.params))
    if chosen is None or runs.iloc[0] >= (1 - NEAR_OPTIMAL) * chosen:
        return []
    other, params = runs.index[0]
    losses = {"loss": float(runs.iloc[0]), "chosen_loss": float(chosen)}
    return [Finding.of("spoken-against", method=other, params=float(params), **losses)]


def outlying(study: Study) -> list[Finding]:
    """Cells that lie so far off the law that they were weighed down."""
    cells = study.surface.cells
    far = np.flatnonzero(np.abs(study.surface.outlying) > FAR)
    names = tuple(
        f"{cells.methods[cells.method[i]]} {cells.decoders[cells.decoder[i]]:,.0f} at "
        f"{np.exp(cells.log_flop[i]):.3g} FLOP ({np.exp(cells.log_loss[i]):.2f})"
        for i in far[:3]
    )
    return [Finding.of("outlying", count=len(far), cells=names)] if len(far) else []
