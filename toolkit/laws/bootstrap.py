"""Resampled fits: how far the parameters would move with other runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.objective import BLOCK, Problem
from toolkit.laws.optimiser import Array, Mask, Rows, minimise

SCHEMES = ("runs", "residuals")
PLENTY = 10  # Runs a parameter from which drawing whole runs is trusted.
LARGE = 20_000_000  # Runs times resamples beyond which resampling is replaced by its limit.
TOLERANCE = 1e-10  # Of a resample's objective: far below what resampling itself adds.


@dataclass(frozen=True)
class Resamples:
    """How resamples were made and how they fared.

    Attributes:
        scheme: "runs": whole runs drawn with replacement within each stratum. "residuals": inputs
            kept, residuals drawn with replacement from all, each divided by sqrt(1 - leverage)
            (Davison and Hinkley 1997, section 6.3). "sandwich": normal draws with the covariance
            that drawing runs tends to, for tables too large to resample (White 1982). "given":
            made by the caller.
        count: How many.
        failed: How many gave no finite fit or did not come to rest; they count in no interval.
        strata: How many groups the runs were drawn within.
        phi: (R, K) coordinates; NaN where failed.
    """

    scheme: str
    count: int
    failed: int
    strata: int
    phi: Array = field(repr=False, compare=False)


def bootstrap(
    problem: Problem,
    phi: Array,
    low: Array,
    high: Array,
    count: int,
    *,
    strata: Any = None,
    scheme: str | None = None,
    rivals: Array | None = None,
    rng: np.random.Generator,
) -> Resamples:
    """Fit `count` resamples of a problem, all together, from its optimum and its rivals.

    Args:
        problem: The fitted problem.
        phi: (K,) its optimum.
        low, high: (K,) the box.
        strata: (n,) labels; None for one stratum.
        scheme: See `Resamples`; None for runs given ten a parameter, else residuals.
        rivals: (r, K) further starts for every resample.
    """
    points, free = problem.z.shape[1], low < high
    groups: Rows = np.zeros(points, np.intp)
    if strata is not None:
        groups = np.unique(np.asarray(strata), return_inverse=True)[1]
    if scheme is None:
        scheme = "runs" if points >= PLENTY * free.sum() else "residuals"
    if scheme not in SCHEMES:
        raise ToolkitError(f"unknown bootstrap scheme {scheme!r}{nearest(scheme, SCHEMES)}")
    if count < 0:
        raise ToolkitError(f"the number of resamples must be zero or more, not {count}")
    found = int(groups.max()) + 1
    if points * count > LARGE:
        drawn = _sandwich(problem, phi, low, high, count, groups, rng)
        return Resamples("sandwich", count, int(np.isnan(drawn[:, 0]).sum()), found, drawn)
    drawn = np.full((count, len(phi)), np.nan)
    starts = phi[None] if rivals is None else np.vstack([phi, rivals])
    tall = max(1, 64 * BLOCK // points)
    for top in range(0, count, tall):
        size = min(tall, count - top)
        if scheme == "runs":
            batch = replace(problem, weight=problem.weight * _picks(groups, size, rng))
        else:
            batch = replace(problem, log_y=_redrawn(problem, phi, free, size, rng))
        drawn[top : top + size] = _solve(batch, starts, low, high, size)
    return Resamples(scheme, count, int(np.isnan(drawn[:, 0]).sum()), found, drawn)


def refit(
    problem: Problem, phi: Array, low: Array, high: Array, log_y: Array, rivals: Array
) -> Resamples:
    """The same from resamples (R, n) that were made elsewhere; NaN where one has no point.

    A resample with too few points to fix the law fails.
    """
    known = np.isfinite(log_y)
    batch = replace(problem, log_y=np.where(known, log_y, 0.0), weight=problem.weight * known)
    drawn = _solve(batch, np.vstack([phi[None], rivals]), low, high, len(log_y))
    drawn[known.sum(axis=1) < (low < high).sum()] = np.nan
    return Resamples("given", len(log_y), int(np.isnan(drawn[:, 0]).sum()), 1, drawn)


def _solve(batch: Problem, starts: Array, low: Array, high: Array, size: int) -> Array:
    """(size, K) the best end of each resample over the starts; NaN where none came to rest."""
    best, value = np.full((size, len(low)), np.nan), np.full(size, np.inf)
    for start in starts:
        end = minimise(batch, np.tile(start, (size, 1)), low, high, tolerance=TOLERANCE)
        better = end.converged & (end.value < value)
        best[better], value[better] = end.x[better], end.value[better]
    return best


def _picks(groups: Rows, size: int, rng: np.random.Generator) -> Array:
    """(size, n) how often each run is drawn, the total of each stratum kept."""
    picks = np.empty((size, len(groups)))
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        share = np.full(len(members), 1 / len(members))
        picks[:, members] = rng.multinomial(len(members), share, size)
    return picks


def _redrawn(
    problem: Problem, phi: Array, free: Mask, size: int, rng: np.random.Generator
) -> Array:
    """(size, n) log losses: the law's, plus residuals drawn anew."""
    rows = np.zeros(1, np.intp)
    slopes = jacobian(problem, phi)[:, free]
    spread = 1 / np.sqrt(problem.weight)
    orthogonal = np.linalg.qr(slopes / spread[:, None])[0]
    leverage = np.minimum((orthogonal**2).sum(axis=1), 1.0)
    residual = problem.residuals(phi[None], rows)[0] / spread
    known = leverage < 1 - 1e-9
    pool = residual[known] / np.sqrt(1 - leverage[known])
    if problem.objective.huber:
        # Such a law passes through as many runs as it has parameters: their residuals of nothing
        # are the fit's doing, not the noise's.
        pool = pool[np.argsort(np.abs(pool))[int(free.sum()) :]]
    # A residual is predicted less seen; noise is what was seen less what was predicted.
    noise = rng.choice(problem.objective.centre(pool) - pool, (size, len(spread))) * spread
    log_value = problem.form.evaluate(phi[None], problem.z, problem.centre)[0]
    if problem.objective.on_log:
        return log_value + noise
    # A resampled loss that falls to zero has no logarithm; a millionth stands in.
    return np.log(np.maximum(np.exp(log_value) + noise, 1e-6))


def jacobian(problem: Problem, phi: Array, part: slice = slice(None)) -> Array:
    """(n, K) derivatives of the residuals by the coordinates."""
    log_value, slopes = problem.form.evaluate(phi[None], problem.z[:, part], problem.centre)
    columns = np.stack([np.broadcast_to(s, log_value.shape)[0] for s in slopes], axis=1)
    return columns if problem.objective.on_log else columns * np.exp(log_value[0])[:, None]


def _sandwich(
    problem: Problem,
    phi: Array,
    low: Array,
    high: Array,
    count: int,
    groups: Rows,
    rng: np.random.Generator,
) -> Array:
    """(count, K) draws from N(phi, H^-1 S H^-1): H the Hessian, S the scores' covariance."""
    inside = (low < high) & (phi > low) & (phi < high)
    size, points = int(inside.sum()), problem.z.shape[1]
    one = np.zeros(1, np.intp)
    hessian = np.empty((size, size))
    for i, k in enumerate(np.flatnonzero(inside)):
        step = np.zeros_like(phi)
        step[k] = 1e-4 * max(1.0, abs(phi[k]))
        ahead, behind = (problem((phi + s)[None], one)[1][0] for s in (step, -step))
        hessian[i] = (ahead - behind)[inside] / (2 * step[k])
    total, outer = np.zeros((groups.max() + 1, size)), np.zeros((size, size))
    for left in range(0, points, BLOCK):
        part = slice(left, left + BLOCK)
        _, pull = problem.objective.rho(problem.residuals(phi[None], one, part)[0])
        scores = jacobian(problem, phi, part)[:, inside] * (pull * problem.weight[part])[:, None]
        outer += scores.T @ scores
        np.add.at(total, groups[part], scores)
    members = np.bincount(groups)
    scale = problem.objective.scale
    spread = scale**2 * (outer - total.T @ (total / members[:, None]))
    drawn = np.full((count, len(phi)), np.nan)
    try:
        bread = np.linalg.inv((hessian + hessian.T) / 2)
        values, vectors = np.linalg.eigh(bread @ spread @ bread)
    except np.linalg.LinAlgError:
        return drawn
    drawn[:] = phi
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn[:, inside] += rng.standard_normal((count, size)) @ root.T
    return np.clip(drawn, low, high)
