"""Rank correlation with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from toolkit.laws.estimate import Estimate

RESAMPLES = 2000


def spearman(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Estimate:
    """Spearman's rank correlation with its bootstrap interval; NaN where one side is constant.

    Args:
        first, second: Shape [n].
        groups: Which two things each of the n is a pair of, int64, shape [n, 2]: those are then
            resampled. None resamples the n.
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    random = np.random.default_rng(seed)
    size = len(x) if groups is None else int(groups.max()) + 1
    draws = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        times = np.bincount(random.integers(0, size, size), minlength=size)
        weights = times if groups is None else times[groups[:, 0]] * times[groups[:, 1]]
        rows = np.repeat(np.arange(len(x)), weights)
        draws[number] = _pearson(rankdata(x[rows]), rankdata(y[rows]))
    return Estimate.of(_pearson(rankdata(x), rankdata(y)), draws, size - 1)


def why_untold(sides: Mapping[str, Sequence[float] | np.ndarray]) -> str:
    """Why the two sides, by what their numbers are called, have no rank correlation; else empty."""
    for name, values in sides.items():
        if len(set(map(float, values))) == 1:
            return f"all {len(values):,} {name} are {float(values[0]):.4g}, which has no order"
    return ""


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")
