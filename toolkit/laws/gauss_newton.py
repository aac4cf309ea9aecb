"""Penalised least squares, many at once: the engine below `toolkit.laws.surface`.

A law with Gaussian priors on its coordinates is fitted by Levenberg and Marquardt's iteration, a
batch of problems at a time. Draws from the posterior are made by perturbing the observations and
the prior's centre and fitting again (Bardsley et al. 2014, "Randomize-then-optimize", SIAM J. Sci.
Comput. 36): exact for a linear law, and close where a law is only mildly bent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toolkit.laws.optimiser import Array, Rows

# Values (B, n) and derivatives (B, n, K) of a law at coordinates (B, K).
Law = Callable[[Array], tuple[Array, Array]]
LONGEST_STEP = 2.0  # In any coordinate: exponents and logarithms of amplitudes.


@dataclass(frozen=True)
class Prior:
    """Gaussian priors of a batch: centres (B, K) and covariances (B, K, K)."""

    centre: Array
    covariance: Array

    @property
    def precision(self) -> Array:
        return np.asarray(np.linalg.inv(self.covariance), np.float64)

    def rows(self, which: Rows) -> Prior:
        return Prior(self.centre[which], self.covariance[which])

    def draw(self, rng: np.random.Generator) -> Array:
        """(B, K) one draw from each."""
        root = np.linalg.cholesky(self.covariance)
        return self.centre + np.einsum("bij,bj->bi", root, rng.standard_normal(self.centre.shape))


@dataclass(frozen=True)
class Modes:
    """Where a batch came to rest.

    Attributes:
        phi: (B, K) coordinates.
        objective: (B,) residuals over variances plus the prior's penalty.
        hessian: (B, K, K) of half the objective, in Gauss and Newton's approximation.
    """

    phi: Array
    objective: Array
    hessian: Array


def fit_modes(
    law: Law,
    start: Array,
    y: Array,
    variance: Array,
    prior: Prior,
    *,
    iterations: int = 60,
    tolerance: float = 1e-9,
) -> Modes:
    """Minimise sum((law - y)^2 / variance) plus the prior's penalty, for each of a batch.

    Args:
        law: As `Law`; every problem of the batch has the same.
        start: (B, K). y, variance: (B, n).
        tolerance: A step that gains less than this share of the objective is the last.
    """
    phi, precision, identity = start.copy(), prior.precision, np.eye(start.shape[1])

    def look(at: Array, rows: Rows) -> tuple[Array, Array, Array]:
        with np.errstate(all="ignore"):  # A step too far is not taken: its objective is no number.
            value, slope = law(at)
        residual, off = value - y[rows], at - prior.centre[rows]
        pull = np.einsum("bij,bj->bi", precision[rows], off)
        weighted = slope / variance[rows][:, :, None]
        objective = (residual**2 / variance[rows]).sum(axis=1) + (off * pull).sum(axis=1)
        gradient = np.einsum("bnk,bn->bk", weighted, residual) + pull
        return objective, gradient, weighted.transpose(0, 2, 1) @ slope + precision[rows]

    active = np.arange(len(phi))
    objective, gradient, hessian = look(phi, active)
    damping = np.full(len(phi), 1e-2)
    for _ in range(iterations):
        if not active.size:
            break
        scale = np.einsum("bkk->bk", hessian[active])
        damped = hessian[active] + (damping[active, None] * scale)[:, :, None] * identity
        step = -np.linalg.solve(damped, gradient[active][:, :, None])[:, :, 0]
        trial = phi[active] + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        value, slope, curvature = look(trial, active)
        better = value <= objective[active]
        rows = active[better]
        gain = objective[rows] - value[better]
        done = gain <= tolerance * (1 + objective[rows])
        phi[rows], objective[rows] = trial[better], value[better]
        gradient[rows], hessian[rows] = slope[better], curvature[better]
        damping[active] = np.where(
            better, np.maximum(damping[active] / 5, 1e-9), 6 * damping[active]
        )
        stuck = active[~better][damping[active[~better]] > 1e8]
        active = np.setdiff1d(active, np.concatenate((rows[done], stuck)))
    return Modes(phi, objective, hessian)


def log_evidence(modes: Modes, variance: Array, prior: Prior) -> Array:
    """(B,) Laplace's approximation of ln p(y), the parameters integrated out."""
    return -0.5 * (
        modes.objective
        + np.log(2 * np.pi * variance).sum(axis=1)
        + np.linalg.slogdet(prior.covariance)[1]
        + np.linalg.slogdet(modes.hessian)[1]
    )


def log_density(residual: Array, covariance: Array) -> Array:
    """(B,) ln of the normal density of residuals (B, n) with covariances (B, n, n)."""
    n = residual.shape[1]
    whitened = np.linalg.solve(covariance, residual[:, :, None])[:, :, 0]
    squared = np.einsum("bn,bn->b", residual, whitened)
    return -0.5 * (squared + np.linalg.slogdet(covariance)[1] + n * np.log(2 * np.pi))
