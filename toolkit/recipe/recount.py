"""What the same runs say when their FLOP are counted in another convention.

Runs are made on budgets of one convention. Each has its FLOP in all three (`toolkit.flops`), and a
decoder tuned by one method on several budgets, with the best settings at each, is a curve of loss
against FLOP in any of them: read off at common budgets, the curves make a run table of that
convention, without a new run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.recipe.comparable import SETTINGS
from toolkit.recipe.study import Study

# What makes two runs points of one curve; settings are the best ones at each budget.
_CURVE = ("method", "params", "seed")
_READ_OFF = ("loss", "tokens", "pairs", "steps")


def recount(study: Study, convention: str) -> pd.DataFrame:
    """The runs of a study as if their budgets were counted in `convention`.

    The new budgets lie half-way (in their logs) between those that were run, times the median ratio
    of the two counts, so that curves are read off within the budgets that were run; a curve that
    does not reach a budget is left out there. Loss, tokens, pairs and steps are interpolated in the
    logs of both.

    Args:
        study: Its runs need the columns `flop_paper`, `flop_model` and `flop_hardware`.
        convention: paper, model or hardware. The study's own gives the same treatment to the same
            count: compare with that, not with the runs themselves.

    Returns:
        A run table with a row for each curve and new budget.

    Raises:
        ToolkitError: The runs do not have that count, or no curve spans two budgets.
    """
    column = f"flop_{convention}"
    if column not in study.best.columns:
        raise ToolkitError(f"the table has no column {column!r}, so its FLOP cannot be recounted")
    runs = study.best
    budgets = np.array(study.budgets)
    ratio = float(np.median(runs[column] / runs["budget_flop"]))
    wanted = ratio * np.sqrt(budgets[1:] * budgets[:-1])
    curve = [name for name in _CURVE if name in runs.columns]
    rows = [
        {**some.iloc[0].to_dict(), **point, "flop_convention": convention}
        for _, some in runs.groupby(curve, dropna=False)
        for point in _points(some.sort_values(column), column, wanted)
    ]
    if not rows:
        raise ToolkitError(
            "no decoder was tuned with the same seed at two budgets: nothing to interpolate"
        )
    # A point between two runs has the settings of neither.
    return pd.DataFrame(rows).drop(columns=["run", *SETTINGS], errors="ignore")


def _points(curve: pd.DataFrame, column: str, wanted: np.ndarray) -> list[dict[str, float]]:
    """One curve at those of the wanted budgets that it spans."""
    flop = curve[column].to_numpy(float)
    inside = wanted[(wanted >= flop[0]) & (wanted <= flop[-1])]
    read = [name for name in _READ_OFF if name in curve.columns]
    values = {
        name: np.exp(np.interp(np.log(inside), np.log(flop), np.log(curve[name].to_numpy(float))))
        for name in read
    }
    return [
        {"budget_flop": float(budget), **{name: float(values[name][i]) for name in read}}
        for i, budget in enumerate(inside)
    ]
