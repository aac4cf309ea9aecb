"""Many small minimisations at once: projected BFGS over a batch of independent problems.

A law has a handful of parameters, but an honest fit solves it from hundreds of starts and its
bootstrap solves thousands of resamples. Solved one by one in Python that is slow, so all of them
take their steps together, one row of an array each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Function = Callable[[Array, Rows], tuple[Array, Array]]

ARMIJO, WOLFE = 1e-4, 0.9
BISECTIONS = 40


@dataclass(frozen=True)
class Minima:
    """Where `minimise` came to rest, one row a problem.

    Attributes:
        x: (B, K) final points.
        value: (B,) objective there; infinite where the start itself had no finite value.
        gradient: (B, K).
        converged: (B,) whether a further step promised less than the tolerance.
    """

    x: Array
    value: Array
    gradient: Array
    converged: Mask


def minimise(
    function: Function,
    start: Array,
    low: Array,
    high: Array,
    *,
    tolerance: float = 1e-13,
    iterations: int = 400,
) -> Minima:
    """Minimise B problems of K variables in a box, each by its own BFGS iteration.

    The line search is the bisection for the weak Wolfe conditions, which BFGS needs on functions
    that are only once differentiable, such as sums of Huber losses (Lewis and Overton 2013,
    "Nonsmooth optimization via quasi-Newton methods", Math. Program. 141). Every stopping rule
    compares the objective with itself, so that its scale does not matter.

    Args:
        function: `function(x, rows)` gives values (b,) and gradients (b, K) of the problems
            numbered `rows` (b,) at the points x (b, K).
        start: (B, K); moved into the box first.
        low, high: (K,) or (B, K). A variable with low == high stays where it is.
        tolerance: Relative decrease of the objective that counts as none.
        iterations: At most so many steps a problem.
    """
    low, high = (np.broadcast_to(np.asarray(b, float), start.shape) for b in (low, high))
    count, size = start.shape
    x = _snap(start, low, high)
    with np.errstate(all="ignore"):
        value, gradient = function(x, np.arange(count))
        value = np.where(np.isfinite(value), value, np.inf)
        gradient = np.where(np.isfinite(gradient), gradient, 0.0)
        inverse = np.zeros((count, size, size))
        fresh = np.ones(count, bool)
        stalls = np.zeros(count, int)
        converged = np.zeros(count, bool)
        active = np.flatnonzero(np.isfinite(value))
        for _ in range(iterations):
            if not active.size:
                break
            g, x0, f0 = gradient[active], x[active], value[active]
            free = ~(((x0 <= low[active]) & (g >= 0)) | ((x0 >= high[active]) & (g <= 0)))
            g = np.where(free, g, 0.0)
            direction = _direction(inverse, active, fresh, g, free)
            slope = np.einsum("bk,bk->b", direction, g)
            flat = -slope <= tolerance * f0
            converged[active[flat]] = True
            keep = ~flat
            active, g, direction, slope = active[keep], g[keep], direction[keep], slope[keep]
            x0, f0, free = x0[keep], f0[keep], free[keep]
            if not active.size:
                break
            x1, f1, g1, moved = _line_search(
                function, active, x0, f0, direction, slope, low[active], high[active]
            )
            _update(inverse, active, fresh, x1 - x0, np.where(free, g1, 0.0) - g, moved)
            x[active], value[active], gradient[active] = x1, f1, g1
            little = f0 - f1 <= tolerance * f0
            stalls[active] = np.where(little, stalls[active] + 1, 0)
            # A failed step from a stale curvature estimate is tried once more, down the gradient.
            restart = active[~moved & ~fresh[active]]
            fresh[restart] = True
            over = (~moved & ~np.isin(active, restart)) | (stalls[active] >= 3)
            converged[active[over]] = stalls[active[over]] > 0
            active = active[~over]
    return Minima(x, value, gradient, converged)


def _snap(x: Array, low: Array, high: Array) -> Array:
    """Points moved into the box, and onto its wall from a rounding error away.

    A variable a hair from its wall would leave no room for a step of all the others.
    """
    hair = 1e-12 * (high - low)
    return np.where(x - low <= hair, low, np.where(high - x <= hair, high, x))


def _direction(inverse: Array, active: Rows, fresh: Mask, g: Array, free: Mask) -> Array:
    """(b, K) quasi-Newton directions in the free variables; downhill where none is known."""
    known = -np.einsum("bij,bj->bi", inverse[active], g) * free
    downhill = np.einsum("bk,bk->b", known, g) < 0
    steepest = -0.1 * g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-300)
    fresh[active[~downhill]] = True
    return np.where(fresh[active][:, None], steepest, known)


def _line_search(
    function: Function,
    rows: Rows,
    x0: Array,
    f0: Array,
    direction: Array,
    slope: Array,
    low: Array,
    high: Array,
) -> tuple[Array, Array, Array, Mask]:
    """Weak Wolfe steps: bisect after a step too far, double after one too short.

    No step leaves the box; one that reaches its wall while still descending is taken.
    """
    wall = np.where(direction > 0, (high - x0) / direction, (low - x0) / direction)
    longest = np.where(direction == 0, np.inf, wall).min(axis=1)
    step = np.minimum(1.0, longest)
    near, far = np.zeros_like(step), np.full_like(step, np.inf)
    best_x, best_f, best_g = x0.copy(), f0.copy(), np.zeros_like(x0)
    moved = np.zeros(len(rows), bool)
    open_ = np.arange(len(rows))
    for _ in range(BISECTIONS):
        t = step[open_]
        at_wall = t >= longest[open_]
        trial = _snap(x0[open_] + t[:, None] * direction[open_], low[open_], high[open_])
        f, g = function(trial, rows[open_])
        fine = np.isfinite(f) & np.isfinite(g).all(axis=1)
        enough = fine & (f <= f0[open_] + ARMIJO * t * slope[open_]) & (f < f0[open_])
        curve = np.einsum("bk,bk->b", g, direction[open_])
        done = enough & (at_wall | (curve >= WOLFE * slope[open_]))
        good = open_[enough]
        best_x[good], best_f[good], best_g[good] = trial[enough], f[enough], g[enough]
        moved[good] = True
        near[good] = t[enough]
        far[open_[~enough]] = t[~enough]
        open_ = open_[~done]
        if not open_.size:
            break
        middle = np.where(np.isfinite(far[open_]), (near[open_] + far[open_]) / 2, 2 * step[open_])
        step[open_] = np.minimum(middle, longest[open_])
    if not moved.all():
        still = np.flatnonzero(~moved)
        best_g[still] = function(x0[still], rows[still])[1]
    return best_x, best_f, best_g, moved


def _update(
    inverse: Array,
    active: Rows,
    fresh: Mask,
    s: Array,
    y: Array,
    moved: Mask,
) -> None:
    """The BFGS update of the inverse Hessians, left out where the curvature is not positive."""
    sy = np.einsum("bk,bk->b", s, y)
    yy = np.einsum("bk,bk->b", y, y)
    good = moved & (sy > 1e-12 * np.sqrt(np.einsum("bk,bk->b", s, s) * yy)) & (yy > 0)
    rows, s, y, sy, yy = active[good], s[good], y[good], sy[good], yy[good]
    identity = np.eye(s.shape[1])
    first = fresh[rows]
    inverse[rows[first]] = (sy[first] / yy[first])[:, None, None] * identity
    fresh[rows] = False
    rho = 1.0 / sy
    left = identity - rho[:, None, None] * s[:, :, None] * y[:, None, :]
    inverse[rows] = left @ inverse[rows] @ left.transpose(0, 2, 1) + (
        rho[:, None, None] * s[:, :, None] * s[:, None, :]
    )
