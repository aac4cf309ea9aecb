"""One budget's parabola of loss on log size, and resamples of many budgets' parabolas together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.optimiser import Array, Rows

SIZES = 3  # Distinct sizes that a parabola needs.
PRIOR = 4  # Runs that the noise of all budgets counts for beside a budget's own.
LARGE = 20_000_000  # Runs times resamples beyond which noise is drawn from its limit.


@dataclass(frozen=True)
class Parabola:
    """loss = c0 + c1 z + c2 z² at one budget, z = ln(size) - centre; least squares over runs.

    Attributes:
        budget_flop: In FLOP.
        coefficients: (c0, c1, c2), of the loss or, with `log_loss`, of its log; NaN where fewer
            than three distinct sizes were tried.
        centre: Log of the geometric mean size.
        log_loss: Whether the parabola is in the log of the loss.
        sizes: Distinct sizes tried, ascending.
        others: The other size (tokens beside params), geometric mean at each of `sizes`; NaN
            where the table does not tell.
        mean_loss: Mean loss at each of `sizes`.
        z, y, at: (n,) each run's centred log size, loss (or its log), and index into `sizes`.
        leverage, residual: (n,) of the parabola; of the mean at each size where there is none.
        freedom: Runs less fitted coefficients.
    """

    budget_flop: float
    coefficients: tuple[float, float, float]
    centre: float
    log_loss: bool
    sizes: tuple[float, ...]
    others: tuple[float, ...]
    mean_loss: tuple[float, ...]
    z: Array = field(repr=False, compare=False)
    y: Array = field(repr=False, compare=False)
    at: Rows = field(repr=False, compare=False)
    leverage: Array = field(repr=False, compare=False)
    residual: Array = field(repr=False, compare=False)
    freedom: int

    @classmethod
    def fit(
        cls, budget_flop: float, size: Array, loss: Array, other: Array, *, log_loss: bool
    ) -> Parabola:
        """The parabola through runs given as (n,) sizes, losses and other sizes."""
        sizes, at = np.unique(size, return_inverse=True)
        runs = np.bincount(at)
        centre = float(np.log(sizes).mean())
        z, y = np.log(size) - centre, np.log(loss) if log_loss else loss
        curved = len(sizes) >= SIZES
        design = _powers(z) if curved else np.eye(len(sizes))[at]
        orthogonal, _ = np.linalg.qr(design)
        coefficients = np.linalg.lstsq(design, y)[0] if curved else np.full(3, np.nan)
        return cls(
            budget_flop,
            (float(coefficients[0]), float(coefficients[1]), float(coefficients[2])),
            centre,
            log_loss,
            tuple(map(float, sizes)),
            tuple(map(float, np.exp(np.bincount(at, np.log(other)) / runs))),
            tuple(map(float, np.bincount(at, loss) / runs)),
            z,
            y,
            at,
            (orthogonal**2).sum(axis=1),
            y - orthogonal @ (orthogonal.T @ y),
            len(y) - design.shape[1],
        )

    @property
    def best(self) -> int:
        """Index into `sizes` of the lowest mean loss."""
        return int(np.argmin(self.mean_loss))

    @property
    def curved(self) -> bool:
        """Whether there were sizes enough for a parabola."""
        return len(self.sizes) >= SIZES

    def curve(self, sizes: Array) -> Array:
        """The loss at sizes (m,)."""
        values = _powers(np.log(sizes) - self.centre) @ np.array(self.coefficients)
        return np.exp(values) if self.log_loss else values

    def vertex(self, coefficients: Array | None = None) -> tuple[Array, Array]:
        """Log size and loss (R,) at the vertices of coefficients (R, 3), of its own by default.

        NaN where the parabola does not open upwards.
        """
        if coefficients is None:
            coefficients = np.array([self.coefficients])
        c0, c1, c2 = coefficients.T
        with np.errstate(all="ignore"):
            z = np.where(c2 > 0, -c1 / (2 * c2), np.nan)
            loss = c0 + c1 * z / 2
        return z + self.centre, np.exp(loss) if self.log_loss else loss

    def log_other(self, log_size: Array) -> Array:
        """Log of the other size at log sizes (R,), on straight lines between the sizes tried."""
        x, y = np.log(self.sizes), np.log(self.others)
        if len(x) < 2:
            return np.full_like(log_size, y[0])
        left = np.clip(np.searchsorted(x, log_size) - 1, 0, len(x) - 2)
        slope = np.diff(y) / np.diff(x)
        return y[left] + slope[left] * (log_size - x[left])


@dataclass(frozen=True)
class Redraws:
    """What every resample says: one row a resample, one column a budget.

    Attributes:
        coefficients: (R, b, 3) of the parabolas, in each one's own centred log size.
        size, other, loss: (R, b) at the vertex; NaN where a resample has none.
        best_loss: (R, b) at the best size tried.
    """

    coefficients: Array
    size: Array
    other: Array
    loss: Array
    best_loss: Array


def redraw(parabolas: Sequence[Parabola], resamples: int, rng: np.random.Generator) -> Redraws:
    """Resample the runs of every budget and fit all parabolas again.

    The sizes are kept and new residuals are added to the fitted losses. They are drawn with
    replacement from those of all budgets together, each divided by sqrt(1 - leverage), which a
    fit has made too small by (Davison and Hinkley 1997, section 6.3), and by its budget's noise;
    then multiplied by that noise again, so that a quiet budget stays quiet. (Of a few runs most
    draws of whole runs would hold fewer than three sizes, and have no parabola.)
    """
    if resamples < 0:
        raise ToolkitError(f"the number of resamples must be zero or more, not {resamples}")
    noises = noise_levels(parabolas)
    pool = _pool(parabolas, noises)
    shape = (resamples, len(parabolas))
    coefficients = np.full((*shape, 3), np.nan)
    size, other, loss, best = (np.full(shape, np.nan) for _ in range(4))
    for b, p in enumerate(parabolas if resamples and pool.size else ()):
        noise = noises[b] * _noise(p, pool, resamples, rng)
        level = p.y[p.at == p.best].mean() + noise[:, 0]
        best[:, b] = np.exp(level) if p.log_loss else level
        if p.curved:
            coefficients[:, b] = np.array(p.coefficients) + noise[:, 1:]
        log_size, loss[:, b] = p.vertex(coefficients[:, b])
        with np.errstate(over="ignore"):
            size[:, b], other[:, b] = np.exp(log_size), np.exp(p.log_other(log_size))
    return Redraws(coefficients, size, other, loss, best)


def _noise(p: Parabola, pool: Array, resamples: int, rng: np.random.Generator) -> Array:
    """(R, 4) what noise does to the mean loss at the best size and to the three coefficients.

    Both are sums over runs, so for very many runs they are drawn from the normal distribution
    that such sums tend to.
    """
    at_best = p.at == p.best
    sums = np.zeros((4, len(p.y)))
    sums[0] = at_best / at_best.sum()
    if p.curved:
        sums[1:] = np.linalg.pinv(_powers(p.z))
    if len(p.y) * resamples > LARGE:
        values, vectors = np.linalg.eigh(sums @ sums.T)
        root = vectors * np.sqrt(np.maximum(values, 0))
        return rng.standard_normal((resamples, 4)) @ root.T
    return rng.choice(pool, (resamples, len(p.y))) @ sums.T


def _powers(z: Array) -> Array:
    return np.stack([np.ones_like(z), z, z * z], axis=-1)


def noise_levels(parabolas: Sequence[Parabola]) -> Array:
    """(b,) standard deviation of the loss (or its log) of each budget's runs.

    A few runs say little about their own noise, so each variance is shrunk towards that of all
    budgets, as if those weighed `PRIOR` runs (the moderated variance of Smyth 2004, "Linear models
    and empirical Bayes methods", with the prior's weight fixed).
    """
    freedom = np.array([p.freedom for p in parabolas])
    squares = np.array([p.residual @ p.residual for p in parabolas])
    if not freedom.sum():
        return np.full(len(freedom), np.nan)
    common = squares.sum() / freedom.sum()
    return np.sqrt((PRIOR * common + squares) / (PRIOR + freedom))


def _pool(parabolas: Sequence[Parabola], noises: Array) -> Array:
    """Residuals of all budgets in units of their noise, centred, of variance one."""
    parts = []
    for p, noise in zip(parabolas, noises, strict=True):
        free = p.leverage < 1 - 1e-9
        parts.append(p.residual[free] / np.sqrt(1 - p.leverage[free]) / noise)
    pool = np.concatenate(parts)
    if not pool.any():
        return pool
    pool -= pool.mean()
    return pool / np.sqrt(np.mean(pool**2))
