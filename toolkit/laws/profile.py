"""Profiles of the objective over one parameter: a second opinion on its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import fdtri

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.bootstrap import jacobian
from toolkit.laws.estimate import LEVEL, Estimate
from toolkit.laws.fitting import Fit
from toolkit.laws.objective import Problem
from toolkit.laws.optimiser import Array, minimise

STEPS = 41
WIDENINGS = 8  # The grid is doubled at most so often.


@dataclass(frozen=True)
class Profile:
    """The least objective that each value of one parameter allows.

    Attributes:
        name: The parameter.
        values: (m,) ascending, as published.
        objectives: (m,) with all other parameters fitted anew.
        threshold: The objective at the interval's ends; NaN where it is no likelihood.
        estimate: The parameter with the interval read off the profile; a side that the grid never
            closes is infinite, or the parameter's bound.
    """

    name: str
    values: Array = field(repr=False)
    objectives: Array = field(repr=False)
    threshold: float
    estimate: Estimate


def profile(fit: Fit, name: str, *, level: float = LEVEL) -> Profile:
    """Profile one parameter, all values of it solved together.

    For least squares the interval holds the values whose objective is at most
    S (1 + F(level; 1, n - K) / (n - K)): the profile t interval of Bates and Watts 1988,
    "Nonlinear Regression Analysis and Its Applications", section 6.1.

    Raises:
        ToolkitError: There is no such free parameter.
    """
    law, problem = fit.form, fit.problem
    if name not in law.names or fit.low[law.names.index(name)] == fit.high[law.names.index(name)]:
        free = [n for n, a, b in zip(law.names, fit.low, fit.high, strict=True) if a < b]
        raise ToolkitError(f"no free parameter {name!r} to profile{nearest(name, free)}")
    k = law.names.index(name)
    # Uncentred, a coordinate is the published parameter (or its logarithm) and nothing else.
    zero = np.zeros_like(problem.centre)
    bare = replace(problem, z=problem.z + problem.centre[:, None], centre=zero)
    theta = law.natural(fit.phi[None], problem.centre)
    best = law.coordinates(theta, zero)[0]
    low, high = _uncentred_box(fit, best)
    least = float(bare(best[None], np.zeros(1, np.intp))[0][0])
    scale = fit.objective / least if least > 0 else 1.0
    threshold = math.nan
    if fit.kind.squares:
        threshold = least * (1 + float(fdtri(1, fit.freedom, level)) / fit.freedom)

    width = 3 * _deviation(fit, bare, best, k)
    for _ in range(WIDENINGS):
        ends = np.clip([best[k] - width, best[k] + width], low[k], high[k])
        grid = np.unique(np.append(np.linspace(ends[0], ends[1], STEPS), best[k]))
        start = np.tile(best, (len(grid), 1))
        start[:, k] = grid
        lows, highs = (np.tile(b, (len(grid), 1)) for b in (low, high))
        lows[:, k] = highs[:, k] = grid
        found = minimise(lambda phi, rows: bare(phi, np.zeros_like(rows)), start, lows, highs)
        open_low = found.value[0] < threshold and grid[0] > low[k]
        open_high = found.value[-1] < threshold and grid[-1] < high[k]
        if not (open_low or open_high):
            break
        width *= 2
    ends_at = _crossings(grid, found.value, threshold)
    values = _published(fit, k, grid)
    interval = (math.nan, math.nan)
    if not math.isnan(threshold):
        interval = (
            -math.inf if open_low else float(_published(fit, k, ends_at[:1])[0]),
            math.inf if open_high else float(_published(fit, k, ends_at[1:])[0]),
        )
    estimate = Estimate(float(_published(fit, k, best[k : k + 1])[0]), *interval)
    return Profile(name, values, found.value * scale, threshold * scale, estimate)


def _uncentred_box(fit: Fit, best: Array) -> tuple[Array, Array]:
    """The box of the uncentred coordinates: amplitudes anywhere, the pinned where they are."""
    shifted, free = [bool(p.shifts) for p in fit.form.parameters], fit.low < fit.high
    low, high = np.where(shifted, -700.0, fit.low), np.where(shifted, 700.0, fit.high)
    return np.where(free, low, best), np.where(free, high, best)


def _published(fit: Fit, k: int, coordinate: Array) -> Array:
    parameter = fit.form.parameters[k]
    unit = fit.unit if parameter.unit else 0.0
    return np.exp(coordinate + unit) if parameter.log else coordinate * math.exp(unit)


def _deviation(fit: Fit, bare: Problem, best: Array, k: int) -> float:
    """A first guess of the coordinate's standard deviation, from the linearised fit."""
    free = fit.low < fit.high
    slopes = jacobian(bare, best)[:, free] * np.sqrt(fit.problem.weight)[:, None]
    residual = fit.problem.residuals(fit.phi[None], np.zeros(1, np.intp))[0]
    variance = float((fit.problem.weight * residual**2).sum()) / max(fit.freedom, 1)
    inverse = np.linalg.pinv(slopes.T @ slopes)
    at = int(np.flatnonzero(free).tolist().index(k))
    return max(math.sqrt(variance * max(inverse[at, at], 0.0)), 1e-6 * max(1.0, abs(best[k])))


def _crossings(grid: Array, value: Array, threshold: float) -> Array:
    """Outermost points of the grid's interval below the threshold, interpolated."""
    below = np.flatnonzero(value <= threshold)
    if not below.size:
        return np.array([math.nan, math.nan])
    value = np.minimum(value, 1e300)  # Where a law has no value at all, the end is sharp.
    first, last = below[0], below[-1]
    ends = [grid[first], grid[last]]
    if first > 0:
        share = (value[first - 1] - threshold) / (value[first - 1] - value[first])
        ends[0] = grid[first - 1] + share * (grid[first] - grid[first - 1])
    if last < len(grid) - 1:
        share = (threshold - value[last]) / (value[last + 1] - value[last])
        ends[1] = grid[last] + share * (grid[last + 1] - grid[last])
    return np.array(ends)
