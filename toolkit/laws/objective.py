"""What a fit minimises: a sum over runs of a loss of the residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.forms import Form
from toolkit.laws.optimiser import Array, Rows

SYMMETRIC = ("huber-log", "lsq", "lsq-log")
ASYMMETRIC = "asymmetric-"
KINDS = (*SYMMETRIC, *(ASYMMETRIC + kind for kind in SYMMETRIC))
BLOCK = 1 << 15  # Elements evaluated at once: a block and its temporaries stay in the cache.


@dataclass(frozen=True)
class Objective:
    """A sum, never a mean, over runs; each run weighs 1/sigma² where sigma is given.

    Attributes:
        kind: lsq (squared residual of the loss), lsq-log (squared residual of its logarithm), or
            huber-log (Huber loss of the residual of its logarithm: r²/2 up to delta, then
            delta (|r| - delta/2); Hoffmann et al. 2022, eq. 3). With "asymmetric-" before any of
            them a law above a run costs `over` times what it costs as far below one: an
            undertuned run lies above what is possible, and none lies below. As in kyo-takano's
            chinchilla (weight 10 on overestimates of a mean absolute error, which is what
            asymmetric-huber-log is beyond delta).
        delta: Of huber-log.
        over: The weight of predicted above seen in asymmetric objectives.
        scale: A factor on the whole; no result but the objective's own value depends on it.
    """

    kind: str = "lsq-log"
    delta: float = 1e-3
    over: float = 10.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ToolkitError(f"unknown objective {self.kind!r}{nearest(self.kind, KINDS)}")
        if not (self.delta > 0 and self.over > 0 and self.scale > 0):
            raise ToolkitError("delta, over and scale of an objective must be positive")

    @property
    def on_log(self) -> bool:
        return self.kind.endswith("-log")

    @property
    def asymmetric(self) -> bool:
        return self.kind.startswith(ASYMMETRIC)

    @property
    def huber(self) -> bool:
        return self.kind.endswith("huber-log")

    @property
    def squares(self) -> bool:
        """Whether it is a sum of squares, the likelihood of normal noise."""
        return not (self.huber or self.asymmetric)

    def rho(self, residual: Array) -> tuple[Array, Array]:
        """The loss of residuals (predicted less seen) and its derivative, elementwise."""
        if self.huber:
            pull = np.clip(residual, -self.delta, self.delta)
            value = pull * (residual - pull / 2)
        else:
            value, pull = residual * residual, 2.0 * residual
        if self.asymmetric:
            side = np.where(residual > 0, self.over, 1.0)
            return value * side, pull * side
        return value, pull

    def centre(self, residuals: Array) -> float:
        """The constant that residuals (n,) of this objective scatter around: none pulls it on.

        The mean; for asymmetric objectives where the pulls of both sides balance.
        """
        if not self.asymmetric:
            return float(residuals.mean())
        low, high = float(residuals.min()), float(residuals.max())
        for _ in range(60):
            middle = (low + high) / 2
            ahead = self.rho(residuals - middle)[1].sum() > 0
            low, high = (middle, high) if ahead else (low, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class Problem:
    """B least-objective problems of one form that share their inputs, ready for `minimise`.

    Attributes:
        form: The law.
        z, centre: (V, n) centred log inputs and (V,) their log centres.
        log_y: (n,) or (B, n) log of the loss in units of its geometric mean.
        weight: (n,) or (B, n); zero leaves a point out of a problem.
        objective: What is summed.
    """

    form: Form
    z: Array
    centre: Array
    log_y: Array
    weight: Array
    objective: Objective

    def __call__(self, phi: Array, rows: Rows) -> tuple[Array, Array]:
        """Values (b,) and gradients (b, K) at coordinates (b, K) of the problems `rows`."""
        count, points = len(phi), self.z.shape[1]
        value, gradient = np.zeros(count), np.zeros_like(phi)
        wide = min(points, BLOCK)
        tall = max(1, BLOCK // wide)
        for top in range(0, count, tall):
            some = slice(top, top + tall)
            for left in range(0, points, wide):
                part = slice(left, left + wide)
                v, g = self._block(phi[some], rows[some], part)
                value[some] += v
                gradient[some] += g
        return value * self.objective.scale, gradient * self.objective.scale

    def residuals(self, phi: Array, rows: Rows, part: slice = slice(None)) -> Array:
        """(b, n) residuals: of the log loss, or of the loss in units of its geometric mean."""
        log_value, _ = self.form.evaluate(phi, self.z[:, part], self.centre)
        log_y = _of(self.log_y, rows, part)
        return log_value - log_y if self.objective.on_log else np.exp(log_value) - np.exp(log_y)

    def _block(self, phi: Array, rows: Rows, part: slice) -> tuple[Array, Array]:
        log_value, slopes = self.form.evaluate(phi, self.z[:, part], self.centre)
        log_y, weight = _of(self.log_y, rows, part), _of(self.weight, rows, part)
        if self.objective.on_log:
            rho, pull = self.objective.rho(log_value - log_y)
        else:
            level = np.exp(log_value)
            rho, pull = self.objective.rho(level - np.exp(log_y))
            pull = pull * level
        pull = pull * weight
        gradient = np.stack([np.einsum("bn,bn->b", pull, s) for s in slopes], axis=1)
        return np.einsum("bn,bn->b", rho, weight), gradient


def _of(values: Array, rows: Rows, part: slice) -> Array:
    return values[None, part] if values.ndim == 1 else values[rows, part]
